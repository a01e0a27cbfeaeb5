"""Compute tissue memberships from Hounsfield units: coarse features that the alignment compares. CT only."""

from __future__ import annotations

import torch
from torch import Tensor

# HU at which membership begins, reaches 1, leaves 1 and ends; wide enough for scans with and without contrast agent
TISSUE_RANGES_HU = {
    "gas": (-2000, -1999, -750, -350),
    "fat": (-250, -150, -60, -10),
    "soft": (-30, 20, 150, 230),
    "bone": (130, 300, 5000, 5001),
}


def tissue(hu: Tensor, body: Tensor) -> Tensor:
    """Compute memberships (5, D, H, W) in 0..1: gas, fat, soft tissue and bone inside the body, and the body itself.

    Args:
        hu: (D, H, W) Hounsfield units.
        body: (D, H, W), share of each voxel inside the body, 0..1.
    """
    channels = [
        torch.minimum((hu - a) / (b - a), (d - hu) / (d - c)).clamp(0, 1) * body
        for a, b, c, d in TISSUE_RANGES_HU.values()
    ]
    return torch.stack([*channels, body])
