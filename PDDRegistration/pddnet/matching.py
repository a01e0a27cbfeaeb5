"""One discrete matching step: the features of two scans on one lattice -> a distribution of displacements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .correlation import correlate
from .grid import Grid
from .inference import DisplacementDistribution, min_convolution, regularise
from .lattice import interpolate, positions
from .work import ALONE, Work

if TYPE_CHECKING:
    from torch import Tensor

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
    sharpness: float,
    weights: tuple[float, float] = (1.0, 1.0),
    work: Work = ALONE,
) -> DisplacementDistribution:
    """The distribution of displacements at the nodes of `control`.

    Where the moving scan shows nothing the cost is neutral: the mean over what it does show. A control point that
    sees nothing in either scan has no preference and follows its neighbours.

    Args:
        fixed, moving: on lattices along the same axes; the moving one reaches beyond the fixed one.
        steps: (L) displacements in mm, the same along every axis.
        sharpness: factor on the costs before the softmax (the product of the paper's alphas).
    """
    import torch

    device = fixed.features.device
    where = positions(control, moving.lattice, device)
    at_fixed = positions(control, fixed.lattice, device)
    offsets = tuple(steps / float(s) for s in moving.lattice.spacing[::-1])
    cost = correlate(interpolate(fixed.features, at_fixed), moving.features, where, offsets, work)
    seen = displaced(moving.weight > 0.5, where, offsets)
    total = seen.flatten(2, 4).sum(2).clamp(min=1)
    share = total / steps.numel() ** 3
    mean = (cost * seen).flatten(2, 4).sum(2) / total
    counts = interpolate(fixed.weight[None], at_fixed)[0].permute(1, 2, 0)  # (nH, nW, nD)
    counts = counts * ((share - SEEN[0]) / (SEEN[1] - SEEN[0])).clamp(0, 1)
    cost = cost.sub_(mean[:, :, None, None, None]).mul_(seen)
    if not bool(seen.all()):
        # min-convolution lowers what is seen: neutral is the mean of what it becomes, or all would be drawn into view
        lowered = min_convolution(cost, work).mul_(seen).flatten(2, 4).sum(2) / total
        cost = torch.where(seen, cost, lowered[:, :, None, None, None])
    cost = cost.mul_(counts[:, :, None, None, None])
    cost = regularise(cost.mul_(sharpness), weights, work)
    return DisplacementDistribution(cost, (steps, steps, steps))


def displaced(mask: Tensor, points: tuple[Tensor, ...], offsets: tuple[Tensor, ...]) -> Tensor:
    """The mask (D, H, W) at the voxel nearest to every displaced control point; False outside. Cost tensor's layout."""
    shape = [(len(p), len(o)) for p, o in zip(points, offsets, strict=True)]
    for dim, (p, o) in enumerate(zip(points, offsets, strict=True)):
        index = (p[:, None] + o[None, :]).round().long().flatten()
        inside = (index >= 0) & (index < mask.shape[dim])
        mask = mask.index_select(dim, index.clamp(0, mask.shape[dim] - 1))
        mask = mask & inside.view([-1 if d == dim else 1 for d in range(3)])
    (n_d, l_d), (n_h, l_h), (n_w, l_w) = shape
    return mask.view(n_d, l_d, n_h, l_h, n_w, l_w).permute(2, 4, 1, 3, 5, 0).contiguous()
