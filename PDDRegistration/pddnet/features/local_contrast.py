"""Compute the local contrast: intensities less their local mean, divided by their local standard deviation.

Squared differences of it are, but for a constant, the local normalised correlation (Cachier and Pennec 2000,
doi:10.1109/MMBIA.2000.852373), so that bones, vessels of the lung and faint organs count alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.grid import Grid
from ..core.hounsfield import AIR_HU
from ..tensor.lattice import LEAST_SHARE_IN_VIEW, along_axes

CONTRAST_RANGE_HU = (AIR_HU, 500.0)  # clipped to it: dense bone would hide what lies beside it
NOISE_HU = 60.0  # contrast that is weaker is not amplified: twice the noise of a scan that was averaged to 2 mm
REACH = 3.0  # standard deviations after which the window ends


def local_contrast(
    intensity: Tensor, view: Tensor, grid: Grid, window_mm: float, *, blur_mm: float = 0.0, noise: float = NOISE_HU
) -> Tensor:
    """Compute the local contrast (D, H, W); it is 0 where nothing but noise is.

    Args:
        intensity: (D, H, W) in HU, or scaled to a range as wide.
        view: (D, H, W) 0..1, what the scan shows: voxels outside never count.
        grid: of the voxels, anisotropic or not.
        window_mm: standard deviation of the Gaussian window, the same in all directions of space.
        blur_mm: standard deviation of a Gaussian that smooths the intensity before.
        noise: contrast that is weaker is not amplified, in the unit of the intensity.
    """
    values = intensity.clamp(*CONTRAST_RANGE_HU)
    if blur_mm:
        values = _means(values[None], view, _windows(grid, blur_mm, values))[0]
    windows = _windows(grid, window_mm, values)
    mean = _means(values[None], view, windows)[0]
    centred = values - mean
    variance = _means(centred.square()[None], view, windows)[0]
    return centred / (variance + noise**2).sqrt()


def _means(x: Tensor, view: Tensor, windows: list[Tensor]) -> Tensor:
    """Average (C, D, H, W) over the window around each voxel, within the view."""
    sums = along_axes(torch.cat([x * view, view[None]]), windows)
    return sums[:-1] / sums[-1:].clamp(min=LEAST_SHARE_IN_VIEW)


def _windows(grid: Grid, sigma_mm: float, like: Tensor) -> list[Tensor]:
    """Return matrices (n, n) along D, H, W that weight the neighbours of each voxel by a Gaussian."""
    matrices = []
    for n, spacing in zip(grid.shape, grid.spacing[::-1], strict=True):
        node = torch.arange(n, device=like.device, dtype=like.dtype) * (float(spacing) / sigma_mm)
        apart = (node[:, None] - node).abs()
        weight = torch.exp(-0.5 * apart.square()) * (apart <= REACH)
        matrices.append(weight / weight.sum(1).max())
    return matrices
