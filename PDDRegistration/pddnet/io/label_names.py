"""Label names: reads JSON files that name the numbers of a label map. torch-free."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .text_files import read_json

_NAMES = "labels.json"
UNKNOWN = "unknown"  # name of a label whose content is not known: it is neither learned from nor measured


def read_names(path: Path) -> dict[int, str]:
    """Read the names in a file, by label number.

    Raises:
        InputError: it is missing, or not a table of numbers and names.
    """
    table = read_json(path)
    try:
        names = {int(number): name for number, name in table.items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a table of label numbers and names ({error}); correct or remove it") from None
    if not all(isinstance(name, str) for name in names.values()):
        raise InputError(f"{path}: the name of a label is no text; correct or remove it")
    return names


def names_beside(path: Path) -> Path:
    """Return the path of the file that names the labels of a map, where it exists."""
    return path.parent / _NAMES


def find_names(*folders: Path) -> dict[int, str]:
    """Read the names from the first of the folders that has a labels.json; no names where none has one.

    Raises:
        InputError: the file is not such a table.
    """
    for folder in folders:
        path = folder / _NAMES
        if path.is_file():
            return read_names(path)
    return {}
