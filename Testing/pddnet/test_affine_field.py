"""A transform taken apart into affine map and displacement, and put together again, on oblique grids."""

from __future__ import annotations

import geometry
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from pddnet.affine_field import join, split
from pddnet.field import DisplacementField
from pddnet.lattice import to_lps
from pddnet.scan import Affine

GRIDS = {name: grid.isotropic(6.0, 40.0) for name, grid in geometry.grids().items()}
every_grid = pytest.mark.parametrize("name", GRIDS)


def _affine() -> sitk.AffineTransform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([1.1, 0.05, 0.0, -0.2, 0.93, 0.1, 0.03, 0.0, 1.02])
    transform.SetTranslation((7.0, -13.0, 829.0))
    return transform


@every_grid
def test_an_affine_map_leaves_nothing(name: str) -> None:
    lattice, transform = GRIDS[name], _affine()
    affine, rest = split(transform, lattice, torch.device("cpu"))
    assert rest.abs().max() < 0.01
    points = lattice.corners()
    expected = [transform.TransformPoint(p) for p in points.tolist()]
    assert np.abs(affine.points(points) - expected).max() < 0.01


@every_grid
def test_parts_make_the_whole(name: str) -> None:
    lattice = GRIDS[name]
    x = lattice.points()
    bent = np.stack([7 + 6 * np.sin(x[..., 1] / 40), -13 + 0.1 * x[..., 2], 29 + 0.05 * x[..., 0]], axis=-1)
    field = DisplacementField(bent.astype(np.float32), lattice)
    affine, rest = split(field.to_sitk(), lattice, torch.device("cpu"))
    moved = affine.points(x + to_lps(rest, lattice))
    assert np.abs(moved - x - bent).max() < 0.01
    grid = lattice.isotropic(6.0, 24.0)
    whole = join(affine, rest, lattice, grid, 24.0)
    inside = geometry.node_points(lattice)[2:-2, 2:-2, 2:-2].reshape(-1, 3)
    assert np.abs(whole.transform_points(inside) - field.transform_points(inside)).max() < 0.05
    border = grid.points()[0].reshape(-1, 3)
    assert np.abs(whole.transform_points(border) - affine.points(border)).max() < 0.01


def test_the_displacement_comes_before_the_affine_map() -> None:
    lattice = GRIDS["left-handed"]
    affine = Affine(np.diag([2.0, 1.0, 1.0]), np.array([0.0, 5.0, 0.0]))
    step = np.broadcast_to(np.array([3.0, 0.0, -4.0]), (*lattice.shape, 3))
    along = np.einsum("...j,ji->...i", step, lattice.direction)[..., ::-1]
    field = torch.tensor(np.moveaxis(along, -1, 0).astype(np.float32))
    whole = join(affine, field, lattice, lattice.isotropic(6.0, 24.0), 24.0)
    centre = lattice.centre
    assert np.allclose(whole.transform_points(centre), (centre + [3.0, 0, -4]) * [2, 1, 1] + [0, 5, 0], atol=0.01)
