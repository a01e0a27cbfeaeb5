"""Draw views that are hard to read: children, low dose, a narrow box of the body without its outline."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .noise import Noise

CHILD, CHILD_SIZE, CHILD_LENGTH = 0.1, (0.4, 0.8), (0.8, 1.0)  # share; size across; further factor along the body
LOW_DOSE, LOW_DOSE_HU = 0.15, (20.0, 55.0)
CROPPED, CROPPED_SHARE = 0.15, ((0.0, 0.2), (0.0, 0.3), (0.0, 0.3))  # of D, H, W, cut from each side


def as_child(points: Tensor, rng: np.random.Generator) -> Tensor:
    """Return points (3, D, H, W) LPS mm of a body that is smaller, and shorter still, about the view's middle."""
    size = rng.uniform(*CHILD_SIZE)
    factor = torch.tensor([size, size, size * rng.uniform(*CHILD_LENGTH)], device=points.device).float()
    middle = points.flatten(1).mean(1).view(3, 1, 1, 1)
    return middle + (points - middle) / factor.view(3, 1, 1, 1)


def box_view(shape: tuple[int, int, int], rng: np.random.Generator, device: torch.device) -> Tensor:
    """Return a view (D, H, W) float: 1 in a box of which each side may be cut off, else 0."""
    view = torch.zeros(shape, device=device)
    cuts = [[round(n * rng.uniform(*share)) for _ in range(2)] for n, share in zip(shape, CROPPED_SHARE, strict=True)]
    k, j, i = (slice(first, n - last) for n, (first, last) in zip(shape, cuts, strict=True))
    view[k, j, i] = 1.0
    return view


def low_dose(hu: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
    """Add the noise of a scan of low dose in thin slices to HU (D, H, W)."""
    return hu + rng.uniform(*LOW_DOSE_HU) * noise.white(*hu.shape)
