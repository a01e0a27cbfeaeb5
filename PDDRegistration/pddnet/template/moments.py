"""Average volumes one after the other: mean and standard deviation of each voxel, and how sharp a mean is."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..core.hounsfield import AIR_HU, HIGHEST_HU, PADDING_HU, SOFT_TISSUE_HU
from ..core.image import Image

SHARPENING_MM = 4.0  # standard deviation of the blur whose difference to the mean is added to it


class Moments:
    """Number, mean and standard deviation of the values of each voxel, (D, H, W), however many volumes there are.

    Welford 1962, doi:10.1080/00401706.1962.10490022: differences to the mean so far are summed, which loses no digits.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.count = np.zeros(shape, np.uint16)
        self.mean = np.zeros(shape, np.float32)
        self._squares = np.zeros(shape, np.float32)

    def add(self, values: np.ndarray) -> None:
        """Add a volume (D, H, W); where it is NaN nothing is known."""
        seen = np.isfinite(values)
        self.count += seen
        before = np.where(seen, values - self.mean, 0)
        self.mean += before / np.maximum(self.count, 1)
        self._squares += before * np.where(seen, values - self.mean, 0)

    @property
    def deviation(self) -> np.ndarray:
        """Return the standard deviation of a sample, (D, H, W) float32; 0 where fewer than two values are known."""
        free = np.maximum(self.count.astype(np.float32) - 1, 1)
        found: np.ndarray = np.sqrt(self._squares / free)
        return found


def edge_strength(image: Image, body: np.ndarray) -> float:
    """Measure how sharp a scan is: the mean length of its gradient over a body (D, H, W), HU per mm.

    Only soft tissue counts: values are clipped to it.
    """
    values = image.clip(*SOFT_TISSUE_HU).array
    slopes = np.gradient(values, *image.grid.spacing[::-1])
    length = np.sqrt(sum(slope**2 for slope in slopes))
    return float(length[body].mean()) if body.any() else 0.0


def sharpened(mean: Image) -> Image:
    """Return a mean with the difference to its blur added (an unsharp mask), for scans to be registered to.

    What varies between the scans is blurred in the mean, and is then matched worse than in a scan. Voxels at PADDING_HU
    show nothing: they stay, and take no part.
    """
    known = (mean.array > PADDING_HU).astype(np.float32)
    sigma = SHARPENING_MM / mean.grid.spacing[::-1]
    blurred = ndimage.gaussian_filter(mean.array * known, sigma) / np.maximum(
        ndimage.gaussian_filter(known, sigma), 1e-3
    )
    values = np.clip(2 * mean.array - blurred, AIR_HU, HIGHEST_HU)
    return Image(np.where(known > 0, values, mean.array).astype(np.float32), mean.grid)
