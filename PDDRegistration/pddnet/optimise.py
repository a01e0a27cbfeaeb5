"""Instance optimisation: the control-grid field against its own displacement distribution (paper 2019, section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .adam import Adam
from .inference import DisplacementDistribution
from .work import ALONE, Work

if TYPE_CHECKING:
    from torch import Tensor

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
    field = field.clone().requires_grad_(True)
    adam = Adam(field)
    for _ in range(iterations):
        work.tick()
        data = _costs(field, distribution).mean()
        bending = sum(field.diff(dim=dim).square().sum() for dim in (1, 2, 3)) / field[0].numel()
        (data + smoothness * bending).backward()
        adam.step(RATE)
    return field.detach()


def _costs(field: Tensor, distribution: DisplacementDistribution) -> Tensor:
    """(nD, nH, nW) costs at the current displacements, differentiable in the field only.

    Eight values per control point, read from where they lie: grid_sample would need them all in another order.
    """
    import torch

    cost = distribution.cost.detach()
    n_h, n_w, *_, n_d = cost.shape
    stride = dict(zip("hwDHWd", cost.stride(), strict=True))
    nodes = (torch.arange(n, device=field.device) * stride[s] for n, s in zip((n_d, n_h, n_w), "dhw", strict=True))
    d, h, w = torch.meshgrid(*nodes, indexing="ij")
    base, weights = (d + h + w)[None], []
    for u, offsets, axis in zip(field, distribution.offsets, "DHW", strict=True):
        last = len(offsets) - 1
        place = ((u - offsets[0]) * (last / float(offsets[-1] - offsets[0]))).clamp(0, last)
        low = place.detach().floor().clamp(max=last - 1)
        weights.append(place - low)
        step = low.long() * stride[axis]
        base = torch.cat([base + step, base + step + stride[axis]])  # the last axis changes slowest
    values = cost.view(-1).take(base)
    for weight in reversed(weights):
        low, high = values.chunk(2)
        values = low + (high - low) * weight
    return values[0]
