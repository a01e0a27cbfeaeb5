"""Image headers: checks them before ITK reads the file.

ITK repairs silently what a user must know: in NIfTI files a spacing of zero becomes 1 mm, a negative one a flip, NaN
becomes 0, and a truncated file is read as if nothing were missing.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import InputError
from .memory import check_bytes
from .nifti_fields import NiftiFields, open_unpacked, read_image_fields, voxels_beside
from .nifti_numbers import check_numbers

_TEXT_SPACING = re.compile(rb"^(?:ElementSpacing\s*=|spacings\s*:|SPACING\s)(.*)$", re.MULTILINE)
_TEXT_UNITS = re.compile(rb"^space units *: *(.*)$", re.MULTILINE)
_CHUNK = 1 << 20  # voxels or bytes that are read at once
NIFTI_ENDINGS = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")


def check_header(path: Path) -> list[str]:
    """Check the header of an image file (NIfTI, MetaImage, NRRD, VTK; others pass), and return warnings.

    Raises:
        InputError: the spacing is not positive, the file ends before its last voxel, or ITK would read another one.
    """
    if path.name.lower().endswith(NIFTI_ENDINGS):
        refuse_shadowed(path)
        return _check_nifti(path)
    _check_text_header(path)
    return []


def refuse_shadowed(path: Path) -> None:
    """Refuse x.nii.gz beside x.nii: ITK reads the latter without a word.

    Raises:
        InputError: both exist.
    """
    if path.name.lower().endswith(tuple(ending for ending in NIFTI_ENDINGS if ending.endswith(".gz"))):
        plain = path.with_name(path.name[:-3])
        if plain.exists():
            raise InputError(f"{path}: ITK would read {plain.name} beside it instead; rename or move one of the two")


def _check_text_header(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    if not (
        head.startswith((b"NRRD", b"# vtk")) or b"ElementDataFile" in head or path.suffix.lower() in (".mha", ".mhd")
    ):
        return
    units = _TEXT_UNITS.search(head)
    if units and (others := {*re.findall(rb'"([^"]*)"', units.group(1))} - {b"mm", b"", b"none", b"millimeter"}):
        names = ", ".join(sorted(name.decode("ascii", "replace") for name in others))
        raise InputError(f"{path}: the lengths in the header are in {names}; write them in mm")
    match = _TEXT_SPACING.search(head)
    try:
        spacing = [float(word) for word in match.group(1).split()] if match else []
    except ValueError:
        return  # not what it looked like: ITK will say so
    if any(value <= 0 for value in spacing):  # NaN is NRRD's way to say that an axis has no spacing
        _refuse_spacing(path, spacing)


def _check_nifti(path: Path) -> list[str]:
    fields = read_image_fields(path)
    if fields is None:
        return []  # not a NIfTI header: ITK will say so
    check_numbers(path, fields)
    spacing = fields.spacing_mm[: min(fields.dim[0], 3)]
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        _refuse_spacing(path, spacing)
    data = voxels_beside(path) if fields.is_pair else path
    if fields.packed:
        check_bytes(path, fields.end - fields.first_voxel)  # before it is unpacked, to see where it ends
    if not data.is_file() or not _holds(data, fields.end):
        raise InputError(f"{path}: the file is truncated, its last voxels are missing; copy or export it again")
    if fields.is_nifti and any(code > 0 for code in fields.forms):
        return []
    return [f"{path}: the header does not say where the volume lies (no qform, no sform)"]


def non_finite_voxels(path: Path) -> np.ndarray | None:
    """Mark NaN and infinity in a 3-D NIfTI file of floats: (D, H, W) bool, [k, j, i]; None where there are none.

    ITK's NIfTI reader turns them into 0, which is the HU of water.
    """
    fields, mask = _non_finite(path)
    if fields is None or not mask.any():
        return None
    shape = [max(n, 1) for n in fields.dim[3:0:-1]]
    return mask.reshape(shape) if mask.size == math.prod(shape) else None


def count_non_finite(path: Path) -> int:
    """Count NaN and infinity in a NIfTI file of floats, also of vectors."""
    return int(np.count_nonzero(_non_finite(path)[1]))


def _non_finite(path: Path) -> tuple[NiftiFields | None, np.ndarray]:
    """Mark NaN and infinity in a NIfTI file of floats, in the order of the file; nothing (0,) in any other file."""
    fields = read_image_fields(path) if path.name.lower().endswith(NIFTI_ENDINGS) else None
    if fields is None or not fields.float_type:
        return None, np.zeros(0, bool)
    chunk_bytes = _CHUNK * np.dtype(fields.float_type).itemsize
    parts = []
    with open_unpacked(voxels_beside(path) if fields.is_pair else path) as file:
        file.seek(fields.first_voxel)
        for start in range(fields.first_voxel, fields.end, chunk_bytes):
            chunk = file.read(min(chunk_bytes, fields.end - start))
            parts.append(~np.isfinite(np.frombuffer(chunk, fields.float_type)))
    return fields, np.concatenate(parts) if parts else np.zeros(0, bool)


def _holds(path: Path, size: int) -> bool:
    """Tell whether a plain or gzipped file holds at least `size` bytes when unpacked."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path.stat().st_size >= size
        file.seek(-4, 2)
        if struct.unpack("<I", file.read(4))[0] == size % 2**32:
            return True  # gzip notes the unpacked size at its end: a truncated file does not end with that number
    try:  # several gzip members, bytes after the last voxel, or a damaged file: unpack to see
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK):  # to the very end, where the checksum is
                size -= len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False
    return size <= 0


def _refuse_spacing(path: Path, spacing: tuple[float, ...] | list[float]) -> None:
    text = " x ".join(f"{value:g}" for value in spacing)
    raise InputError(f"{path}: the voxel spacing in the header, {text} mm, is not positive; correct the header")
