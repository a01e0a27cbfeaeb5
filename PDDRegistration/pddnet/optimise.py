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
    import torch
    import torch.nn.functional as functional

    cost = distribution.cost
    n_h, n_w, *reach, n_d = cost.shape
    volumes = cost.permute(5, 0, 1, 2, 3, 4).reshape(n_d * n_h * n_w, 1, *reach)
    extent = torch.stack([o[-1].clamp(min=1e-6) for o in distribution.offsets]).view(3, 1, 1, 1)
    field = field.clone().requires_grad_(True)
    adam = Adam(field)
    for _ in range(iterations):
        work.tick()
        unit = (field / extent).flip(0).flatten(1).T.reshape(-1, 1, 1, 1, 3)
        data = functional.grid_sample(volumes, unit, align_corners=True, padding_mode="border").mean()
        bending = sum(field.diff(dim=dim).square().sum() for dim in (1, 2, 3)) / (n_d * n_h * n_w)
        (data + smoothness * bending).backward()
        adam.step(RATE)
    return field.detach()
