"""Find the files that hold the voxels of an image whose named file is a header: .mhd, .nhdr, .hdr and .img. torch-free.

MetaImage and NRRD name them in a field: as one file, a list of lines, or a pattern with numbers. Analyze and NIfTI
pairs tell by their endings.
"""

from __future__ import annotations

import re
from pathlib import Path

from .nifti_fields import header_beside, voxels_beside

_FIELD = re.compile(r"^(?:ElementDataFile\s*=|data ?file:)[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_LARGEST_HEADER = 1 << 20  # bytes
_MOST_FILES = 10_000


def parts_of(path: Path) -> list[Path]:
    """List a file and those that hold the rest of its image, by name; what is missing is for the reader to say.

    Raise OSError where the file cannot be read.
    """
    if path.suffix.lower() in (".mhd", ".nhdr"):
        others = {path.parent / name for name in _named(path)}
    else:
        others = {header_beside(path), voxels_beside(path)}
    return [path, *sorted(part for part in others - {path} if part.is_file())]


def _named(path: Path) -> list[str]:
    """Read the names of files in a header of text."""
    with path.open("rb") as file:
        text = file.read(_LARGEST_HEADER).decode("utf-8", "surrogateescape")
    field = _FIELD.search(text)
    first, *numbers = (field.group(1).split() if field else []) or [""]
    if field is None or first.lower() in ("", "local"):
        return []
    if first == "LIST":
        return [line.strip() for line in text[field.end() :].splitlines() if line.strip()]
    return _counted(first, numbers) if "%" in first else [field.group(1)]


def _counted(pattern: str, numbers: list[str]) -> list[str]:
    """List the names of a pattern such as 'slice%03d.raw', whose first and last number and step follow it."""
    try:
        first, last, step = (int(number) for number in numbers[:3])
        return [pattern % number for number in range(first, last + 1, step)[:_MOST_FILES]]
    except (ValueError, TypeError):
        return []  # ITK could not read it, either
