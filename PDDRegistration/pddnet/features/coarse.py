"""Compute the coarse features that alignment and similarity compare, on voxels of several millimetres."""

from __future__ import annotations

import torch
from torch import Tensor

from .mind import mind
from .tissue import tissue

TISSUE_WEIGHTS = (0.3, 1.0, 1.0, 4.0, 0.5)  # gas (moves most between two scans), fat, soft tissue, bone, body


def weighted_tissue(values: Tensor) -> Tensor:
    """Compute the tissue memberships (5, ...) of a CT, times TISSUE_WEIGHTS; values (3, ...) as in `Scan.values`."""
    weights = values.new_tensor(TISSUE_WEIGHTS).view(-1, *[1] * (values.dim() - 1))
    return tissue(values[0], values[1]) * weights


def mind_and_body(values: Tensor) -> Tensor:
    """Compute MIND and the body (13, D, H, W) of a scan of any modality; values (3, D, H, W) as in `Scan.values`."""
    return torch.cat([mind(values[0]), values[1:2]])
