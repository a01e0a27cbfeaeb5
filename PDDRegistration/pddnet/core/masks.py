"""Find the voxels that show the patient (body mask), and those that the scanner measured at all (view mask)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from .hounsfield import AIR_HU, BODY_THRESHOLD_HU, NOISY_AIR_HU, SURROUNDING_AIR_HU
from .image import Image

CLEANED_AIR = 0.9  # share of the air: if more of it has one value, this value is cleaned air, not padding
EROSION_MM = 6.0  # separates the patient from the table, whose shells are thinner than twice this


def view_mask(image: Image) -> Image:
    """Mark the voxels that the scanner measured: all (bool) but the scanner's padding.

    Padding is a region of the volume's exact minimum, at most -1000 HU, connected to the sides. Measured air is noisy:
    where nearly all air has that one value it was cleaned, and is air.
    """
    array = image.array
    lowest = array.min()
    padding = array <= lowest
    air = array < NOISY_AIR_HU
    if lowest > AIR_HU or padding.sum() > CLEANED_AIR * air.sum():
        return Image(np.ones(array.shape, bool), image.grid)
    in_plane = (1, 2)  # array axes: padding surrounds a circular field of view, or a tilted stack
    return Image(~_connected_to_sides(padding, in_plane), image.grid)


def body_mask(image: Image, threshold: float = BODY_THRESHOLD_HU, *, hu: bool = True) -> Image:
    """Mark the patient (bool) without table and surrounding air: the largest part above `threshold`, holes filled.

    Meant for grids of 2-6 mm. Lungs and gas count as body; in HU also where a crop cuts them open, which only their
    values then tell from the surrounding air. Empty where nothing exceeds the threshold.
    """
    radius = max(round(EROSION_MM / float(image.grid.spacing.min())), 1)
    above = image.array > threshold
    core = ndimage.binary_erosion(above, iterations=radius, border_value=1)
    parts, count = ndimage.label(core)
    if count == 0:
        return Image(above, image.grid)
    sizes = np.bincount(parts.ravel())[1:]
    largest = parts == np.argmax(sizes) + 1
    body = ndimage.binary_dilation(largest, iterations=radius + 1) & above
    axial = int(np.argmax(np.abs(image.grid.direction[2, ::-1])))  # the array axis nearest to head-foot
    in_plane = np.zeros((3, 3, 3), bool)  # holes are filled slice by slice, as the first slice may cut the lungs open
    np.moveaxis(in_plane, axial, 0)[1] = ndimage.generate_binary_structure(2, 1)
    outside = _connected_to_sides(~body, {0, 1, 2} - {axial}, in_plane)
    return Image(~_mostly(image.array < SURROUNDING_AIR_HU, outside) if hu else ~outside, image.grid)


def _mostly(marked: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Keep the connected parts of a mask of whose voxels at least half are marked."""
    parts, count = ndimage.label(mask)
    shares = np.bincount(parts[marked], minlength=count + 1) / np.bincount(parts.ravel(), minlength=count + 1).clip(1)
    kept = shares >= 0.5
    kept[0] = False  # label 0 is everything outside the mask
    return kept[parts]


def mask_centre(mask: Image) -> np.ndarray | None:
    """Return the mean position of the mask's nonzero voxels, (3,) LPS mm; None where there are none."""
    counts = [np.count_nonzero(mask.array, axis=others) for others in ((0, 1), (0, 2), (1, 2))]  # along i, j, k
    total = counts[0].sum()
    if not total:
        return None
    return mask.grid.index_to_point([np.arange(len(along)) @ along / total for along in counts])


def masks_shift(fixed: Image | None, moving: Image | None) -> np.ndarray | None:
    """Return the shift from the centre of a fixed to that of a moving mask, (3,) LPS mm; None without either."""
    centres = [None if mask is None else mask_centre(mask) for mask in (fixed, moving)]
    here, there = centres
    return None if here is None or there is None else there - here


def _connected_to_sides(mask: np.ndarray, axes: Iterable[int], neighbours: np.ndarray | None = None) -> np.ndarray:
    """Keep the parts of a mask, connected by `neighbours` (3, 3, 3), that touch either end of one of the axes."""
    parts, count = ndimage.label(mask, neighbours)
    touches = np.zeros(count + 1, bool)
    for axis in axes:
        for end in (0, -1):
            touches[parts.take(end, axis)] = True
    touches[0] = False  # label 0 is everything outside the mask
    return touches[parts]
