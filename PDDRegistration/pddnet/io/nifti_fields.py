"""Fields of NIfTI headers: where each stands in the file, read once, as they are. The checks are made elsewhere."""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError

_SIZES = {348: 1, 540: 2}  # of the header, which begins with this number; the version of the format
_PLACES = {  # struct's format and first byte, in NIfTI-1, whose fields Analyze shares, and in NIfTI-2
    "magic": (("3s", 344), ("3s", 4)),
    "dim": (("8h", 40), ("8q", 16)),
    "data_type": (("h", 70), ("h", 12)),
    "bits": (("h", 72), ("h", 14)),
    "pixdim": (("8f", 76), ("8d", 104)),
    "vox_offset": (("f", 108), ("q", 168)),
    "units": (("B", 123), ("i", 500)),
    "scale": (("2f", 112), ("2d", 176)),
    "forms": (("2h", 252), ("2i", 344)),
    "quaternion": (("3f", 256), ("3d", 352)),
    "offset": (("3f", 268), ("3d", 376)),
    "rows": (("12f", 280), ("12d", 400)),
    "intent": (("h", 68), ("i", 504)),
    "intent_parameter": (("f", 56), ("d", 80)),
    "intent_name": (("16s", 328), ("16s", 508)),
}  # fmt: skip
_MAGICS = (b"n+1", b"ni1", b"n+2", b"ni2")
_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}  # where a file says others
_MM = {1: 1000.0, 3: 0.001}  # of NIfTI's other units of length, metre and micron, in the lowest three bits of `units`
_FLOAT_TYPES = {16: "f4", 64: "f8"}  # NIfTI's code of a voxel type: numpy's name


@dataclass(frozen=True)
class NiftiFields:
    """Header of a NIfTI-1, NIfTI-2 or Analyze file, and what follows from its fields."""

    version: int  # of the format: 1 or 2
    packed: bool  # whether the file is gzipped
    order: str  # of bytes: '<' or '>'
    magic: bytes  # of NIfTI; something else in Analyze
    dim: tuple[int, ...]  # number of axes used, then voxels along each of seven
    data_type: int  # code
    bits: int  # of a voxel
    pixdim: tuple[float, ...]  # the sign of the qform's third axis, then the steps along the spatial axes, and others
    vox_offset: float  # byte at which the voxels start
    units: int  # of space and time
    scale: tuple[float, ...]  # slope and intercept
    forms: tuple[int, ...]  # codes of qform and sform; 0 for none
    quaternion: tuple[float, ...]  # of the qform: b, c, d
    offset: tuple[float, ...]  # of the qform
    rows: tuple[float, ...]  # of the sform, three of four
    intent: int  # code of what the values mean
    intent_parameter: float  # the first of three
    intent_name: bytes

    @property
    def is_nifti(self) -> bool:
        """Tell NIfTI from Analyze, which has no forms, no scale and no intent."""
        return self.magic in _MAGICS

    @property
    def is_pair(self) -> bool:
        """Tell whether the voxels are in a separate .img file."""
        return self.magic != b"n+%d" % self.version

    @property
    def mm_per_unit(self) -> float:
        """Return the length in mm of the unit of spacing and forms; mm where the header names none."""
        return _MM.get(self.units & 7, 1.0) if self.is_nifti else 1.0

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Return the spacing along the three spatial axes."""
        return tuple(step * self.mm_per_unit for step in self.pixdim[1:4])

    @property
    def first_voxel(self) -> int:
        """Return the byte in the file at which the voxels start."""
        return int(self.vox_offset) if math.isfinite(self.vox_offset) and not self.is_pair else 0

    @property
    def end(self) -> int:
        """Return the byte in the file at which the voxels end."""
        axes = max(min(self.dim[0], 7), 0)
        voxels = math.prod(max(n, 1) for n in self.dim[1 : 1 + axes])
        return self.first_voxel + voxels * _BITS.get(self.data_type, self.bits) // 8

    @property
    def float_type(self) -> str:
        """Return numpy's name of the voxel type with its byte order, for floats; else an empty one."""
        return self.order + _FLOAT_TYPES[self.data_type] if self.data_type in _FLOAT_TYPES else ""


def read_fields(path: Path) -> NiftiFields | None:
    """Read the header in a NIfTI or Analyze file, plain or gzipped; None for another file.

    Raises:
        InputError: a gzipped file cannot be unpacked up to the end of its header.
    """
    packed = _is_packed(path)
    try:
        with open_unpacked(path) as file:
            raw = file.read(max(_SIZES))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path}: the file is damaged and cannot be unpacked; copy or export it again") from None
    for order in "<>":
        for size, version in _SIZES.items():
            if len(raw) >= size and struct.unpack_from(order + "i", raw)[0] == size:
                return _parse(raw, version, packed, order)
    return None


def header_beside(path: Path) -> Path:
    """Return the file that holds the header: the .hdr file beside an .img file, or the file itself."""
    if ".img" not in path.suffixes[-2:]:
        return path
    return path.with_name(re.sub(r"\.img(\.gz)?$", r".hdr\1", path.name, flags=re.IGNORECASE))


def voxels_beside(path: Path) -> Path:
    """Return the file that holds the voxels of a pair: the .img file beside an .hdr file, or the file itself."""
    return path.with_name(re.sub(r"\.hdr(\.gz)?$", r".img\1", path.name, flags=re.IGNORECASE))


def read_image_fields(path: Path) -> NiftiFields | None:
    """Read the header of an image, also of one named by its .img file; None for another file.

    Raises:
        InputError: as for `read_fields`.
    """
    header = header_beside(path)
    return read_fields(header) if header == path or header.is_file() else None


def open_unpacked(path: Path) -> io.BufferedIOBase:
    """Open a file whose bytes may be gzipped."""
    return gzip.open(path) if _is_packed(path) else path.open("rb")


def _parse(raw: bytes, version: int, packed: bool, order: str) -> NiftiFields:
    values: dict[str, Any] = {}
    for name, places in _PLACES.items():
        form, first = places[version - 1]
        found = struct.unpack_from(order + form, raw, first)
        values[name] = found if len(found) > 1 else found[0]
    return NiftiFields(version, packed, order, **values)


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"
