"""How well descriptors tell the right place in another scan from wrong ones, as a registration compares them."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from .places import SHARPNESS


def description_loss(found: Tensor, body: Tensor, matches: Tensor, apart: float, wrong: Tensor) -> Tensor:
    """Mean cross-entropy of the right place among wrong ones, each scan looked for in the other (InfoNCE; van den Oord
    et al. 2018, arXiv:1807.03748), by the squared differences of descriptors.

    Wrong are the places `wrong` voxels from the right one, within the body, and the right places of all other matches
    but those within `apart`.

    Args:
        found: (2, E, D, H, W) descriptors of two scans; body: (2, D, H, W), nonzero within the body.
        matches: (2, N, 3) int64 voxels that show the same places, N at least 1; apart: voxels; wrong: (K, 3) int64.
    """
    rows = found.float().flatten(2).transpose(1, 2)
    size = torch.tensor(body.shape[1:], device=body.device)
    losses = []
    for here, there in ((0, 1), (1, 0)):
        mine, right = rows[here][_flat(matches[here], size)], rows[there][_flat(matches[there], size)]
        cost = [(mine - right).square().sum(1, keepdim=True)]
        aside = matches[there][:, None] + wrong
        inside = ((aside >= 0) & (aside < size)).all(2)
        at = _flat(aside.clamp(min=0).minimum(size - 1), size)
        shown = inside & (body[there].flatten()[at] > 0)
        near = rows[there].index_select(0, at.flatten()).unflatten(0, at.shape)
        cost.append((mine[:, None] - near).square().sum(2).masked_fill(~shown, torch.inf))
        gaps = torch.cdist(matches[there].float(), matches[there].float())
        cost.append(torch.cdist(mine, right).square().masked_fill(gaps < apart, torch.inf))
        target = torch.zeros(len(mine), dtype=torch.long, device=mine.device)
        losses.append(functional.cross_entropy(-SHARPNESS * torch.cat(cost, 1), target))
    return (losses[0] + losses[1]) / 2


def _flat(at: Tensor, size: Tensor) -> Tensor:
    """Places (..., 3) in the flat scan."""
    return (at[..., 0] * size[1] + at[..., 1]) * size[2] + at[..., 2]
