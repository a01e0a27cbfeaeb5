"""Turned scans, and results turned back: against SimpleITK, on oblique, anisotropic and left-handed grids."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import grids, rotation
from pddnet.core.affine import Affine
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.linear import RIGID, LinearTransform
from pddnet.core.result import InverseParts, Registration, Verdict
from pddnet.core.structures import OK, Motion, StructureFit
from pddnet.core.turn import about, turned_back, turned_image

PRONE = np.diag([-1.0, -1.0, 1.0])
SIDE = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
GRIDS = {name: Grid((7, 8, 9), grid.spacing, grid.origin, grid.direction) for name, grid in grids().items()}
MOTION = Motion((1.0, 2.0, 3.0), (1.0, 1.0, 1.0), 5.0, 10.0, 11.0, 2.0, 3.0)


def _noise(grid: Grid, seed: int = 1) -> Image:
    return Image(np.random.default_rng(seed).normal(size=grid.shape).astype(np.float32), grid)


@pytest.mark.parametrize("name", GRIDS)
def test_a_turned_image_shows_at_turned_points_what_it_showed(name: str) -> None:
    image = _noise(GRIDS[name])
    turn = about(image.grid.centre, SIDE)
    there = turned_image(image, turn).to_sitk()
    before = image.to_sitk()
    for point in image.grid.corners() * 0.7 + image.grid.centre * 0.3:
        moved = turn.points(point)
        assert there.EvaluateAtPhysicalPoint(moved.tolist()) == pytest.approx(
            before.EvaluateAtPhysicalPoint(point.tolist()), abs=1e-4
        )
    assert np.allclose(turn.points(image.grid.centre), image.grid.centre)


def _result(grid: Grid, fixed: Affine, moving: Affine) -> tuple[Registration, Affine]:
    """A result between turned scans: an affine map and a wave, and what it was made from."""
    turned = turned_image(_noise(grid), fixed)
    affine = Affine(rotation(4, -6, 8), np.array([5.0, -7.0, 11.0]))
    nodes = turned.grid.points()
    wave = 2.0 * np.sin(nodes / 15.0)[..., ::-1]
    field = DisplacementField((affine.points(nodes) + wave - nodes).astype(np.float32), turned.grid)
    back = DisplacementField(wave.astype(np.float32), turned.grid)
    fit = StructureFit("liver", OK, "", (1.0, 2.0, 3.0), 10.0, 11.0, 0.9, (4.0, 5.0, 6.0), 2.0, 0.9, None, MOTION)
    result = Registration(
        field, turned, Verdict("ok", (), 0.0, {}), turned.grid, "default", "cpu", {}, None,
        linear=LinearTransform(affine, RIGID, turned.grid.centre), inverse_parts=InverseParts(affine, back),
        expected_error=turned, structures=(fit,),
    )  # fmt: skip
    return result, affine


@pytest.mark.parametrize("name", GRIDS)
def test_a_result_is_turned_back_with_its_scans(name: str) -> None:
    """T' = moving^-1 T fixed: points, grids, the linear map, the inverse's parts and the structures."""
    grid = GRIDS[name]
    fixed, moving = about(grid.centre, PRONE), about(np.array([30.0, -20.0, 10.0]), SIDE)
    result, affine = _result(grid, fixed, moving)
    found = turned_back(result, fixed, moving)
    assert found.fixed_grid.same_as(grid)
    assert found.field.grid.same_as(grid)
    assert found.uncertainty.grid.same_as(grid)
    assert found.expected_error is not None
    assert found.expected_error.grid.same_as(grid)
    points = grid.points()[1:-1, 1:-1, 1:-1].reshape(-1, 3)
    expected = moving.inverse.points(result.field.transform_points(fixed.points(points)))
    assert np.allclose(found.field.transform_points(points), expected, atol=1e-3)
    chain = moving.inverse @ affine @ fixed
    itk = found.to_sitk()
    assert isinstance(itk, sitk.Euler3DTransform)
    for point in points[::50]:
        assert np.allclose(itk.TransformPoint(point.tolist()), chain.points(point), atol=1e-6)
    assert np.allclose(itk.GetCenter(), fixed.inverse.points(grid.centre))
    parts, before = found.inverse_parts, result.inverse_parts
    assert parts is not None
    assert before is not None
    assert np.allclose(parts.affine.points(points), chain.points(points), atol=1e-6)
    wanted = fixed.inverse.points(before.back.transform_points(fixed.points(points)))
    assert np.allclose(parts.back.transform_points(points), wanted, atol=1e-3)
    centre = fixed.inverse.points(np.array([1.0, 2.0, 3.0]))
    assert np.allclose(found.structures[0].centre_lps_mm, centre)
    assert found.structures[0].shift_lps_mm == pytest.approx((-4.0, -5.0, 6.0))
    assert found.structures[0].motion == MOTION
