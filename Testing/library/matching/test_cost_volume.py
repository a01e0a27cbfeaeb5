"""The fast correlation against the published one (reference.py): grid_sample and squared differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers import reference
from pddnet.matching.cost_volume import cost_volume, taps

TOLERANCE = 1e-4
Case = tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]


def _case(volume: tuple, control: tuple, steps: tuple, *, spacing: tuple, reach: tuple, channels: int = 5) -> Case:
    """Random features; control points a little off centre, `spacing` voxels apart; displacements +-`reach` voxels."""
    generator = torch.Generator().manual_seed(sum(volume) + sum(control))
    moving = torch.rand(channels, *volume, generator=generator)
    fixed = torch.rand(channels, *control, generator=generator)
    points = tuple(
        torch.arange(n) * float(s) + (size - 1 - (n - 1) * s) / 2 + 0.21 * (s % 1 > 0)
        for n, s, size in zip(control, spacing, volume, strict=True)
    )
    offsets = tuple(torch.linspace(-r, r, n) if n > 1 else torch.tensor([r]) for n, r in zip(steps, reach, strict=True))
    return fixed, moving, points, offsets


CASES = {
    "several sizes": _case((13, 17, 11), (4, 5, 3), (5, 3, 7), spacing=(2.7, 3.1, 3.3), reach=(4.3, 2.2, 3.7)),
    "15 displacements": _case((21, 14, 18), (3, 2, 4), (15,) * 3, spacing=(5.5, 4.4, 4.1), reach=(9.1, 7.7, 8.3)),
    "whole voxels": _case((15, 12, 13), (5, 4, 3), (5, 5, 5), spacing=(2, 2, 3), reach=(4, 4, 2), channels=12),
    "half voxels": _case((15, 13, 13), (5, 3, 3), (5, 5, 5), spacing=(2, 3, 3), reach=(3, 5, 1)),
    "far beyond the border": _case((6, 7, 9), (3, 3, 3), (5, 7, 5), spacing=(4.1, 3.3, 6.2), reach=(19, 40.5, 11.2)),
    "one control point": _case((9, 8, 7), (1, 1, 1), (5, 3, 15), spacing=(1.3, 1, 1), reach=(2.6, 3.1, 9.9)),
    "one displacement": _case((9, 8, 7), (4, 3, 2), (1, 1, 1), spacing=(2.2, 2.1, 2.3), reach=(0.6, -1.3, 2.4)),
    "two and one": _case((9, 8, 7), (2, 3, 2), (2, 1, 2), spacing=(2.2, 2.1, 2.3), reach=(1.4, 0.0, 2.4)),
    "a flat volume": _case((1, 6, 2), (2, 3, 2), (3, 3, 3), spacing=(1.2, 2.1, 1.5), reach=(1.4, 2.0, 2.4)),
    "one channel": _case((9, 8, 7), (3, 3, 3), (3, 5, 3), spacing=(2.2, 2.1, 2.3), reach=(2, 3, 4), channels=1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cached", [1, 3000, 1 << 30])
def test_it_is_the_published_correlation(monkeypatch: pytest.MonkeyPatch, name: str, cached: int) -> None:
    monkeypatch.setattr("pddnet.tensor.execution.CACHED", cached)
    fixed, moving, points, offsets = CASES[name]
    control = tuple(fixed.shape[1:])
    expected = reference.as_library(reference.cost_volume(fixed, moving, points, offsets), control)
    cost = cost_volume(fixed, moving, points, offsets)
    assert cost.dtype == torch.float32
    assert cost.shape == (*control[1:], *(len(o) for o in offsets), control[0])
    assert (cost - expected).abs().max() < TOLERANCE * expected.max()
    large = expected > 0.01 * expected.max()
    assert ((cost - expected).abs()[large] / expected[large]).max() < TOLERANCE


@pytest.mark.parametrize(("mean", "noise"), [(100.0, 0.1), (1.0, 0.01), (-30.0, 1.0)])
def test_nearly_identical_features_do_not_cancel(mean: float, noise: float) -> None:
    """|f|^2 - 2 f.m + |m|^2 of features that differ in the third digit: the judge computes in double precision."""
    fixed, moving, points, offsets = CASES["several sizes"]
    offset = mean * torch.tensor([1.0, -1, 2, 0.5, 1]).view(5, 1, 1, 1)
    fixed, moving = offset + noise * fixed, offset + noise * moving
    double = [x.double() for x in (fixed, moving)], *[tuple(x.double() for x in axes) for axes in (points, offsets)]
    expected = reference.as_library(reference.cost_volume(*double[0], *double[1:]), tuple(fixed.shape[1:]))
    cost = cost_volume(fixed, moving, points, offsets)
    # what the features themselves lose by being stored in single precision: half a unit in the last place
    stored = 2 * abs(mean) * 2**-24 / noise
    assert (cost - expected).abs().max() < (TOLERANCE + stored) * expected.max()
    assert cost.min() >= 0


def test_the_true_displacement_costs_nothing() -> None:
    """Which axis and which sign: fixed(x) = moving(x + d) must be free at d = (+1, -2, +3) and nowhere else."""
    moving = torch.rand(4, 16, 18, 20, generator=torch.Generator().manual_seed(3))
    points = torch.tensor([6.0, 8.0]), torch.tensor([7.0, 9.0, 11.0]), torch.tensor([8.0, 10.0])
    steps = torch.arange(-4.0, 5.0)
    fixed = moving[:, 7:10:2, 5:10:2, 11:14:2]
    cost = cost_volume(fixed, moving, points, (steps, steps, steps))
    best = cost.flatten(2, 4).argmin(2)
    assert (best == ((1 + 4) * 9 + (-2 + 4)) * 9 + 3 + 4).all()
    assert cost[:, :, 5, 2, 7].max() < 1e-6
    assert cost.flatten(2, 4).sort(2).values[:, :, 1].min() > 1e-4


@pytest.mark.parametrize("name", ["several sizes", "half voxels", "whole voxels", "far beyond the border"])
def test_gradients_are_the_published_ones(name: str) -> None:
    fixed, moving, points, offsets = CASES[name]
    control = tuple(fixed.shape[1:])
    upstream = torch.rand(*control[1:], *(len(o) for o in offsets), control[0])
    gradients = []
    for function in (cost_volume, lambda *args: reference.as_library(reference.cost_volume(*args), control)):
        inputs = [x.clone().requires_grad_() for x in (fixed, moving)]
        cost = function(*inputs, points, offsets)
        gradients.append(torch.autograd.grad((cost * upstream).sum(), inputs))
    for fast, slow in zip(*gradients, strict=True):
        assert (fast - slow).abs().max() < TOLERANCE * slow.abs().max()


def test_taps_at_the_borders() -> None:
    low, high, weight = taps(torch.tensor([0.0, 3.0]), torch.tensor([-1.5, 0.25, 1.0]), 4)
    assert low.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert high.tolist() == [[1, 1, 2], [2, 3, 3]]
    assert weight.tolist() == [[0, 0.25, 0], [0.5, 1, 1]]  # below 0: the first voxel; above 3: the last


@pytest.mark.parametrize("cached", [1, 3000, 1 << 30])
def test_columns_that_do_not_count_are_left_out(monkeypatch: pytest.MonkeyPatch, cached: int) -> None:
    monkeypatch.setattr("pddnet.tensor.execution.CACHED", cached)
    fixed, moving, points, offsets = CASES["several sizes"]
    columns = torch.rand(fixed.shape[2:], generator=torch.Generator().manual_seed(3)) > 0.6
    assert 0 < columns.sum() < columns.numel()
    whole, part = (
        cost_volume(fixed, moving, points, offsets),
        cost_volume(fixed, moving, points, offsets, columns=columns),
    )
    rounding = 1e-6  # a BLAS may add up in another order
    assert torch.allclose(part[columns], whole[columns], rtol=0, atol=rounding)
    left = part[~columns]
    assert bool(((left == 0) | ((left - whole[~columns]).abs() < rounding)).all())
    if cached == 1:  # one column at a time
        assert not left.any()
    fixed.requires_grad_(True)
    traced = cost_volume(fixed, moving, points, offsets, columns=columns)
    fixed.requires_grad_(False)
    assert torch.allclose(traced.detach(), whole)


def test_however_many_threads_take_part_the_result_is_the_same_to_the_last_bit() -> None:
    case = _case((22, 26, 28), (4, 4, 4), (11,) * 3, spacing=(4.2, 4.4, 4.1), reach=(5, 5, 5), channels=12)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2, 3, 3, 4):
            torch.set_num_threads(threads)
            found.append(cost_volume(*case))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])
