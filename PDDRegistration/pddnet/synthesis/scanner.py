"""Simulate the scanner, the intensity augmentation: slice thickness, blur, noise, streaks, a round field of view."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from .noise import Noise

SLICE_THICKNESS_MM = (1.0, 9.0)
FEWEST_SLICES = 8
BLURRED = 0.3  # share of scans
NOISE_HU = (2.0, 30.0)
STREAKED = 0.15  # share of scans, as of low dose
STREAK_HU = (5.0, 25.0)
ROUND_VIEW_RADIUS = (0.42, 0.6)  # of the larger of a slice's sides, in voxels


def simulate_scanner(hu: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
    """Simulate a scanner on HU (D, H, W): slices of up to 9 mm, blur, noise and streaks."""
    hu = thick_slices(hu, rng.uniform(*SLICE_THICKNESS_MM), noise.spacing_mm)
    if rng.random() < BLURRED:
        padded = functional.pad(hu[None, None], (1,) * 6, mode="replicate")
        hu = functional.avg_pool3d(padded, 3, 1)[0, 0]
    hu = hu + rng.uniform(*NOISE_HU) * noise.white(*hu.shape)
    if rng.random() < STREAKED:  # each row of a slice is brighter or darker from side to side
        rows = functional.interpolate(noise.white(1, 1, *hu.shape[:2]), size=hu.shape[:2], mode="nearest")[0, 0]
        hu = hu + rng.uniform(*STREAK_HU) * rows[..., None]
    return hu


def thick_slices(hu: Tensor, thickness_mm: float, spacing_mm: float) -> Tensor:
    """Average HU (D, H, W) over slices of `thickness_mm` and interpolate back; unchanged where those are thinner."""
    if thickness_mm <= spacing_mm:
        return hu
    count = max(round(hu.shape[0] * spacing_mm / thickness_mm), FEWEST_SLICES)
    thick = functional.interpolate(hu[None, None], size=(count, *hu.shape[1:]), mode="area")
    return functional.interpolate(thick, size=hu.shape, mode="trilinear", align_corners=False)[0, 0]


def round_field_of_view(shape: tuple[int, int, int], rng: np.random.Generator, device: torch.device) -> Tensor:
    """Return a round field of view (D, H, W) float: 1 within a cylinder along the body, else 0."""
    y, x = torch.meshgrid(*[torch.arange(n, device=device) - (n - 1) / 2 for n in shape[1:]], indexing="ij")
    radius = rng.uniform(*ROUND_VIEW_RADIUS) * max(shape[1:])
    return ((x.square() + y.square()) < radius**2).float().expand(shape)
