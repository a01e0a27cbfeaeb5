"""One discrete matching step: the features of two scans on one lattice -> a distribution of displacements."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.grid import Grid
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import HALF, interpolate, positions
from .correlation import correlate
from .inference import DisplacementDistribution, min_convolution, regularise

# Share of the displacements that lie within the moving view: below the first a point counts for nothing, above the
# second fully.
SEEN = (0.3, 0.9)


@dataclass(frozen=True)
class FeatureMap:
    """Features (C, D, H, W) of a scan and how much each voxel counts (D, H, W; 0 outside the view), on a lattice."""

    features: Tensor
    weight: Tensor
    lattice: Grid


def match(
    fixed: FeatureMap,
    moving: FeatureMap,
    control: Grid,
    steps: Tensor,
    inverse_temperature: float,
    weights: tuple[float, float] | None = (1.0, 1.0),
    work: Work = ALONE,
) -> DisplacementDistribution:
    """The distribution of displacements at the nodes of `control`.

    Where the moving scan shows nothing the cost is neutral: the mean over what it does show. A control point that
    sees nothing in either scan has no preference and follows its neighbours.

    Args:
        fixed, moving: on lattices along the same axes; the moving one reaches beyond the fixed one.
        steps: (L) displacements in mm, the same along every axis.
        inverse_temperature: factor on the costs before the softmax (the product of the paper's alphas).
        weights: see `regularise`; None leaves the costs as they are.
    """
    device = fixed.features.device
    where = positions(control, moving.lattice, device)
    at_fixed = positions(control, fixed.lattice, device)
    offsets = tuple(steps / float(s) for s in moving.lattice.spacing[::-1])
    counts = interpolate(fixed.weight[None], at_fixed)[0].permute(1, 2, 0)  # (nH, nW, nD)
    columns = (counts > 0).any(-1)
    cost = correlate(interpolate(fixed.features, at_fixed), moving.features, where, offsets, work, columns=columns)
    shown = Displaced(moving.weight > HALF, where, offsets)
    cost = centred(cost, shown, counts * inverse_temperature, work, lowered=weights is not None)
    if weights is not None:
        cost = regularise(cost, weights, work)
    return DisplacementDistribution(cost, (steps, steps, steps))


def centred(cost: Tensor, shown: Displaced, counts: Tensor, work: Work = ALONE, *, lowered: bool = True) -> Tensor:
    """The cost less its mean, neutral where the moving scan shows nothing, times how much every control point counts.

    Piece by piece, because a pass over the whole tensor costs as much as all of them in a core's cache. In place where
    no gradient is needed.

    Args:
        cost: (nH, nW, LD, LH, LW, nD); counts: (nH, nW, nD), times the share of what is shown (SEEN).
        lowered: whether a min-convolution follows, which lowers all that is seen.
    """

    n_h, n_w = cost.shape[:2]
    chunk = max(1, work.at_once(cost.device) // max(cost[0, 0].numel(), 1))
    parts = [(h, slice(w, min(w + chunk, n_w))) for h in range(n_h) for w in range(0, n_w, chunk)]
    if torch.is_grad_enabled() and cost.requires_grad:
        rows = [_centred(cost[at], shown.part(*at), counts[at], lowered) for at in parts]
        return torch.cat(rows).view(cost.shape)

    wanted = (counts > 0).any(-1).tolist()

    def overwrite(h: int, columns: slice) -> None:
        if not any(wanted[h][columns]):
            cost[h, columns] = 0
            return
        cost[h, columns] = _centred(cost[h, columns], shown.part(h, columns), counts[h, columns], lowered)

    work.each(overwrite, parts, cost.device)
    return cost


def _centred(cost: Tensor, seen: Tensor, counts: Tensor, lowered: bool) -> Tensor:
    """Costs (g, LD, LH, LW, nD) of a few columns of control points; `seen` likewise, counts (g, nD)."""

    area = (1, 2, 3)
    if bool(seen.all()):
        return (cost - cost.mean(area, keepdim=True)).mul_(counts[:, None, None, None])
    seen = seen.to(cost.dtype, memory_format=torch.contiguous_format)
    total = seen.sum(area, keepdim=True)
    share = total / seen[0, ..., 0].numel()
    total = total.clamp(min=1)
    cost = (cost - (cost * seen).sum(area, keepdim=True) / total).mul_(seen)
    # min-convolution lowers what is seen: neutral is the mean of what it becomes, or all would be drawn into view
    becomes = min_convolution(cost[None])[0] if lowered else cost
    neutral = (becomes * seen).sum(area, keepdim=True) / total
    counts = counts[:, None, None, None] * ((share - SEEN[0]) / (SEEN[1] - SEEN[0])).clamp(0, 1)
    return cost.add((1 - seen).mul_(neutral)).mul_(counts)  # a new tensor: the gradient needs what was lowered


class Displaced:
    """A mask (D, H, W) at the voxel nearest to every displaced control point; False outside."""

    def __init__(self, mask: Tensor, points: tuple[Tensor, ...], offsets: tuple[Tensor, ...]) -> None:

        self._index = []
        for p, o, n in zip(points, offsets, mask.shape, strict=True):
            index = (p[:, None] + o[None, :] + 0.5).floor().long()  # halves upwards, wherever the lattice begins
            self._index.append(index.clamp(-1, n) + 1)  # the voxels -1 and n are outside
        mask = functional.pad(mask, (1,) * 6)
        along = self._index[0]
        self._mask = mask.index_select(0, along.flatten()).view(*along.shape, *mask.shape[1:])  # (nD, LD, H, W)

    def part(self, h: int, columns: slice) -> Tensor:
        """(g, LD, LH, LW, nD) bool for some control points of row h, in the cost tensor's layout."""
        across, along = self._index[1][h], self._index[2][columns]
        mask = self._mask.index_select(2, across).index_select(3, along.flatten())
        return mask.unflatten(3, tuple(along.shape)).permute(3, 1, 2, 4, 0)
