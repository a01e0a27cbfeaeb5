"""Landmarks: reads CSV (name, x, y, z in LPS mm), and Slicer's .mrk.json and .fcsv (RAS or LPS, as they say)."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from ..errors import InputError
from .point_tables import read_table
from .text_files import read_json, read_text

_TO_LPS = np.array([-1.0, -1.0, 1.0])  # RAS <-> LPS
FARTHEST_MM = 1e6  # a scanner's coordinates are a few metres at most
MOST_NAMES = 20  # in a warning
_RAS, _LPS = ("RAS", "0"), ("LPS", "1")


def read_points(path: str | Path) -> dict[str, np.ndarray]:
    """Read named points, each (3,) in LPS mm, in the file's order.

    Raises:
        InputError: the file is missing or not understood, a name occurs twice, or a coordinate is not a finite number.
    """
    path = Path(path)
    name = path.name.lower()
    read = _read_markups if name.endswith(".json") else _read_fcsv if name.endswith(".fcsv") else read_table
    labels, places = read(path)
    if not labels:
        raise InputError(f"{path}: the file holds no points; place some first")
    _check(path, labels, places)
    return dict(zip(labels, places, strict=True))


def _check(path: Path, labels: list[str], places: np.ndarray) -> None:
    """Refuse names that occur twice, and coordinates that are none."""
    if len(set(labels)) < len(labels):
        twice = next(label for label, count in Counter(labels).items() if count > 1)
        raise InputError(f"{path}: the point '{twice}' occurs twice; give every point its own name")
    for bad, what in (
        (~np.isfinite(places), "has a coordinate that is not a finite number"),
        (np.abs(places) > FARTHEST_MM, f"lies more than {FARTHEST_MM / 1e6:g} km away"),
    ):
        if bad.any():
            label = labels[int(np.argmax(bad.any(axis=1)))]
            raise InputError(f"{path}: the point '{label}' {what}; correct it")


def match_points(
    fixed_path: str | Path, moving_path: str | Path
) -> tuple[list[str], np.ndarray, np.ndarray, list[str]]:
    """Match the points of two files by name.

    Returns:
        the shared names, the fixed and the moving points (N, 3) in LPS mm, and warnings about the others.

    Raises:
        InputError: a file is not understood, or they share no name.
    """
    fixed, moving = read_points(fixed_path), read_points(moving_path)
    names = [name for name in fixed if name in moving]
    shared = set(names)
    if not names:
        raise InputError(
            f"{fixed_path} and {moving_path} have no point name in common; give the same names to the same places"
        )
    warnings = []
    for path, points in ((fixed_path, fixed), (moving_path, moving)):
        alone = [name for name in points if name not in shared]
        if alone:
            more = f" and {len(alone) - MOST_NAMES} more" if len(alone) > MOST_NAMES else ""
            warnings.append(f"{path}: without a partner and left out: {', '.join(alone[:MOST_NAMES])}{more}")
    return names, np.array([fixed[n] for n in names]), np.array([moving[n] for n in names]), warnings


def _read_fcsv(path: Path) -> tuple[list[str], np.ndarray]:
    lines = read_text(path).splitlines()
    head = [line[1:].split("=", 1) for line in lines if line.startswith("#") and "=" in line]
    fields = {key.strip(): value.strip() for key, value in head}
    sign = _sign(path, fields.get("CoordinateSystem", "RAS"))
    try:
        columns = fields["columns"].split(",")
        at, label = columns.index("x"), columns.index("label")
        rows = list(csv.reader(line for line in lines if line.strip() and not line.startswith("#")))
        places = [[float(word) for word in row[at : at + 3]] for row in rows]
        return [row[label].strip() for row in rows], sign * np.array(places).reshape(-1, 3)
    except (KeyError, IndexError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: these are no points of Slicer ({error}); export them again") from error


def _read_markups(path: Path) -> tuple[list[str], np.ndarray]:
    content = read_json(path)
    labels, places = [], []
    try:
        for markup in content["markups"]:
            sign = _sign(path, str(markup.get("coordinateSystem", "LPS")))
            for point in markup["controlPoints"]:
                if point.get("positionStatus", "defined") == "defined":
                    labels.append(point["label"].strip())
                    places.append(sign * np.array(point["position"], dtype=float).reshape(3))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: these are no points of Slicer (a field is missing or mistyped); export them again"
        ) from error
    return labels, np.array(places).reshape(-1, 3)


def _sign(path: Path, system: str) -> np.ndarray:
    if system.upper() in _LPS:
        return np.ones(3)
    if system.upper() in _RAS:
        return _TO_LPS
    raise InputError(f"{path}: the coordinate system '{system}' is neither LPS nor RAS; export the points again")
