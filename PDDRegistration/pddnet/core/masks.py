"""Body mask and view mask: which voxels show the patient, and which the scanner has measured at all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from .image import Image

CLEAN_AIR = 0.9  # share of the air that has one value
BODY_THRESHOLD = -350.0  # HU: fat and muscle lie above, air and lung below


def view_mask(image: Image) -> Image:
    """Where the scan really shows something: all voxels but the scanner's padding.

    Padding is a region of the volume's exact minimum, at most -1000 HU, connected to the sides. Measured air is noisy:
    where nearly all air has that one value it was cleaned, and is air.
    """
    array = image.array
    low = array.min()
    padding = array <= low
    if low > -1000 or padding.sum() > CLEAN_AIR * (array < -900).sum():
        return Image(np.ones(array.shape, bool), image.grid)
    return Image(~_reaching(padding, (1, 2)), image.grid)  # in-plane: a reconstruction circle, a tilted stack


def body_mask(image: Image, threshold: float = BODY_THRESHOLD) -> Image:
    """The patient without table and air around: the largest connected part above `threshold`, holes filled.

    Meant for grids of 2-6 mm. Lungs and gas count as body. Empty where nothing exceeds the threshold.
    """
    radius = max(round(6.0 / float(image.grid.spacing.min())), 1)
    above = image.array > threshold
    core = ndimage.binary_erosion(above, iterations=radius, border_value=1)
    parts, count = ndimage.label(core)
    if count == 0:
        return Image(above, image.grid)
    largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    body = ndimage.binary_dilation(largest, iterations=radius + 1) & above
    axial = int(np.argmax(np.abs(image.grid.direction[2, ::-1])))  # the array axis nearest to head-foot
    in_plane = np.zeros((3, 3, 3), bool)
    np.moveaxis(in_plane, axial, 0)[1] = ndimage.generate_binary_structure(2, 1)
    return Image(~_reaching(~body, {0, 1, 2} - {axial}, in_plane), image.grid)


def _reaching(mask: np.ndarray, axes: Iterable[int], neighbours: np.ndarray | None = None) -> np.ndarray:
    """The parts of a mask, connected by `neighbours` (3, 3, 3), that reach either end of one of the axes."""
    parts, count = ndimage.label(mask, neighbours)
    reaches = np.zeros(count + 1, bool)
    for axis in axes:
        for end in (0, -1):
            reaches[parts.take(end, axis)] = True
    reaches[0] = False  # what is not in the mask
    return reaches[parts]
