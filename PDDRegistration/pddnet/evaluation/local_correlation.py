"""Measure how alike two scans are in their details: the local correlation coefficient (`local_correlation`).

It is what Rohé et al. 2017 (doi:10.1007/978-3-319-66182-7_31) report as LCC; the formula is that of Lorenzi et al. 2013
(doi:10.1016/j.neuroimage.2013.04.114), section 2.3, with a floor under the contrast.
"""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..core.hounsfield import PADDING_HU
from ..core.image import Image
from ..core.masks import body_mask

SPACING_MM = 4.0  # of the voxels that are compared
WINDOW_MM = 8.0  # standard deviation of the Gaussian window
RANGE_HU = (-200.0, 300.0)  # to which values are clipped: air and metal would outweigh all tissue
NOISE_HU = 10.0  # weaker contrast counts as noise


def local_correlation(fixed: Image, moving: Image, transform: sitk.Transform | None = None) -> float:
    """Average the correlation of two CTs within a Gaussian window around every voxel of the fixed body: -1..1.

    Only voxels that both scans show count; NaN where there are none.

    Args:
        transform: fixed to moving points, LPS mm; None: none.
    """
    coarse = fixed.coarsen(SPACING_MM)
    f = np.clip(coarse.array.astype(np.float64), *RANGE_HU)
    warped = moving.coarsen(SPACING_MM).resample(coarse.grid, transform, fill=PADDING_HU).array
    m = np.clip(warped.astype(np.float64), *RANGE_HU)
    everywhere = Image(np.ones(moving.grid.shape, np.uint8), moving.grid)
    seen = everywhere.resample(coarse.grid, transform, labels=True).array > 0
    counted = seen & (body_mask(coarse).array > 0)
    if not counted.any():
        return math.nan
    weight = seen.astype(np.float64)
    share = _windowed(weight, coarse)[counted]
    mean_f, mean_m, ff, mm, fm = (
        _windowed(values * weight, coarse)[counted] / share for values in (f, m, f * f, m * m, f * m)
    )
    variances = [np.maximum(square - mean**2, 0) + NOISE_HU**2 for square, mean in ((ff, mean_f), (mm, mean_m))]
    return float(np.mean((fm - mean_f * mean_m) / np.sqrt(variances[0] * variances[1])))


def _windowed(values: np.ndarray, image: Image) -> np.ndarray:
    """Average (D, H, W) within the window around every voxel."""
    return ndimage.gaussian_filter(values, WINDOW_MM / image.grid.spacing[::-1], mode="constant", truncate=3.0)
