"""Tables of points as spreadsheets write them: comma, semicolon or tab; x,y,z in LPS or r,a,s. torch-free."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..errors import InputError
from .text_files import read_text

_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_NAME_COLUMNS = ("name", "label")
_AXES = {("x", "y", "z"): np.ones(3), ("l", "p", "s"): np.ones(3), ("r", "a", "s"): np.array([-1.0, -1.0, 1.0])}
_EXPECTED = "give a CSV with the columns name,x,y,z (LPS mm), .mrk.json or .fcsv"


def read_table(path: Path) -> tuple[list[str], np.ndarray]:
    """Read a table of points: their names and places, (N, 3) LPS mm.

    The first row names the columns: name (or label), and x,y,z or l,p,s (LPS mm) or r,a,s (RAS mm), as Slicer writes.

    Raises:
        InputError: the columns are missing, or a row is short or holds no numbers; the row and the delimiter are named.
    """
    lines = enumerate(read_text(path).splitlines(), 1)
    rows = [(n, line) for n, line in lines if line.strip(" \t,;") and not line.lstrip().startswith("#")]
    if not rows:
        raise InputError(f"{path}: these are no points; {_EXPECTED}")
    delimiter = max(_DELIMITERS, key=rows[0][1].count)
    head = [word.strip().lower() for word in _split(path, *rows[0], delimiter)]
    name = next((head.index(word) for word in _NAME_COLUMNS if word in head), None)
    axes = next((axes for axes in _AXES if set(axes) <= set(head)), None)
    if name is None or axes is None:
        raise InputError(f"{path}: these are no points; {_EXPECTED}")
    columns = [head.index(axis) for axis in axes]
    names, places = [], []
    for number, line in rows[1:]:
        row = _split(path, number, line, delimiter)
        try:
            places.append([_number(row[column], delimiter) for column in columns])
            names.append(row[name].strip())
        except (IndexError, ValueError):
            raise InputError(
                f"{path}: row {number} has no name and three numbers, separated by {_DELIMITERS[delimiter]}; correct it"
            ) from None
    return names, _AXES[axes] * np.array(places).reshape(-1, 3)


def _split(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"{path}: row {number} cannot be read ({error}); correct it") from None


def _number(word: str, delimiter: str) -> float:
    """Convert a number; where no comma separates columns, it may be a decimal comma."""
    return float(word if delimiter == "," else word.replace(",", "."))
