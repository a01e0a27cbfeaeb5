"""Numbers of NIfTI headers that ITK takes without a word although they say nothing: NaN, and turns that are none."""

from __future__ import annotations

import gzip
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

FARTHEST_MM = 1e6  # no scanner's coordinates are larger
_LONGEST = 1.01  # of the vector part of a quaternion, whose length is 1 at most
_MAGICS = (b"n+1", b"ni1", b"n+2", b"ni2")
_MAGIC_PLACES = {348: 344, 540: 4}  # by the size of the header
_FIELDS = {  # where its numbers stand, for struct
    348: {
        "bits": ("h", 72), "first_voxel": ("f", 108), "scale": ("2f", 112), "codes": ("2h", 252),
        "quaternion": ("3f", 256), "offset": ("3f", 268), "sform": ("12f", 280),
    },
    540: {
        "bits": ("h", 14), "first_voxel": ("q", 168), "scale": ("2d", 176), "codes": ("2i", 344),
        "quaternion": ("3d", 352), "offset": ("3d", 376), "sform": ("12d", 400),
    },
}  # fmt: skip


@dataclass(frozen=True)
class NiftiNumbers:
    """Numbers of a NIfTI header that say where its voxels are and what they mean."""

    version: int  # of the format: 1 or 2
    packed: bool  # whether the file is gzipped
    order: str  # of bytes: '<' or '>'
    bits: int  # of a voxel
    first_voxel: float  # byte
    slope: float
    intercept: float
    qform: int  # code; 0 where there is none
    sform: int
    quaternion: tuple[float, ...]  # b, c, d
    offset: tuple[float, ...]  # of the qform, mm
    rows: tuple[float, ...]  # of the sform, three of four


def read_numbers(path: Path) -> NiftiNumbers | None:
    """Read a NIfTI header, plain or gzipped; None for another file, and for Analyze, whose fields mean other things."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        raw = file.read(max(_FIELDS))
    for order in "<>":
        for size, fields in _FIELDS.items():
            place = _MAGIC_PLACES[size]
            known = len(raw) >= size and raw[place : place + 3] in _MAGICS
            if known and struct.unpack_from(order + "i", raw)[0] == size:
                values = {name: struct.unpack_from(order + form, raw, at) for name, (form, at) in fields.items()}
                return NiftiNumbers(
                    1 if size == 348 else 2,
                    packed,
                    order,
                    values["bits"][0],
                    values["first_voxel"][0],
                    values["scale"][0],
                    values["scale"][1],
                    values["codes"][0],
                    values["codes"][1],
                    values["quaternion"],
                    values["offset"],
                    values["sform"],
                )
    return None


def check_numbers(path: Path) -> None:
    """Check the numbers of a NIfTI header; other files pass.

    Raises:
        InputError: a number that places, scales or finds the voxels is not finite, or cannot be what it stands for.
    """
    numbers = read_numbers(path)
    if numbers is None:
        return
    if not (math.isfinite(numbers.first_voxel) and numbers.first_voxel >= 0):
        _refuse(path, f"the first voxel stands at byte {numbers.first_voxel:g}")
    if not (math.isfinite(numbers.slope) and math.isfinite(numbers.intercept)):
        _refuse(path, f"the values are scaled (scl_slope, scl_inter) by {numbers.slope:g}, {numbers.intercept:g}")
    if numbers.qform > 0:
        if not math.hypot(*numbers.quaternion) <= _LONGEST:
            _refuse(path, "the quaternion {:g}, {:g}, {:g} is no rotation".format(*numbers.quaternion))
        _check_offset(path, "qform", numbers.offset)
    if numbers.sform > 0:
        if not all(map(math.isfinite, numbers.rows)):
            _refuse(path, "the sform has numbers that are not finite")
        _check_offset(path, "sform", numbers.rows[3::4])


def _check_offset(path: Path, form: str, offset: tuple[float, ...]) -> None:
    if not all(abs(value) <= FARTHEST_MM for value in offset):  # also NaN
        _refuse(path, "the {} places the volume at {:g}, {:g}, {:g} mm".format(form, *offset))


def _refuse(path: Path, what: str) -> None:
    raise InputError(f"{path}: in the header, {what}; correct it, or convert the scan again")
