"""Landmarks: reads CSV (name, x, y, z in LPS mm), and Slicer's .mrk.json and .fcsv (RAS or LPS, as they say)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from ..errors import InputError

_TO_LPS = np.array([-1.0, -1.0, 1.0])  # RAS <-> LPS
_RAS, _LPS = ("RAS", "0"), ("LPS", "1")


def read_points(path: str | Path) -> dict[str, np.ndarray]:
    """Read named points, each (3,) in LPS mm, in the file's order.

    Raises:
        InputError: the file is missing or not understood, a name occurs twice, or a coordinate is not a finite number.
    """
    path = Path(path)
    name = path.name.lower()
    read = _read_markups if name.endswith(".json") else _read_fcsv if name.endswith(".fcsv") else _read_csv
    try:
        rows = read(path, path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: the points cannot be read ({error.strerror}); correct the path") from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: these are no points; give a CSV with the columns name,x,y,z (LPS mm), .mrk.json or .fcsv"
        ) from error
    points: dict[str, np.ndarray] = {}
    for label, point in rows:
        if label in points:
            raise InputError(f"{path}: the point '{label}' occurs twice; give every point its own name")
        if not np.isfinite(point).all():
            raise InputError(f"{path}: the point '{label}' has a coordinate that is not a finite number; correct it")
        points[label] = point
    if not points:
        raise InputError(f"{path}: the file holds no points; place some first")
    return points


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
    if not names:
        raise InputError(
            f"{fixed_path} and {moving_path} have no point name in common; give the same names to the same places"
        )
    warnings = []
    for path, points in ((fixed_path, fixed), (moving_path, moving)):
        alone = [name for name in points if name not in names]
        if alone:
            warnings.append(f"{path}: without a partner and left out: {', '.join(alone)}")
    return names, np.array([fixed[n] for n in names]), np.array([moving[n] for n in names]), warnings


def _read_csv(path: Path, text: str) -> list[tuple[str, np.ndarray]]:
    rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].lstrip().startswith("#")]
    head = [word.strip().lower() for word in rows[0]]
    columns = [head.index(word) for word in ("name", "x", "y", "z")]
    picked = [[row[c] for c in columns] for row in rows[1:]]
    return [(row[0].strip(), np.array([float(word) for word in row[1:]])) for row in picked]


def _read_fcsv(path: Path, text: str) -> list[tuple[str, np.ndarray]]:
    head = [line[1:].split("=", 1) for line in text.splitlines() if line.startswith("#") and "=" in line]
    fields = {key.strip(): value.strip() for key, value in head}
    sign = _sign(path, fields.get("CoordinateSystem", "RAS"))
    columns = fields["columns"].split(",")
    at, label = columns.index("x"), columns.index("label")
    rows = csv.reader(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [(row[label].strip(), sign * [float(word) for word in row[at : at + 3]]) for row in rows]


def _read_markups(path: Path, text: str) -> list[tuple[str, np.ndarray]]:
    points = []
    for markup in json.loads(text)["markups"]:
        sign = _sign(path, str(markup.get("coordinateSystem", "LPS")))
        for point in markup["controlPoints"]:
            if point.get("positionStatus", "defined") == "defined":
                points.append((point["label"].strip(), sign * np.array(point["position"], dtype=float).reshape(3)))
    return points


def _sign(path: Path, system: str) -> np.ndarray:
    if system.upper() in _LPS:
        return np.ones(3)
    if system.upper() in _RAS:
        return _TO_LPS
    raise InputError(f"{path}: the coordinate system '{system}' is neither LPS nor RAS; export the points again")
