"""Measure how much warped scans differ from a fixed one by MIND, place by place."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from ..core.hounsfield import AIR_HU, FEATURE_RANGE_HU
from ..core.image import Image
from ..tensor.convert import to_array, to_tensor
from .mind import mind

SPACING_MM = 3.0  # of the voxels whose features are compared
NOISE_HU = 20.0  # standard deviation of noise: smaller differences are ignored
UNSEEN = 1.0  # difference where the moving scan shows nothing: the largest there is


class MindDifference:
    """Differences of scans to a fixed one, whose features are computed once."""

    def __init__(self, fixed: Image, spacing_mm: float = SPACING_MM, device: str | torch.device = "cpu") -> None:
        """Compute the features of the fixed scan (HU, any geometry) on an isotropic grid along its axes."""
        self.grid = fixed.grid.isotropic(spacing_mm)
        self._spacing_mm, self._device = spacing_mm, device
        self._features, _ = self._described(fixed, sitk.Transform())

    def __call__(self, moving: Image, transform: sitk.Transform) -> Image:
        """Return the squared difference of the features, mean over the channels: float32, 0..1, on `grid`.

        moving: HU, any geometry. transform: fixed to moving points, LPS mm.
        """
        features, seen = self._described(moving, transform)
        squared = to_array((features - self._features).square_().mean(0))
        return Image(np.where(seen, squared, np.float32(UNSEEN)), self.grid)

    def _described(self, scan: Image, transform: sitk.Transform) -> tuple[Tensor, np.ndarray]:
        """Return the features (12, D, H, W) of a warped scan, and where it shows anything (D, H, W)."""
        coarse = scan.clip(*FEATURE_RANGE_HU).coarsen(self._spacing_mm)
        values = coarse.resample(self.grid, transform, fill=np.nan).array
        seen = np.isfinite(values)
        return mind(to_tensor(np.where(seen, values, AIR_HU), self._device), noise=NOISE_HU), seen
