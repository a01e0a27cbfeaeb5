"""Instance optimisation: the control-grid field against its own displacement distribution (paper 2019, section 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tensor.adam import Adam
from ..tensor.execution import ALONE, Work
from .inference import DisplacementDistribution

RATE = 1.0  # mm


def optimise(
    field: Tensor,
    distribution: DisplacementDistribution,
    *,
    smoothness: float,
    iterations: int,
    work: Work = ALONE,
) -> Tensor:
    """Adam on the mean cost at the current displacements plus the diffusion penalty.

    Args:
        field: (3, nD, nH, nW) displacements in mm along the array axes, where to start.
        distribution: its regularised costs are looked up trilinearly; the border value beyond the reach.
        smoothness: weight of the mean squared difference of neighbouring control points, in mm^2.

    Returns:
        (3, nD, nH, nW) in mm. Differences are taken inside the grid only, so the border is not pulled to zero.
    """
    field = field.clone()
    adam = Adam(field)
    for _ in range(iterations):
        work.tick()
        field.grad = _slope(field, distribution) / field[0].numel() + smoothness * diffusion_gradient(field)
        adam.step(RATE)
    return field


def diffusion_gradient(u: Tensor) -> Tensor:
    """The slope of the diffusion penalty, the mean squared difference of neighbours, at each of u (3, D, H, W)."""

    slope = torch.zeros_like(u)
    for dim in (1, 2, 3):
        n, step = u.shape[dim] - 1, u.diff(dim=dim).mul_(2 / u[0].numel())
        slope.narrow(dim, 0, n).sub_(step)
        slope.narrow(dim, 1, n).add_(step)
    return slope


def _slope(field: Tensor, distribution: DisplacementDistribution) -> Tensor:
    """(3, nD, nH, nW) per mm: how the costs change with the current displacements; none beyond the reach.

    Eight values per control point, read from where they lie: grid_sample would need them all in another order. Written
    out, because autograd takes longer.
    """

    cost = distribution.cost.detach()
    n_h, n_w, *_, n_d = cost.shape
    stride = dict(zip("hwDHWd", cost.stride(), strict=True))
    nodes = (torch.arange(n, device=field.device) * stride[s] for n, s in zip((n_d, n_h, n_w), "dhw", strict=True))
    d, h, w = torch.meshgrid(*nodes, indexing="ij")
    base, weights, per_mm = (d + h + w)[None], [], []
    for u, offsets, axis in zip(field, distribution.offsets, "DHW", strict=True):
        last = len(offsets) - 1
        steps = last / float(offsets[-1] - offsets[0])
        place = (u - offsets[0]) * steps
        low = place.floor().clamp(0, last - 1)
        weights.append((place - low).clamp(0, 1))
        per_mm.append(steps * ((place >= 0) & (place <= last)))
        step = low.long() * stride[axis]
        base = torch.cat([base + step, base + step + stride[axis]])  # the last axis changes slowest
    values, slopes = cost.view(-1).take(base), []
    for weight in reversed(weights):
        low, high = values.chunk(2)
        slopes = [torch.lerp(*slope.chunk(2), weight) for slope in slopes] + [high - low]
        values = torch.lerp(low, high, weight)
    return torch.cat(slopes[::-1]) * torch.stack(per_mm)
