"""The instance optimisation on costs whose optimum is known."""

from __future__ import annotations

import pytest
import torch

from pddnet.matching.inference import DisplacementDistribution
from pddnet.matching.instance_optimisation import _cost_gradient, diffusion_gradient, optimise

STEPS = torch.linspace(-20, 20, 11)
BEST = torch.tensor([7.0, -9.0, 4.0])  # mm along D, H, W


def _valleys(points: tuple[int, int, int], weight: float = 1.0) -> DisplacementDistribution:
    """The same quadratic cost around BEST at every control point: nD, nH, nW points."""
    d, h, w = torch.meshgrid(STEPS, STEPS, STEPS, indexing="ij")
    cost = weight * sum((x - b).square() for x, b in zip((d, h, w), BEST, strict=True)) / 100
    n_d, n_h, n_w = points
    return DisplacementDistribution(cost[None, None, ..., None].repeat(n_h, n_w, 1, 1, 1, n_d), (STEPS,) * 3)


def test_it_walks_to_the_least_cost_without_a_pull_at_the_border() -> None:
    field = optimise(torch.zeros(3, 3, 4, 5), _valleys((3, 4, 5)), smoothness=0.05, iterations=60)
    assert (field - BEST.view(3, 1, 1, 1)).abs().max() < 1.5  # the valley is linear between the steps of 4 mm
    assert field.std(dim=(1, 2, 3)).max() < 0.2


def test_smoothness_holds_a_lonely_point_back() -> None:
    costs = _valleys((3, 3, 3)).cost
    lonely = torch.zeros_like(costs)
    lonely[1, 1, ..., 1] = costs[1, 1, ..., 1]
    moved = [
        optimise(torch.zeros(3, 3, 3, 3), DisplacementDistribution(lonely, (STEPS,) * 3), smoothness=s, iterations=60)[
            :, 1, 1, 1
        ].norm()
        for s in (0.0, 0.3, 30.0)
    ]
    assert moved[0] == pytest.approx(float(BEST.norm()), abs=1.5)
    assert moved[0] > moved[1] + 5
    assert moved[1] > 1.5 * moved[2]


def test_the_start_is_left_alone() -> None:
    start = torch.ones(3, 2, 2, 2)
    optimise(start, _valleys((2, 2, 2)), smoothness=0.1, iterations=3)
    assert torch.equal(start, torch.ones(3, 2, 2, 2))


def _cost_at(field: torch.Tensor, distribution: DisplacementDistribution) -> torch.Tensor:
    """(nD, nH, nW) costs at displacements, by grid_sample."""
    n_h, n_w, *reach, n_d = distribution.cost.shape
    volumes = distribution.cost.permute(5, 0, 1, 2, 3, 4).reshape(-1, 1, *reach)
    at = torch.stack([u / o[-1] for u, o in zip(field, distribution.offsets, strict=True)][::-1], -1)
    sampled = torch.nn.functional.grid_sample(
        volumes, at.view(-1, 1, 1, 1, 3), padding_mode="border", align_corners=True
    )
    return sampled.view(n_d, n_h, n_w)


def test_the_cost_gradients_are_those_of_the_interpolated_costs_and_of_the_penalty() -> None:
    random = torch.Generator().manual_seed(7)
    offsets = tuple(torch.linspace(-reach, reach, n) for reach, n in ((20.0, 11), (9.0, 7), (16.0, 5)))
    cost = torch.randn(3, 4, 11, 7, 5, 5, generator=random)
    field = 9.0 * torch.randn(3, 5, 3, 4, generator=random)  # some beyond the reach of 9 mm
    assert 0.1 < (field[1].abs() > 9).float().mean() < 0.6
    moved = field.clone().requires_grad_(True)
    _cost_at(moved, DisplacementDistribution(cost, offsets)).sum().backward()
    assert torch.allclose(_cost_gradient(field, DisplacementDistribution(cost, offsets)), moved.grad, atol=1e-5)
    moved.grad = None
    (sum(moved.diff(dim=dim).square().sum() for dim in (1, 2, 3)) / field[0].numel()).backward()
    assert torch.allclose(diffusion_gradient(field), moved.grad, atol=1e-6)
