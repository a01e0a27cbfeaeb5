"""What the numbers of a label map mean: JSON files of label number -> name. torch-free."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import InputError

UNKNOWN = "unknown"  # name of a label: nobody knows what is there, so it is neither learned from nor measured


def read_names(path: Path) -> dict[int, str]:
    """The names in a file.

    Raises:
        InputError: it is missing or not such a table.
    """
    try:
        return {int(number): str(name) for number, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a table of label numbers and names ({error}); correct or remove it") from None


def find_names(*folders: Path) -> dict[int, str]:
    """The names in the first of the folders that has a labels.json; none where no folder has one.

    Raises:
        InputError: the file is not such a table.
    """
    return next((read_names(path) for path in (folder / "labels.json" for folder in folders) if path.is_file()), {})
