"""Features of two scans on one lattice: what neither scan reaches is left out, and nothing else changes by that."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from helpers.geometry import grids, rotation
from helpers.trunk import MIDDLE, ct, oblique_grid
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS, Stage
from pddnet.matching import feature_maps
from pddnet.matching.feature_maps import FeatureMaps, matched_lattice, reached_part
from pddnet.matching.stage import Matching
from pddnet.tensor.execution import ALONE
from pddnet.tensor.scan import Scan, prepare

CPU = torch.device("cpu")
STAGE = Stage(24.0, 72.0, 5, 8.0, 0.005)
MATRIX = rotation(4, -6, 9) @ np.diag([1.1, 0.92, 1.05])
SHIFT = np.array([140.0, -75.0, 410.0])
PLAIN = dataclasses.replace(PRESETS["default"], semantic=0.0)
MAP = Affine(MATRIX, MIDDLE + SHIFT - MATRIX @ MIDDLE)


@pytest.fixture(scope="module")
def scans() -> tuple[Scan, Scan]:
    """The trunk on an oblique, left-handed, anisotropic grid, and on another, far away."""
    there = oblique_grid((30, 40, 36))
    far = dataclasses.replace(there, origin=there.origin + SHIFT)
    return prepare(ct(oblique_grid(), 1), 4.0, CPU), prepare(Image(ct(there, 2).array, far), 4.0, CPU)


def test_what_neither_scan_reaches_is_not_computed_and_not_missed(
    scans: tuple[Scan, Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = scans[0].box
    lattice = box.isotropic(8.0)
    u = 6 * torch.randn(3, *lattice.shape, generator=torch.manual_seed(1))
    given = *scans, box, MAP, STAGE, PLAIN, ALONE, u, lattice
    less = Matching.of(*given)
    monkeypatch.setattr(feature_maps, "reached_part", lambda lattice, *_: lattice)
    whole = Matching.of(*given)
    assert less.both.lattice.extent.prod() < 0.6 * whole.both.lattice.extent.prod()
    for one, all_of_it in zip(less.both.maps, whole.both.maps, strict=True):
        start = all_of_it.lattice.point_to_index(one.lattice.origin)[::-1]
        assert np.allclose(start, np.rint(start), atol=1e-6)
        part = tuple(slice(int(i), int(i) + n) for i, n in zip(np.rint(start), one.lattice.shape, strict=True))
        assert torch.allclose(one.weight, all_of_it.weight[part], atol=1e-5)
        seen = one.weight > 0.01
        assert seen.any()
        assert torch.allclose(one.features[:, seen], all_of_it.features[(slice(None), *part)][:, seen], atol=1e-3)
        assert all_of_it.weight.sum() == pytest.approx(float(one.weight.sum()), rel=1e-4)
    for source in (0, 1):
        found, expected = (match.distribution(source, ALONE)[0] for match in (less, whole))
        assert torch.allclose(found.cost, expected.cost, atol=0.02 * float(expected.cost.abs().max()))


@pytest.mark.parametrize("name", grids())
def test_the_part_that_is_shown_holds_every_corner_of_both(name: str) -> None:
    lattice = grids((60, 70, 80))[name].isotropic(2.0, 300.0)
    fixed, moving = grids((20, 24, 30))[name], grids((20, 24, 30))["permuted oblique"]
    moving = dataclasses.replace(moving, origin=moving.origin + SHIFT)
    affine = Affine(MATRIX, SHIFT + [9.0, 4.0, -7.0])
    values = torch.zeros(3, 2, 2, 2)
    ours, theirs = (Scan(values, values[:0], grid, grid, grid, False) for grid in (fixed, moving))
    for spacing, farthest in ((2.0, 0.0), (8.0, 25.0)):
        part = reached_part(lattice, spacing, ours, theirs, affine, farthest)
        factor = matched_lattice(lattice, spacing)[0]
        assert np.allclose(np.rint(start := lattice.point_to_index(part.origin)), start, atol=1e-6)
        assert (np.rint(start).astype(int) % factor == 0).all() and (part.size % factor == 0).all()
        inverse = np.linalg.inv(affine.matrix)
        corners = (moving.corners() - affine.shift) @ inverse.T
        assert part.contains(fixed.corners()).all()
        around = np.concatenate([corners + s * farthest * lattice.direction[:, k] for k in range(3) for s in (-1, 1)])
        assert part.contains(around).all()
        tight = np.ptp(lattice.point_to_index(np.concatenate([fixed.corners(), around])), axis=0)
        assert (part.size - tight <= 4 * max(factor, 3) + 2).all()


def test_a_lattice_within_the_scans_stays_whole(scans: tuple[Scan, Scan]) -> None:
    inner = Grid((8, 10, 12), np.full(3, 4.0), scans[0].grid.centre - 20.0, scans[0].grid.direction)
    part = reached_part(inner, 8.0, *scans, MAP, 0.0)
    assert part.shape == inner.shape and np.allclose(part.origin, inner.origin)
    maps = FeatureMaps.of(*scans, inner, MAP, None, None, 8.0, ALONE).maps
    assert [one.lattice.shape for one in maps] == 2 * [(4, 5, 6)]
