"""Find the files that hold the voxels of an image whose named file is a header. torch-free.

MetaImage and NRRD name them in a field: as one file, a list of lines, or a pattern with numbers. Analyze and NIfTI
pairs (.hdr, .img) tell by their endings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .nifti_fields import header_beside, voxels_beside

_WITH_FIELD = (".mhd", ".mha", ".nhdr", ".nrrd")
_FIELD = re.compile(
    r"^[ \t]*(?:ElementDataFile[ \t]*[=:]|data ?file:)[ \t]*(.*?)[ \t\r]*$", re.MULTILINE | re.IGNORECASE
)
_NUMBERS = re.compile(r"(?:\s+-?\d+){1,4}$")  # first and last, step and dimension, behind a pattern
_COUNTER = re.compile(r"%0?\d*d")
_LARGEST_HEADER = 1 << 18  # bytes


def parts_of(path: Path) -> list[Path]:
    """List a file and those that hold the rest of its image, by name; what is missing is for the reader to say.

    Raise OSError where the file cannot be read.
    """
    if path.suffix.lower() in _WITH_FIELD:
        others = {path.parent / name for name in _named(path)}
    else:
        others = {header_beside(path), voxels_beside(path)}
    return [path, *sorted(part for part in others - {path} if _is_file(part))]


def _named(path: Path) -> Iterable[str]:
    """Read the names of files in a header of text; of a pattern those of all files in the folder that fit it."""
    with path.open("rb") as file:
        head = re.split(rb"\n\r?\n", file.read(_LARGEST_HEADER), maxsplit=1)[0]  # NRRD ends its header so
    text = head.decode("utf-8", "surrogateescape")
    field = _FIELD.search(text)
    name = field.group(1) if field else ""
    if field is None or name.lower() in ("", "local"):
        return []
    if name.split()[0] == "LIST":
        return [line.strip() for line in text[field.end() :].splitlines() if line.strip()]
    return _fitting(path.parent, _NUMBERS.sub("", name)) if "%" in name else [name]


def _fitting(folder: Path, pattern: str) -> list[str]:
    place, name = os.path.split(pattern)
    fits = re.compile(r"\d+".join(map(re.escape, _COUNTER.split(name))))
    try:
        return [os.path.join(place, each) for each in os.listdir(folder / place) if fits.fullmatch(each)]
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False
