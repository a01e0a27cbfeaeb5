"""Matching and registering without min-convolution and mean field: only what they are worth may be missing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from helpers.geometry import grids
from helpers.trunk import MIDDLE, ct, oblique_grid
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS, Stage
from pddnet.matching import discrete as matching
from pddnet.matching.discrete import FeatureMap, match
from pddnet.pipeline import register

VOXEL = 4.0
STEPS = torch.tensor([-8.0, -4, 0, 4, 8])
SHIFT = (4.0, -8.0, 0.0)  # mm along D, H, W
SMALL = dataclasses.replace(PRESETS["mind"], stages=(Stage(24.0, 24.0, 7, 8.0, 0.005, iterations=5),), refinement=None)


def _maps(seen: int = 99) -> tuple[FeatureMap, FeatureMap, Grid]:
    """Noise that the moving scan shows SHIFT away, in its first `seen` voxels along W; and the control points."""
    direction = grids()["left-handed oblique"].direction

    def lattice(size: int, spacing: float) -> Grid:
        return Grid((size,) * 3, (spacing,) * 3, MIDDLE - direction @ np.full(3, (size - 1) / 2 * spacing), direction)

    features = torch.rand(8, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    fixed = torch.roll(features, (-1, 2, 0), (1, 2, 3))[:, 3:13, 3:13, 3:13].clone()
    weight = torch.ones(16, 16, 16)
    weight[:, :, seen:] = 0
    moving = FeatureMap(features, weight, lattice(16, VOXEL))
    return FeatureMap(fixed, torch.ones(10, 10, 10), lattice(10, VOXEL)), moving, lattice(4, 8.0)


def test_without_weights_the_costs_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving, control = _maps()
    regularised = match(fixed, moving, control, STEPS, 300.0)

    def never(*given: object) -> None:
        raise AssertionError("regularised")

    monkeypatch.setattr(matching, "regularise", never)
    cost = match(fixed, moving, control, STEPS, 300.0, None).cost
    assert not torch.allclose(cost, regularised.cost)
    assert float(cost.mean((2, 3, 4)).abs().max()) < 1e-3  # less their mean, times the inverse_temperature
    best = cost.flatten(2, 4).argmin(2)
    assert (best == (3 * 5 + 0) * 5 + 2).float().mean() > 0.9  # SHIFT, found by every point alone
    with pytest.raises(AssertionError, match="regularised"):
        match(fixed, moving, control, STEPS, 300.0)


def test_what_is_not_seen_costs_the_mean_of_what_is() -> None:
    """With nothing to lower the costs, lowering the neutral one would draw all out of the view."""
    fixed, moving, control = _maps(9)
    cost = match(fixed, moving, control, STEPS, 300.0, None).cost
    # the third column of control points lies at voxel 8.5 along W: three of five displacements end in view
    costs = cost[:, 2].movedim(-1, 1).flatten(0, 1)  # (nH * nD, LD, LH, LW)
    assert float(costs[..., 3:].abs().max()) < 1e-3
    assert float(costs[..., :3].abs().max()) > 1.0
    assert float(costs[..., :3].mean((1, 2, 3)).abs().max()) < 1e-3


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    fixed = ct(oblique_grid((24, 30, 32)), 1)
    grid = dataclasses.replace(fixed.grid, origin=fixed.grid.origin + [6.0, -4.0, 5.0])
    return fixed, Image(ct(fixed.grid, 2).array, grid)


def test_a_registration_without_regularisation(pair: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = matching.regularise
    monkeypatch.setattr(matching, "regularise", lambda *given: (calls.append(1), original(*given))[1])
    whole = register(*pair, SMALL, align=False)
    assert len(calls) == 1
    bare = register(*pair, dataclasses.replace(SMALL, regularised=False), align=False)
    assert len(calls) == 1
    gap = np.abs(whole.field.array - bare.field.array)
    assert gap.max() > 0.5
    assert np.isfinite(bare.field.array).all()
