"""Draw white and smooth random fields from one seed, on the voxels of a synthesised scan (`Noise`)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

UNIT_VARIANCE = 1.3  # trilinear interpolation between random nodes lowers the variance; this makes up for it


class Noise:
    """Random fields from one seed, for voxels of `spacing_mm`; torch's global generator is not touched."""

    def __init__(self, seed: int, device: torch.device, spacing_mm: float) -> None:
        self.device = device
        self.spacing_mm = spacing_mm
        self.generator = torch.Generator(device).manual_seed(seed)

    def white(self, *shape: int) -> Tensor:
        """Draw independent normal values of unit variance, of the given shape."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def smooth(self, shape: tuple[int, ...], cell_mm: float, channels: int = 1) -> Tensor:
        """Draw a smooth field (channels, *shape) of about unit variance, changing over about `cell_mm`."""
        coarse = [max(round(n * self.spacing_mm / cell_mm), 1) + 2 for n in shape]
        field = self.white(1, channels, *coarse)
        fine = functional.interpolate(field, size=tuple(shape), mode="trilinear", align_corners=True)[0]
        return UNIT_VARIANCE * fine
