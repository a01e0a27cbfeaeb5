"""Why ITK does not read an image file: another name, another format, damage. torch-free."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .nifti_fields import read_fields

_ZIP = b"PK\x03\x04"
_UNKNOWN = "this is not an image in a format that can be read; convert it to NIfTI, NRRD or MetaImage"


def reason(path: Path) -> str:
    """Say what is wrong with a file in which ITK finds no image, and what to do."""
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_ZIP):
        return "this is a ZIP archive; unpack it first"
    try:
        fields = read_fields(path)
    except (OSError, InputError):
        fields = None
    if fields is None or not fields.is_nifti:
        return _UNKNOWN
    ending = ".nii.gz" if fields.packed else ".nii"
    if not path.name.lower().endswith((ending, ".hdr", ".hdr.gz", ".img", ".img.gz")):
        packed = "gzipped " if fields.packed else ""
        return f"this is a {packed}NIfTI file under another name; rename it so that it ends in {ending}"
    if fields.version == 2:
        return "this is a NIfTI-2 file, which ITK cannot read; convert it to NIfTI-1"
    return "the file is damaged and cannot be unpacked; copy or export it again"
