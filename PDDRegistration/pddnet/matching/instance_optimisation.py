"""Optimise the field of one stage by Adam on its regularised costs (instance optimisation).

Heinrich, MICCAI 2019 (doi:10.1007/978-3-030-32226-7_6), section 2, where it follows the network. Not `refinement.py`,
which descends on the feature difference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..tensor.adam import Adam
from ..tensor.execution import ALONE, Work
from .inference import DisplacementDistribution

STEP_MM = 1.0  # learning rate of Adam


def optimise(
    field: Tensor,
    distribution: DisplacementDistribution,
    *,
    smoothness: float,
    iterations: int,
    work: Work = ALONE,
) -> Tensor:
    """Minimise, by Adam, the mean cost at the current displacements plus the diffusion penalty.

    Args:
        field: (3, nD, nH, nW) displacements to start from, in mm along the array axes.
        distribution: its regularised costs are interpolated linearly, with the border value beyond the capture range.
        smoothness: weight of the diffusion penalty: the mean squared difference, in mm^2, of neighbouring points.

    Returns:
        the optimised field, (3, nD, nH, nW) in mm. Differences are taken inside the grid only, so the border is not
            pulled to zero.
    """
    field = field.clone()
    adam = Adam(field)
    for _ in range(iterations):
        work.tick()
        cost_gradient = _cost_gradient(field, distribution)
        field.grad = cost_gradient / field[0].numel() + smoothness * diffusion_gradient(field)
        adam.step(STEP_MM)
    return field


def diffusion_gradient(u: Tensor) -> Tensor:
    """Differentiate the diffusion penalty, the mean squared difference of neighbours, by u: both (3, D, H, W)."""
    slope = torch.zeros_like(u)
    for dim in (1, 2, 3):
        n, step = u.shape[dim] - 1, u.diff(dim=dim).mul_(2 / u[0].numel())
        slope.narrow(dim, 0, n).sub_(step)
        slope.narrow(dim, 1, n).add_(step)
    return slope


def _cost_gradient(field: Tensor, distribution: DisplacementDistribution) -> Tensor:
    """Differentiate the costs by the displacements: (3, nD, nH, nW) per mm; zero beyond the capture range.

    Reads eight values per control point in place: grid_sample would need the whole cost tensor in another memory order.
    Derived by hand, because autograd takes longer.
    """
    cost = distribution.cost.detach()
    n_h, n_w, *_, n_d = cost.shape
    stride = dict(zip("hwDHWd", cost.stride(), strict=True))
    nodes = (torch.arange(n, device=field.device) * stride[s] for n, s in zip((n_d, n_h, n_w), "dhw", strict=True))
    d, h, w = torch.meshgrid(*nodes, indexing="ij")
    corners = (d + h + w)[None]  # (2^n, nD, nH, nW) memory offsets after n axes; the last axis changes slowest
    weights: list[Tensor] = []
    per_mm: list[Tensor] = []
    for u, offsets, axis in zip(field, distribution.offsets, "DHW", strict=True):
        last = len(offsets) - 1
        steps_per_mm = last / float(offsets[-1] - offsets[0]) if last else 0.0  # one displacement: no slope along it
        index = (u - offsets[0]) * steps_per_mm
        low = index.floor().clamp(0, max(last - 1, 0))
        weights.append((index - low).clamp(0, 1))
        per_mm.append(steps_per_mm * ((index >= 0) & (index <= last)))
        step = low.long() * stride[axis]
        corners = torch.cat([corners + step, corners + step + min(last, 1) * stride[axis]])
    values = cost.view(-1).take(corners)
    slopes: list[Tensor] = []
    for weight in reversed(weights):
        low, high = values.chunk(2)
        slopes = [_interpolated(slope, weight) for slope in slopes] + [high - low]
        values = torch.lerp(low, high, weight)
    return torch.cat(slopes[::-1]) * torch.stack(per_mm)


def _interpolated(pair: Tensor, weight: Tensor) -> Tensor:
    """Interpolate linearly between the two halves of the first axis."""
    low, high = pair.chunk(2)
    return torch.lerp(low, high, weight)
