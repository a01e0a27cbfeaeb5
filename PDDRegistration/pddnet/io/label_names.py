"""Label names: reads JSON files that name the numbers of a label map. torch-free."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import InputError

UNKNOWN = "unknown"  # name of a label whose content is not known: it is neither learned from nor measured


def read_names(path: Path) -> dict[int, str]:
    """Read the names in a file, by label number.

    Raises:
        InputError: it is missing, or not a table of numbers and names.
    """
    try:
        return {int(number): str(name) for number, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a table of label numbers and names ({error}); correct or remove it") from None


def find_names(*folders: Path) -> dict[int, str]:
    """Read the names from the first of the folders that has a labels.json; no names where none has one.

    Raises:
        InputError: the file is not such a table.
    """
    for folder in folders:
        path = folder / "labels.json"
        if path.is_file():
            return read_names(path)
    return {}
