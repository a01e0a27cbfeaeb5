"""A transform taken apart into affine map and displacement, and put together again, on oblique grids."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from helpers import geometry
from pddnet.core.affine import Affine
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.tensor.affine_field import fade, join, margin, split
from pddnet.tensor.folding import determinant
from pddnet.tensor.lattice import mesh, to_lps

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
    affine, rest = split(transform, lattice, lattice, torch.device("cpu"))
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
    affine, rest = split(field.to_sitk(), lattice, lattice, torch.device("cpu"))
    moved = affine.points(x + to_lps(rest, lattice))
    assert np.abs(moved - x - bent).max() < 0.01
    grid = lattice.isotropic(6.0, 24.0)
    whole = join(affine, fade(rest, lattice, grid), grid)
    inside = geometry.node_points(lattice)[2:-2, 2:-2, 2:-2].reshape(-1, 3)
    assert np.abs(whole.transform_points(inside) - field.transform_points(inside)).max() < 0.05
    border = grid.points()[0].reshape(-1, 3)
    assert np.abs(whole.transform_points(border) - affine.points(border)).max() < 0.01


@every_grid
def test_a_field_that_ends_with_the_scan_goes_on_beyond_it(name: str) -> None:
    """For ITK such a field is zero there, which is no part of the map."""
    scan, turn = GRIDS[name], sitk.Euler3DTransform(GRIDS[name].centre.tolist(), 0.0, 0.0, 0.1, (30.0, 0.0, 60.0))
    field = DisplacementField.from_transform(turn, scan)
    lattice = Image(np.zeros(scan.shape, np.uint8), scan).canonical().grid.isotropic(3.0, 8.0)
    affine, rest = split(field.to_sitk(), lattice, scan, torch.device("cpu"))
    points = scan.points().reshape(-1, 3)[::7]
    expected = np.array([turn.TransformPoint(point) for point in points.tolist()])
    assert np.abs(affine.points(points) - expected).max() < 0.2  # mm; half a voxel at the border is flat
    assert rest.abs().max() < 0.5


def test_the_displacement_comes_before_the_affine_map() -> None:
    lattice = GRIDS["left-handed"]
    affine = Affine(np.diag([2.0, 1.0, 1.0]), np.array([0.0, 5.0, 0.0]))
    step = np.broadcast_to(np.array([3.0, 0.0, -4.0]), (*lattice.shape, 3))
    along = np.einsum("...j,ji->...i", step, lattice.direction)[..., ::-1]
    field = torch.tensor(np.moveaxis(along, -1, 0).astype(np.float32))
    grid = lattice.isotropic(6.0, 24.0)
    whole = join(affine, fade(field, lattice, grid), grid)
    centre = lattice.centre
    assert np.allclose(whole.transform_points(centre), (centre + [3.0, 0, -4]) * [2, 1, 1] + [0, 5, 0], atol=0.01)


@pytest.mark.slow
@every_grid
def test_a_displacement_across_the_border_fades_without_folding(name: str) -> None:
    """40 mm outwards or inwards at every side: over 24 mm that would turn space inside out."""
    lattice = GRIDS[name].isotropic(4.0, 60.0)
    for push in (40.0, -40.0):
        ramps = [torch.linspace(-push, push, n).view([-1 if d == dim else 1 for d in range(3)]) for dim, n in
                 enumerate(lattice.shape)]  # fmt: skip
        field = torch.stack([ramp.expand(lattice.shape) for ramp in ramps])
        room = margin(field)
        assert room == pytest.approx(50.0)
        grid = lattice.isotropic(4.0, room)
        whole = join(Affine.identity(), fade(field, lattice, grid), grid)
        outside = ~lattice.isotropic(4.0, 8.0).contains(grid.points())
        assert whole.jacobian_determinant()[outside].min() > 0.0
        assert np.abs(whole.array[0]).max() < 1e-4


@every_grid
def test_a_turn_at_the_border_does_not_fold_beyond_it(name: str) -> None:
    """A whirl keeps every volume, but only together with what it does across the border, which is not there beyond."""
    lattice = GRIDS[name].isotropic(4.0, 60.0)
    mm = mesh(lattice)
    d, w = mm[0], mm[2] - mm[2].mean()
    angle = np.radians(110.0) * torch.exp(-(d.square() + w.square()) / 30.0**2)
    turned = angle.cos() * d - angle.sin() * w, angle.sin() * d + angle.cos() * w
    field = torch.stack([turned[0] - d, torch.zeros_like(d), turned[1] - w])
    assert determinant(field, lattice).min() > 0.05
    grid = lattice.isotropic(4.0, margin(field))
    whole = join(Affine.identity(), fade(field, lattice, grid), grid)
    assert whole.jacobian_determinant().min() > 0.0
    inside = lattice.points()[12:-2, 2:-2, 2:-2]
    kept = inside + to_lps(field, lattice)[12:-2, 2:-2, 2:-2]
    assert np.abs(whole.transform_points(inside) - kept).max() < 0.3


def test_the_margin_has_bounds() -> None:
    lattice = GRIDS["left-handed"]
    still = torch.zeros(3, *lattice.shape)
    assert margin(still) == 24.0
    assert margin(still + 500.0) == 72.0
    along = still.clone()
    along[0, :, 0], along[1, 0] = 500.0, -500.0  # along the sides, not across them
    along[0, 0] = along[0, -1] = 0.0
    along[1, :, 0] = along[1, :, -1] = 0.0
    assert margin(along) == 24.0
