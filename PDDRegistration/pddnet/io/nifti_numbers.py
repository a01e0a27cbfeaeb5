"""Numbers of NIfTI headers that ITK takes without a word although they say nothing: NaN, and turns that are none."""

from __future__ import annotations

import math
from pathlib import Path

from ..errors import InputError
from .nifti_fields import NiftiFields

FARTHEST_MM = 1e6  # no scanner's coordinates are larger
_LONGEST = 1.01  # of the vector part of a quaternion, whose length is 1 at most


def check_numbers(path: Path, fields: NiftiFields) -> None:
    """Check the numbers of a NIfTI header; those of Analyze, whose fields mean other things, pass.

    Raises:
        InputError: a number that places, scales or finds the voxels is not finite, or cannot be what it stands for.
    """
    if not fields.is_nifti:
        return
    if not (math.isfinite(fields.vox_offset) and fields.vox_offset >= 0):
        _refuse(path, f"the first voxel stands at byte {fields.vox_offset:g}")
    if not all(map(math.isfinite, fields.scale)):
        _refuse(path, "the values are scaled (scl_slope, scl_inter) by {:g}, {:g}".format(*fields.scale))
    qform, sform = fields.forms
    if qform > 0:
        if not math.hypot(*fields.quaternion) <= _LONGEST:
            _refuse(path, "the quaternion {:g}, {:g}, {:g} is no rotation".format(*fields.quaternion))
        _check_offset(path, "qform", fields.offset)
    if sform > 0:
        if not all(map(math.isfinite, fields.rows)):
            _refuse(path, "the sform has numbers that are not finite")
        _check_offset(path, "sform", fields.rows[3::4])


def _check_offset(path: Path, form: str, offset: tuple[float, ...]) -> None:
    if not all(abs(value) <= FARTHEST_MM for value in offset):  # also NaN
        _refuse(path, "the {} places the volume at {:g}, {:g}, {:g} mm".format(form, *offset))


def _refuse(path: Path, what: str) -> None:
    raise InputError(f"{path}: in the header, {what}; correct it, or convert the scan again")
