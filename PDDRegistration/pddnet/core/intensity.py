"""Decide whether a scan is a CT in Hounsfield units, and bring it there: the one place for this decision.

A CT is recognised by its values: air (near -1000 HU) and a narrow band of soft tissue around water (0 HU). The limits
lie between what 24 CT and 7 MR scans of people show: of the voxels denser than lung, the band holds 87 to 97 % in a CT,
and 27 to 70 % in an MR scan of which 1024 was subtracted.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from ..errors import InputError
from .hounsfield import HIGHEST_HU
from .image import Image

AUTO, AS_HU, OFFSET_1024 = "auto", "hu", "offset-1024"
INTENSITIES = (AUTO, AS_HU, OFFSET_1024)
"""What the user may say of the values: found out from them, in HU as they are, or 1024 too high."""

OFFSET_HU = 1024  # what stored values of a CT usually lack: the rescale intercept of DICOM is -1024
SHOWS_AIR_BELOW_HU = -500.0  # nothing but air and lung lies below
_LEAST_AIR = 0.001  # share of the voxels, for a scan that shows air
_PURE_AIR_HU = (-1200.0, -850.0)  # without lung
_LEAST_PURE_AIR = 0.02  # share of the voxels, for values that are a CT's once they are shifted or inverted
_MOST_BELOW_AIR = 0.1  # of that share: nothing is thinner than air, while bone, with its sign changed, has no end there
_SOFT_BAND_HU = (-300.0, 400.0)  # from fat to vessels with contrast agent and spongy bone
_LEAST_SOFT = 0.8  # share of the voxels without air and lung that lies in the band
_MEDIAN_BAND_HU = (-150.0, 150.0)  # the median of soft tissue, between fat and muscle
_LEAST_AIR_INVERTED = 0.1  # the same for values that were taken from the largest one, whatever that is
_MUSCLE_ABOVE_HU = 30.0  # with its sign changed it lies below -24, the padding of a scan in HU + 1000
_LEAST_MUSCLE = 0.05  # share of the voxels, for values with a changed sign
_FAT_BELOW_HU = -20.0
_LEAST_FAT = 0.01  # share of a CT without air that lies below
_LARGEST_NORMALISED = 30.0  # a CT has larger values, z-scores and shares of 1 have not
_LARGEST_BYTE = 255.0
_SAMPLES = 1_000_000  # voxels that are looked at


class Scale(Enum):
    """What the values of a scan are."""

    HU = "Hounsfield units, with air"
    HU_WITHOUT_AIR = "perhaps Hounsfield units, without air"
    OFFSET = "Hounsfield units + 1024"
    INVERTED = "inverted, air is the brightest"
    NORMALISED = "normalised"
    BYTES = "an 8-bit window"
    OTHER = "something else"


_OF_CT = (Scale.HU, Scale.HU_WITHOUT_AIR)  # of a CT that can be read as it is


def scale_of(array: np.ndarray) -> Scale:
    """Recognise the scale of an array of any shape by its finite values, of a million voxels spread over it."""
    values = _sampled(array)
    if not values.size:
        return Scale.OTHER
    if np.abs(values).max() < _LARGEST_NORMALISED:
        return Scale.NORMALISED
    if values.min() >= 0 and values.max() <= _LARGEST_BYTE:
        return Scale.BYTES
    with_air = (values < SHOWS_AIR_BELOW_HU).mean() >= _LEAST_AIR
    if with_air and _is_soft(values) and (values < SHOWS_AIR_BELOW_HU).sum() >= (values > -SHOWS_AIR_BELOW_HU).sum():
        return Scale.HU
    negative = (values < -_MUSCLE_ABOVE_HU).mean() >= _LEAST_MUSCLE
    if not with_air and not negative and _is_ct(values - OFFSET_HU):
        return Scale.OFFSET
    if (negative and _is_ct(-values)) or _is_ct(values.max() - values - OFFSET_HU, _LEAST_AIR_INVERTED):
        return Scale.INVERTED
    if with_air:
        return Scale.HU
    if _is_soft(values) and (values < _FAT_BELOW_HU).mean() >= _LEAST_FAT:
        return Scale.HU_WITHOUT_AIR
    return Scale.OTHER


def shows_air(array: np.ndarray) -> bool:
    """Tell whether the array is of a CT in HU that shows air, so that a missing voxel is best filled with air."""
    return scale_of(array) is Scale.HU


def is_ct(image: Image) -> bool:
    """Tell whether the image is a CT in HU, with or without air."""
    return scale_of(image.array) in _OF_CT


def hu_if_ct(image: Image) -> Image | None:
    """Return a CT in HU, the image itself where it already is; None for anything else."""
    scale = scale_of(image.array)
    if scale is Scale.OFFSET:
        return _without_offset(image)
    return image if scale in _OF_CT else None


def check_intensity(intensity: str) -> str:
    """Return `intensity`. Raises InputError where it is not one of INTENSITIES."""
    if intensity not in INTENSITIES:
        raise InputError(f"there is no intensity '{intensity}'; choose one of {', '.join(INTENSITIES)}")
    return intensity


def to_hu(image: Image, name: str, intensity: str = AUTO) -> tuple[Image, list[str]]:
    """Return a CT in HU, with warnings; it is the image itself where nothing had to be repaired.

    Args:
        image: any volume with finite values; it is not changed.
        name: how the user knows it (a path or 'fixed volume').
        intensity: what the user says, one of INTENSITIES. With 'offset-1024' a scan that shows air in HU stays as it
            is: of two scans it is usually one that lost its intercept.

    Raises:
        InputError: the values are not in HU, and it is not certain how to repair them.
    """
    if check_intensity(intensity) == AS_HU:
        return image, []
    scale = scale_of(image.array)
    if scale is Scale.HU:
        return image, []
    if intensity == OFFSET_1024:
        return _without_offset(image), [f"{name}: 1024 was subtracted from every value, as asked for"]
    if scale is Scale.OFFSET:
        return _without_offset(image), [
            f"{name}: the values are HU + 1024 (a lost rescale intercept); 1024 was subtracted to register, "
            "choose the intensity 'hu' if that is wrong"
        ]
    low, high = image.array.min(), image.array.max()
    if scale is Scale.HU_WITHOUT_AIR:
        return image, [f"{name}: no air is shown, the values lie between {low:g} and {high:g}; they were taken as HU"]
    raise InputError(
        f"{name}: the values are no HU, {_reason(scale, low, high)}; give the CT in HU, choose the preset 'multimodal' "
        "for other scans, or say what they are by the intensity 'hu' or 'offset-1024'"
    )


def _reason(scale: Scale, low: float, high: float) -> str:
    span = f"{low:.4g} to {high:.4g}"
    if scale is Scale.INVERTED:
        return f"they are inverted, air is the brightest ({span})"
    if scale is Scale.NORMALISED:
        return f"they were normalised ({span})"
    if scale is Scale.BYTES:
        return f"they are an 8-bit window ({span})"
    return f"nothing lies below {SHOWS_AIR_BELOW_HU:g} ({span})"


def _sampled(array: np.ndarray) -> np.ndarray:
    """Take every so many values along all axes, the finite ones of them without padding: (N,) float32."""
    step = max(int(np.ceil((array.size / _SAMPLES) ** (1 / max(array.ndim, 1)))), 1)
    values = array[(slice(None, None, step),) * array.ndim].astype(np.float32).ravel()
    values = values[np.isfinite(values)]
    padding = values.min(initial=0.0)
    return values[values > padding] if padding < _PURE_AIR_HU[0] else values


def _is_soft(values: np.ndarray) -> bool:
    """Tell whether what is denser than lung looks like soft tissue in HU."""
    dense = values[(values > SHOWS_AIR_BELOW_HU) & (values < HIGHEST_HU)]
    if not dense.size:
        return False
    low, high = _SOFT_BAND_HU
    soft = dense[(dense > low) & (dense < high)]
    if soft.size < _LEAST_SOFT * dense.size:
        return False
    return bool(_MEDIAN_BAND_HU[0] < np.median(soft) < _MEDIAN_BAND_HU[1])


def _is_ct(values: np.ndarray, least_air: float = _LEAST_PURE_AIR) -> bool:
    """Tell whether values that were shifted or inverted are surely those of a CT in HU, with air around the patient."""
    low, high = _PURE_AIR_HU
    pure, below = ((values > low) & (values < high)).mean(), (values < low).mean()
    return bool(pure >= least_air and below <= _MOST_BELOW_AIR * pure) and _is_soft(values)


def _without_offset(image: Image) -> Image:
    """Subtract 1024; integers stay integers, in a type with a sign."""
    kind = image.array.dtype
    if kind.kind in "iub":
        high = int(image.array.max())
        wide = np.int16 if high <= np.iinfo(np.int16).max and kind.itemsize <= 2 else np.int32
        return Image(np.subtract(image.array, OFFSET_HU, dtype=wide, casting="unsafe"), image.grid)
    return Image(image.array - kind.type(OFFSET_HU), image.grid)
