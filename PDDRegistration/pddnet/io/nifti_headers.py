"""Image headers: checks them before ITK reads the file.

ITK repairs silently what a user must know: in NIfTI files a spacing of zero becomes 1 mm, a negative one a flip, NaN
becomes 0, and a truncated file is read as if nothing were missing.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from .nifti_numbers import check_numbers

_TEXT_SPACING = re.compile(rb"^(?:ElementSpacing\s*=|spacings\s*:|SPACING\s)(.*)$", re.MULTILINE)
_TEXT_UNITS = re.compile(rb"^space units *: *(.*)$", re.MULTILINE)
_CHUNK = 1 << 20  # voxels or bytes that are read at once
NIFTI_ENDINGS = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")


@dataclass(frozen=True)
class NiftiHeader:
    """Fields of a NIfTI-1, NIfTI-2 or Analyze header that decide whether the file is whole and has a position."""

    dim: tuple[int, ...]  # number of axes used, then voxels along each of seven
    pixdim: tuple[float, ...]  # mm along the three spatial axes
    first_voxel: int  # byte in the file at which the voxels start
    end: int  # byte in the file at which they end
    float_type: str  # numpy's name of the voxel type with its byte order, for floats; else empty
    has_position: bool  # whether a qform or an sform places the volume
    is_pair: bool  # voxels in a separate .img file


class Layout(NamedTuple):
    """Fields of a header on disk: struct's format and the first byte of each."""

    size: int  # of the header; its first four bytes hold this number
    dim: tuple[str, int]
    data_type: tuple[str, int]
    bits: tuple[str, int]  # of a voxel
    pixdim: tuple[str, int]  # without the first, which is no spacing
    first_voxel: tuple[str, int]
    forms: tuple[str, int]  # codes of qform and sform; 0 for none
    one_file: tuple[bytes, int]  # what stands there where header and voxels share a file
    intent: tuple[str, int]  # NIfTI's code of what the values mean
    intent_parameter: tuple[str, int]  # the first of three
    intent_name: tuple[str, int]
    handedness: tuple[str, int]  # the first pixdim: the sign of the qform's third axis
    quaternion: tuple[str, int]  # of the qform: b, c, d and the offset in mm
    sform: tuple[str, int]  # three rows of four


_LAYOUTS = (  # NIfTI-1, whose fields Analyze shares, and NIfTI-2
    Layout(
        348, ("8h", 40), ("h", 70), ("h", 72), ("3f", 80), ("f", 108), ("2h", 252), (b"n+1", 344),
        intent=("h", 68), intent_parameter=("f", 56), intent_name=("16s", 328),
        handedness=("f", 76), quaternion=("6f", 256), sform=("12f", 280),
    ),
    Layout(
        540, ("8q", 16), ("h", 12), ("h", 14), ("3d", 112), ("q", 168), ("2i", 344), (b"n+2", 4),
        intent=("i", 504), intent_parameter=("d", 80), intent_name=("16s", 508),
        handedness=("d", 104), quaternion=("6d", 352), sform=("12d", 400),
    ),
)  # fmt: skip
_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}  # where a file says others
_FLOAT_TYPES = {16: "f4", 64: "f8"}  # NIfTI's code of a voxel type: numpy's name


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
    header = read_nifti_header(path)
    if header is None:
        return []  # not a NIfTI header: ITK will say so
    check_numbers(path)
    axes = min(header.dim[0], 3)
    if not all(math.isfinite(value) and value > 0 for value in header.pixdim[:axes]):
        _refuse_spacing(path, header.pixdim[:axes])
    data = path
    if header.is_pair:
        twin = re.sub(r"\.hdr(\.gz)?$", r".img\1", path.name, flags=re.IGNORECASE)
        data = path.with_name(twin)
    if not data.is_file() or not _holds(data, header.end):
        raise InputError(f"{path}: the file is truncated, its last voxels are missing; copy or export it again")
    return (
        [] if header.has_position else [f"{path}: the header does not say where the volume lies (no qform, no sform)"]
    )


def read_nifti_header(path: Path) -> NiftiHeader | None:
    """Read the header of a NIfTI or Analyze file, plain or gzipped; None for another file.

    Raises:
        InputError: a gzipped file cannot be unpacked up to the end of its header.
    """
    start = read_start(path)
    return _parse(*start) if start is not None else None


def read_start(path: Path) -> tuple[bytes, Layout, str] | None:
    """Read the bytes of a NIfTI or Analyze header, where its fields stand, and its byte order ('<' or '>').

    Raises:
        InputError: a gzipped file cannot be unpacked up to the end of its header.
    """
    if ".img" in path.suffixes[-2:]:
        twin = path.with_name(re.sub(r"\.img(\.gz)?$", r".hdr\1", path.name, flags=re.IGNORECASE))
        return read_start(twin) if twin.is_file() else None
    try:
        with _open(path) as file:
            raw = file.read(max(layout.size for layout in _LAYOUTS))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path}: the file is damaged and cannot be unpacked; copy or export it again") from None
    for order in "<>":
        for layout in _LAYOUTS:
            if len(raw) >= layout.size and struct.unpack_from(order + "i", raw)[0] == layout.size:
                return raw, layout, order
    return None


def _parse(raw: bytes, layout: Layout, order: str) -> NiftiHeader:
    """Take the fields out of the bytes of a header; order: '<' or '>', as in struct."""

    def read(field: tuple[str, int]) -> tuple[Any, ...]:
        form, place = field
        return struct.unpack_from(order + form, raw, place)

    dim = read(layout.dim)
    (bits,), (data_type,), (offset,) = read(layout.bits), read(layout.data_type), read(layout.first_voxel)
    magic, place = layout.one_file
    is_pair = raw[place : place + len(magic)] != magic
    axes = max(min(dim[0], 7), 0)
    voxels = math.prod(max(n, 1) for n in dim[1 : 1 + axes])
    first_voxel = int(offset) if math.isfinite(offset) and not is_pair else 0
    float_type = order + _FLOAT_TYPES[data_type] if data_type in _FLOAT_TYPES else ""
    has_position = any(form > 0 for form in read(layout.forms))
    end = first_voxel + voxels * _BITS.get(data_type, bits) // 8
    return NiftiHeader(dim, read(layout.pixdim), first_voxel, end, float_type, has_position, is_pair)


def non_finite_voxels(path: Path) -> np.ndarray | None:
    """Mark NaN and infinity in a 3-D NIfTI file of floats: (D, H, W) bool, [k, j, i]; None where there are none.

    ITK's NIfTI reader turns them into 0, which is the HU of water.
    """
    header, mask = _non_finite(path)
    if header is None or not mask.any():
        return None
    return mask.reshape([max(n, 1) for n in header.dim[3:0:-1]]) if mask.size == math.prod(header.dim[1:4]) else None


def count_non_finite(path: Path) -> int:
    """Count NaN and infinity in a NIfTI file of floats, also of vectors."""
    return int(np.count_nonzero(_non_finite(path)[1]))


def _non_finite(path: Path) -> tuple[NiftiHeader | None, np.ndarray]:
    """Mark NaN and infinity in a NIfTI file of floats, in the order of the file; nothing (0,) in any other file."""
    header = read_nifti_header(path) if path.name.lower().endswith((".nii", ".nii.gz")) else None
    if header is None or not header.float_type or header.is_pair:
        return None, np.zeros(0, bool)
    chunk_bytes = _CHUNK * np.dtype(header.float_type).itemsize
    parts = []
    with _open(path) as file:
        file.seek(header.first_voxel)
        for start in range(header.first_voxel, header.end, chunk_bytes):
            chunk = file.read(min(chunk_bytes, header.end - start))
            parts.append(~np.isfinite(np.frombuffer(chunk, header.float_type)))
    return header, np.concatenate(parts) if parts else np.zeros(0, bool)


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


def _open(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


def _refuse_spacing(path: Path, spacing: tuple[float, ...] | list[float]) -> None:
    text = " x ".join(f"{value:g}" for value in spacing)
    raise InputError(f"{path}: the voxel spacing in the header, {text} mm, is not positive; correct the header")
