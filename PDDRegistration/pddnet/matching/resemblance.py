"""Measure how alike two scans are in detail: the mean correlation of their intensities within small windows.

Once aligned, two scans of one patient resemble each other far more than those of different patients, whatever their
organs' overlap: bones, vessels and airways of one person fit no other person's. After a deformation that is no longer
so. The limit between both stands in the presets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..features.local_contrast import CONTRAST_RANGE_HU
from ..tensor.lattice import HALF, LEAST_SHARE_IN_VIEW, along_axes, averages, resample
from ..tensor.scan import Scan

REACH = 2  # voxels of the scans' lattice: half-width of the windows
NOISE_HU = 10.0  # weaker contrast counts as noise
LEAST_COMMON = 0.3  # share of a window that both scans show, from which on it counts


def local_correlation(fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid) -> tuple[Tensor, Tensor]:
    """Correlate both scans in the window around every voxel of the fixed body's box.

    Args:
        affine, field: x -> affine(x + u(x)), fixed to moving points (LPS mm); u (3, D, H, W) on `lattice`, in mm along
            its array axes.

    Returns:
        (D, H, W) on `fixed.box`, the correlations -1..1; and bool, where both scans show the fixed body.
    """
    box = fixed.box
    f = fixed.warped(box, Affine.identity())
    m = moving.warped(box, affine, resample(field, lattice, box))
    weight = f.view * m.view
    x, y = (each.hu.clamp(*CONTRAST_RANGE_HU) for each in (f, m))
    windows = [averages(n, REACH, weight) for n in box.shape]
    sums = along_axes(torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y]) * weight, windows)
    share = sums[0]
    mean_x, mean_y, xx, yy, xy = sums[1:] / share.clamp(min=LEAST_SHARE_IN_VIEW)
    variance_x, variance_y = xx - mean_x.square(), yy - mean_y.square()
    scale = ((variance_x.clamp(min=0) + NOISE_HU**2) * (variance_y.clamp(min=0) + NOISE_HU**2)).sqrt()
    seen = (f.body > HALF) & (weight > HALF) & (share > LEAST_COMMON)
    return (xy - mean_x * mean_y) / scale, seen


def resemblance(fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid) -> float:
    """Average `local_correlation` over the fixed body that both scans show: -1..1; 0 where they show nothing common."""
    correlation, seen = local_correlation(fixed, moving, affine, field, lattice)
    return float(correlation[seen].mean()) if bool(seen.any()) else 0.0
