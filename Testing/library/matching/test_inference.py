"""The fast min-convolution, mean field and moments against the published ones (reference.py): 3-D pooling, softmax."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers import reference
from pddnet.matching.inference import DisplacementDistribution, mean_field, min_convolution, regularise

TOLERANCE = 1e-4
ROUNDING = 1e-6  # of float32 sums: a BLAS adds up matrices of other sizes in another order, as the CPU suits it
# displacements (LD, LH, LW), control points (nD, nH, nW)
SIZES = [
    ((1, 1, 1), (2, 3, 1)),
    ((2, 1, 3), (3, 2, 5)),
    ((3, 3, 3), (1, 1, 1)),
    ((5, 5, 5), (4, 3, 2)),
    ((5, 3, 7), (1, 7, 3)),
    ((15, 15, 15), (3, 5, 2)),
]


@pytest.fixture(params=SIZES, ids=str)
def cost(request: pytest.FixtureRequest) -> Tensor:
    """Random costs in the library's layout."""
    steps, (n_d, n_h, n_w) = request.param
    generator = torch.Generator().manual_seed(sum(steps) + n_h)
    return 3 * torch.rand(n_h, n_w, *steps, n_d, generator=generator) - 1


def _control(cost: Tensor) -> tuple[int, int, int]:
    return cost.shape[5], cost.shape[0], cost.shape[1]


def _published(name: str, cost: Tensor) -> Tensor:
    """One of the published operations, from and to the library's layout."""
    control = _control(cost)
    operation = {
        "min_convolution": reference.min_convolution,
        "mean_field": lambda x: reference.mean_field(x, control),
        "regularise": lambda x: reference.regularise(x, control, (0.7, 1.6)),
    }[name]
    return reference.as_library(operation(reference.from_library(cost)), control)


OPERATIONS = {
    "min_convolution": min_convolution,
    "mean_field": mean_field,
    "regularise": lambda cost: regularise(cost, (0.7, 1.6)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_is_the_published_operation(cost: Tensor, name: str) -> None:
    before = cost.clone()
    expected, result = _published(name, cost), OPERATIONS[name](cost)
    assert result.shape == cost.shape
    assert (result - expected).abs().max() < TOLERANCE * expected.abs().max()
    assert torch.equal(cost, before)  # the argument is left alone


@pytest.mark.parametrize("cached", [1, 1000, 1 << 30])
def test_the_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch, cached: int) -> None:
    cost = torch.rand(5, 3, 3, 5, 3, 4, generator=torch.Generator().manual_seed(1))
    expected = {name: function(cost) for name, function in OPERATIONS.items()}
    mean, spread = _distribution(cost).moments()
    monkeypatch.setattr("pddnet.tensor.execution.CACHED", cached)
    for name, function in OPERATIONS.items():
        assert torch.allclose(function(cost), expected[name], rtol=0, atol=ROUNDING), name
    again = _distribution(cost).moments()
    assert torch.allclose(again[0], mean, atol=1e-4)
    assert torch.allclose(again[1], spread, atol=1e-3)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_the_published_ones(cost: Tensor, name: str) -> None:
    upstream = torch.rand(cost.shape, generator=torch.Generator().manual_seed(2))
    gradients = []
    for function in (OPERATIONS[name], lambda x: _published(name, x)):
        x = cost.clone().requires_grad_()
        gradients.append(torch.autograd.grad((function(x) * upstream).sum(), x)[0])
    assert (gradients[0] - gradients[1]).abs().max() < TOLERANCE * gradients[1].abs().max()


def _distribution(cost: Tensor) -> DisplacementDistribution:
    """On displacements that differ between the axes and are not symmetric; mm."""
    ranges = ((-28.0, 28.0), (-12.0, 20.0), (-30.0, 6.0))
    offsets = (torch.linspace(a, b, n) for (a, b), n in zip(ranges, cost.shape[2:5], strict=True))
    return DisplacementDistribution(cost, tuple(offsets))


def _published_moments(cost: Tensor) -> tuple[Tensor, Tensor]:
    """In the library's shapes, computed in double precision."""
    distribution = _distribution(cost)
    offsets = tuple(o.double() for o in distribution.offsets)
    mean, spread = reference.moments(reference.from_library(cost).double(), offsets)
    return mean.T.reshape(3, *_control(cost)), spread.view(_control(cost))


@pytest.mark.parametrize("inverse_temperature", [0.0, 1.0, 30.0, 3000.0])
def test_moments_are_those_of_the_softmax(cost: Tensor, inverse_temperature: float) -> None:
    mean, spread = _distribution(inverse_temperature * cost - 50).moments()
    expected = _published_moments(inverse_temperature * cost - 50)
    assert mean.shape == (3, *_control(cost))
    assert (mean - expected[0]).abs().max() < 3e-3  # mm, of a range of +-28
    assert (spread - expected[1]).abs().max() < 0.05  # mm


def test_gradients_of_the_moments_are_those_of_the_softmax(cost: Tensor) -> None:
    weight = torch.rand(3, *_control(cost), generator=torch.Generator().manual_seed(2))
    gradients = []
    for function in (lambda x: _distribution(x).moments(), _published_moments):
        x = cost.clone().requires_grad_()
        mean, spread = function(x)
        loss = (mean * weight).sum()
        if cost[0, 0].numel() > cost.shape[5]:  # of a single displacement the spread is 0 and has no slope
            loss = loss + (spread * weight[0]).sum()
        gradients.append(torch.autograd.grad(loss, x)[0])
    assert torch.isfinite(gradients[0]).all()
    assert (gradients[0] - gradients[1]).abs().max() <= 1e-3 * gradients[1].abs().max()


def test_a_spread_of_zero_has_a_finite_gradient() -> None:
    cost = torch.zeros(2, 2, 3, 3, 3, 2)
    cost[:, :, 1, 1, 1] = -1000  # sure of one displacement
    cost.requires_grad_()
    mean, spread = _distribution(cost).moments()
    (gradient,) = torch.autograd.grad(mean.sum() + spread.sum(), cost)
    assert torch.isfinite(gradient).all()


def test_a_sharp_minimum_is_found_where_it_is() -> None:
    cost = torch.ones(3, 4, 5, 5, 5, 2)
    cost[:, :, 4, 1, 3] = -40.0
    mean, spread = _distribution(cost).moments()
    expected = torch.tensor([28.0, -4.0, -3.0]).view(3, 1, 1, 1).expand(3, 2, 3, 4)
    assert torch.allclose(mean, expected, atol=1e-3)
    assert spread.max() < 0.05
