"""Match the features of two scans over discrete displacements: cost volume, inference, displacement distribution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.grid import Grid
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import HALF, interpolate, positions
from .cost_volume import cost_volume
from .inference import DisplacementDistribution, min_convolution, regularise

# Share of a control point's displacements that end within the moving view: up to the first the control point has no
# weight, from the second on its full weight, in between a linear ramp.
LEAST_IN_VIEW, FULLY_IN_VIEW = 0.3, 0.9


@dataclass(frozen=True)
class FeatureMap:
    """Features (C, D, H, W) of a scan on a lattice, and the weight (D, H, W) of each voxel; 0 outside the view."""

    features: Tensor
    weight: Tensor
    lattice: Grid


def match(
    fixed: FeatureMap,
    moving: FeatureMap,
    control: Grid,
    steps: Tensor,
    inverse_temperature: float | Tensor,
    weights: tuple[float, float | Tensor] | None = (1.0, 1.0),
    work: Work = ALONE,
) -> DisplacementDistribution:
    """Estimate the distribution of displacements at the nodes of `control`.

    Along an axis on which the moving lattice is one voxel deep, as the first axis of a 2-D image, the only displacement
    is 0: matching in a plane is this matching with LD = 1.

    A displacement that ends outside the moving view gets a neutral cost: the mean over those that end within it. A
    control point outside both views has equal costs and follows its neighbours.

    Args:
        fixed, moving: on lattices along the same axes; the moving one extends beyond the fixed one.
        steps: (L) displacements in mm, the same along every axis that is more than a voxel deep.
        inverse_temperature: factor on the costs before the softmax (a product of the alphas of Heinrich 2019).
        weights: see `regularise`; None leaves out min-convolution and mean field.
    """
    device = fixed.features.device
    in_moving = positions(control, moving.lattice, device)
    in_fixed = positions(control, fixed.lattice, device)
    along = displacements_along(steps, moving.lattice)
    offsets = tuple(mm / float(s) for mm, s in zip(along, moving.lattice.spacing[::-1], strict=True))
    point_weights = interpolate(fixed.weight[None], in_fixed)[0].permute(1, 2, 0)  # (nH, nW, nD)
    columns = (point_weights > 0).any(-1)
    query = interpolate(fixed.features, in_fixed)
    cost = cost_volume(query, moving.features, in_moving, offsets, work, columns=columns)
    in_view = DisplacedMask(moving.weight > HALF, in_moving, offsets)
    cost = centred(cost, in_view, point_weights * inverse_temperature, work, lowered=weights is not None)
    if weights is not None:
        cost = regularise(cost, weights, work)
    return DisplacementDistribution(cost, along)


def displacements_along(steps: Tensor, lattice: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Return the displacements along D, H, W: `steps`, or 0 alone along an axis on which the lattice is one voxel."""
    d, h, w = (steps if n > 1 else steps.new_zeros(1) for n in lattice.shape)
    return d, h, w


def centred(
    cost: Tensor, in_view: DisplacedMask, point_weights: Tensor, work: Work = ALONE, *, lowered: bool = True
) -> Tensor:
    """Centre the costs of every control point, and weight them.

    Subtract each control point's mean cost, set displacements outside the moving view to a neutral cost, and scale by
    the control point's weight.

    Computed piece by piece, because one pass over the whole tensor in memory takes as long as all these steps in a
    core's cache. In place where no gradient is needed.

    Args:
        cost: (nH, nW, LD, LH, LW, nD).
        in_view: whether a displacement ends within the moving view.
        point_weights: (nH, nW, nD) factors on the costs: the weight of each control point in the fixed scan times the
            inverse temperature. The weight for the share of displacements in view is multiplied in here.
        lowered: whether a min-convolution follows; the neutral cost is then the mean of what it yields.
    """
    n_h, n_w = cost.shape[:2]
    chunk = max(1, work.at_once(cost.device) // max(cost[0, 0].numel(), 1))
    parts = [(h, slice(w, min(w + chunk, n_w))) for h in range(n_h) for w in range(0, n_w, chunk)]
    if torch.is_grad_enabled() and cost.requires_grad:
        rows = [_centred(cost[at], in_view.part(*at), point_weights[at], lowered) for at in parts]
        return torch.cat(rows).view(cost.shape)

    wanted = (point_weights > 0).any(-1).tolist()

    def overwrite(h: int, columns: slice) -> None:
        if not any(wanted[h][columns]):
            cost[h, columns] = 0
            return
        cost[h, columns] = _centred(cost[h, columns], in_view.part(h, columns), point_weights[h, columns], lowered)

    work.each(overwrite, parts, cost.device)
    return cost


def _centred(cost: Tensor, in_view: Tensor, point_weights: Tensor, lowered: bool) -> Tensor:
    """Compute `centred` for g columns of control points: cost, in_view (g, LD, LH, LW, nD), point_weights (g, nD)."""
    displacements = (1, 2, 3)
    if bool(in_view.all()):
        return (cost - cost.mean(displacements, keepdim=True)).mul_(point_weights[:, None, None, None])
    in_view = in_view.to(cost.dtype, memory_format=torch.contiguous_format)
    total = in_view.sum(displacements, keepdim=True)
    share = total / in_view[0, ..., 0].numel()
    total = total.clamp(min=1)
    cost = (cost - (cost * in_view).sum(displacements, keepdim=True) / total).mul_(in_view)
    # The min-convolution lowers the costs in view. The neutral cost is their mean after it: the mean before it would be
    # higher, and would draw all displacements into the view.
    lower = min_convolution(cost[None])[0] if lowered else cost
    neutral = (lower * in_view).sum(displacements, keepdim=True) / total
    ramp = ((share - LEAST_IN_VIEW) / (FULLY_IN_VIEW - LEAST_IN_VIEW)).clamp(0, 1)
    weight = point_weights[:, None, None, None] * ramp
    return cost.add((1 - in_view).mul_(neutral)).mul_(weight)  # `add` copies: the gradient needs `cost` unchanged


class DisplacedMask:
    """Sample a mask (D, H, W), by nearest neighbour, at every control point plus displacement; False outside it."""

    def __init__(self, mask: Tensor, points: tuple[Tensor, ...], offsets: tuple[Tensor, ...]) -> None:
        self._index = []
        for p, o, n in zip(points, offsets, mask.shape, strict=True):
            index = (p[:, None] + o[None, :] + 0.5).floor().long()  # rounds halves up, wherever the lattice begins
            self._index.append(index.clamp(-1, n) + 1)  # the voxels -1 and n are outside
        mask = functional.pad(mask, (1,) * 6)
        along = self._index[0]
        self._mask = mask.index_select(0, along.flatten()).view(*along.shape, *mask.shape[1:])  # (nD, LD, H, W)

    def part(self, h: int, columns: slice) -> Tensor:
        """Return the samples of g control points of row h, (g, LD, LH, LW, nD) bool, in the cost tensor's layout."""
        across, along = self._index[1][h], self._index[2][columns]
        mask = self._mask.index_select(2, across).index_select(3, along.flatten())
        return mask.unflatten(3, tuple(along.shape)).permute(3, 1, 2, 4, 0)
