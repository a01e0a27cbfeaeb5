"""The mean shape against closed forms: shifts, scalings and bent displacements on oblique, left-handed grids."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, MOVING
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.template.shape import from_mean, lattice_over, log_jacobian, mean_field, mean_shape, moved_box

SCALES = [np.array([0.8, 1.1, 1.0]), np.array([1.3, 1.0, 0.9]), np.array([1.2, 0.9, 1.25])]
SHIFTS = [np.array([7.0, -13.0, 29.0]), np.array([-3.0, 4.0, 5.0]), np.array([11.0, 0.0, -1.0])]
BODY = Image(np.ones(FIXED.shape, bool), FIXED)


def _affine(scale: np.ndarray, shift: np.ndarray, grid: Grid) -> DisplacementField:
    """x -> c + scale (x - c) + shift."""
    points = grid.points() - FIXED.centre
    return DisplacementField((points * (scale - 1) + shift).astype(np.float32), grid)


def _bent(seed: int, grid: Grid) -> DisplacementField:
    """Smooth displacements of some mm, with a shift."""
    rng = np.random.default_rng(seed)
    waves, phases = rng.uniform(0.03, 0.06, (3, 3)), rng.uniform(0, 6, 3)
    points = grid.points() - FIXED.centre
    bend = np.stack([5 * np.sin(points @ wave + phase) for wave, phase in zip(waves, phases, strict=True)], -1)
    return DisplacementField((bend + rng.uniform(-9, 9, 3)).astype(np.float32), grid)


def test_the_mean_of_shifts_and_scalings_lies_at_their_mean() -> None:
    lattice = lattice_over(FIXED)
    fields = [_affine(scale, shift, lattice) for scale, shift in zip(SCALES, SHIFTS, strict=True)]
    shape = mean_shape(fields, FIXED, BODY, 2.0)
    scale, shift = np.mean(SCALES, axis=0), np.mean(SHIFTS, axis=0)
    points = shape.back.grid.points()
    expected = FIXED.centre + (points - FIXED.centre - shift) / scale
    assert np.abs(points + shape.back.array - expected).max() < 0.01
    assert np.allclose(shape.grid.centre, FIXED.centre + shift, atol=0.01)
    assert np.allclose(shape.grid.spacing, 2.0) and np.allclose(shape.grid.direction, FIXED.direction)
    corners = FIXED.centre + (FIXED.corners() - FIXED.centre) * scale + shift
    assert shape.grid.isotropic(2.0, 2.0).contains(corners).all()
    assert shape.least_determinant == pytest.approx(scale.prod(), abs=1e-4)
    moved = np.linalg.norm((FIXED.points() - FIXED.centre) * (scale - 1) + shift, axis=-1).mean()
    assert shape.residual_mm == pytest.approx(moved, abs=1e-3)


def test_displacements_from_the_mean_have_no_mean() -> None:
    """Also bent ones; and joined displacements are what SimpleITK's transforms make one after the other."""
    lattice = lattice_over(MOVING)
    fields = [
        DisplacementField(np.zeros((*lattice.shape, 3), np.float32), lattice),
        *(_bent(n, lattice) for n in (1, 2)),
    ]
    shape = mean_shape(fields, MOVING, BODY, 3.0)
    assert shape.residual_mm > 3
    joined = [from_mean(field, shape.back) for field in fields]
    inside = shape.grid.isotropic(8.0).points().reshape(-1, 3)
    before = np.linalg.norm(mean_field(fields).sample(inside), axis=-1)
    after = np.linalg.norm(mean_field(joined).sample(inside), axis=-1)
    assert before.mean() > 3 and after.max() < 0.25 and after.mean() < 0.05
    both = sitk.CompositeTransform([fields[1].to_sitk(), shape.back.to_sitk()])  # the last one first
    nodes = shape.back.grid.points()[2:-2:4, 2:-2:4, 2:-2:4].reshape(-1, 3)
    expected = [both.TransformPoint(point) for point in nodes.tolist()]
    assert np.abs(joined[1].transform_points(nodes) - expected).max() < 0.01


def test_the_mean_does_not_depend_on_the_scan_that_was_fixed() -> None:
    """Maps from one anatomy to three scans; the mean of a point is the same whichever scan is the first."""
    anatomy = np.array([[0.0, 0, 0], [20, -10, 8], [-15, 18, -12]])
    scans = [lambda x, a=a, b=b: FIXED.centre + x * a + b for a, b in zip(SCALES, SHIFTS, strict=True)]
    found = []
    for first in range(3):
        grid = Grid(FIXED.shape, FIXED.spacing, FIXED.origin + SHIFTS[first], FIXED.direction)
        lattice = lattice_over(grid)
        back = (lattice.points() - FIXED.centre - SHIFTS[first]) / SCALES[first]
        fields = [DisplacementField((scan(back) - lattice.points()).astype(np.float32), lattice) for scan in scans]
        forth = mean_field(fields)
        found.append(forth.transform_points(scans[first](anatomy)))
    assert np.abs(np.array(found) - found[0]).max() < 0.01
    assert np.allclose(found[0], np.mean([scan(anatomy) for scan in scans], axis=0), atol=0.01)


@pytest.mark.parametrize("grid", [FIXED, MOVING])
def test_a_scan_that_is_larger_has_a_log_jacobian_above_zero(grid: Grid) -> None:
    field = _affine(np.array([1.2, 1.0, 1.1]), np.array([5.0, 0.0, 0.0]), grid)
    assert np.allclose(log_jacobian(field).array, np.log(1.2 * 1.1), atol=1e-4)
    folded = _affine(np.array([-1.0, 1.0, 1.0]), np.zeros(3), grid)
    assert np.allclose(log_jacobian(folded).array, np.log(1e-2))


def test_the_box_of_the_mean_turns_with_no_map() -> None:
    """Its axes stay; its corners lie around those of the moved box."""
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    grid = moved_box(MOVING, turn, np.array([100.0, 0, 0]), 2.0)
    corners = MOVING.corners() @ turn.T + [100.0, 0, 0]
    assert np.allclose(grid.direction, MOVING.direction)
    assert np.allclose(grid.centre, MOVING.centre @ turn.T + [100.0, 0, 0])
    assert grid.isotropic(2.0, 1.01).contains(corners).all()


def test_without_displacements_there_is_no_mean() -> None:
    with pytest.raises(ValueError, match="no displacements"):
        mean_field([])
