"""The features by which scans are aligned and their similarity is judged, on voxels of several millimetres."""

from __future__ import annotations

import torch
from torch import Tensor

from .mind import mind
from .tissue import tissue

WEIGHTS = (0.3, 1.0, 1.0, 4.0, 0.5)  # of gas, fat, soft tissue, bone and body; gas moves most between two scans


def coarse_features(values: Tensor, *, hu: bool) -> Tensor:
    """Features (C, D, H, W) of a scan's values (3, D, H, W): weighted tissue memberships of CT, else MIND and the body.

    Args:
        values: intensity, body and view, as in `Scan.values`.
        hu: whether the intensities are Hounsfield units.
    """
    if not hu:
        return torch.cat([mind(values[0]), values[1:2]])
    weights = values.new_tensor(WEIGHTS).view(-1, *[1] * (values.dim() - 1))
    return tissue(values[0], values[1]) * weights
