"""Folding, inverse and similarity of any transform, against formulas, SimpleITK and numpy.corrcoef."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import SHEARED, Waves, node_points, sitk_field
from helpers.samples import FIXED, ball, body, direction
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import Cancelled
from pddnet.evaluation import metrics, report, transform_quality
from pddnet.worker import tasks as worker_tasks

SCAN = body(FIXED)


def field_of(displacement, grid: Grid) -> DisplacementField:
    return DisplacementField(displacement(node_points(grid)).astype(np.float32), grid)


def mirrored(points: np.ndarray) -> np.ndarray:
    """Displacements of a map that turns back at the plane x = centre: determinant 1 before it and -1 behind."""
    beyond = np.maximum(points[..., :1] - FIXED.centre[0], 0)
    return np.concatenate([-2 * beyond, np.zeros_like(beyond), np.zeros_like(beyond)], axis=-1)


# --- the Jacobian determinant ---


def test_the_determinant_of_an_affine_map_is_that_of_its_matrix():
    found = transform_quality.jacobian(SHEARED.sitk(), SCAN)
    expected = np.linalg.det(SHEARED.matrix)
    assert [found[key] for key in ("mean", "min", "max")] == pytest.approx([expected] * 3, abs=1e-4)
    assert found["std"] == pytest.approx(0, abs=1e-4)
    assert (found["folding_percent"], found["region"], found["spacing_mm"]) == (0, "fixed body", 4.0)


def test_folding_is_the_share_of_the_body_behind_the_mirror():
    wide = FIXED.isotropic(2.0, 30.0)
    found = transform_quality.jacobian(field_of(mirrored, wide), SCAN)
    assert found["folding_percent"] == pytest.approx(50, abs=4)  # the plane's own voxels count as neither
    assert (found["min"], found["max"]) == pytest.approx((-1, 1), abs=1e-3)
    assert found["spacing_mm"] == pytest.approx(2.0)


def test_the_determinant_is_that_of_simpleitk_on_a_left_handed_oblique_grid():
    grid = Grid((30, 32, 34), (2.5, 2.0, 3.0), (-50, 5, -310), direction(3, flipped=True))
    grid = Grid(grid.shape, grid.spacing, grid.origin + FIXED.centre - grid.centre, grid.direction)
    field = Waves().field(grid)
    along = sitk.GetImageFromArray(field.array @ grid.direction.astype(np.float32), isVector=True)
    along.SetSpacing(grid.spacing.tolist())  # ITK's filter does not turn the vectors, so they come along the axes
    by_itk = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(along))
    region = ball(grid, FIXED.centre, 15.0)
    own = field.jacobian_determinant()
    assert np.abs(own - by_itk)[region].max() < 2e-3
    assert np.abs(own - Waves().determinant(node_points(grid)))[region].max() < 0.03
    expected = by_itk[region]
    found = metrics.jacobian_statistics(own, region)
    assert (found["mean"], found["std"]) == pytest.approx((expected.mean(), expected.std()), abs=1e-3)
    assert (found["min"], found["max"]) == pytest.approx((expected.min(), expected.max()), abs=2e-3)


def test_a_fine_field_is_looked_at_as_finely():
    """Ripples of 6 mm fold, and a grid of 4 mm would hardly see them."""
    fine = FIXED.isotropic(1.0, 5.0)
    ripples = field_of(lambda p: 1.4 * np.sin(2 * np.pi * p / 6.0) * [1.0, 0, 0], fine)
    inner = sitk_field(ripples)
    for transform in (inner, sitk.CompositeTransform([SHEARED.sitk(), inner])):
        found = transform_quality.jacobian(transform, SCAN)
        assert found["spacing_mm"] == pytest.approx(1.0)
        assert found["folding_percent"] == pytest.approx(100 * np.arccos(1 / (1.4 * np.pi / 3)) / np.pi, abs=9)


def test_a_huge_scan_is_looked_at_more_coarsely():
    grid = Grid((3000, 2000, 2000), np.ones(3), np.zeros(3), np.eye(3))
    assert transform_quality._grid(grid, 1.0).size.prod() < 1.1 * transform_quality.MOST_NODES


# --- the inverse ---


def test_a_given_inverse_counts_where_the_moving_scan_is():
    """A field ends with it: outside ITK moves nothing."""
    shift = np.array([7.0, -13, 29])
    forward = sitk.TranslationTransform(3, shift.tolist())
    within = Grid((10, 22, 26), FIXED.spacing, FIXED.origin + shift, FIXED.direction)
    back = DisplacementField(np.broadcast_to(-shift, (*within.shape, 3)).astype(np.float32), within).to_sitk()
    assert transform_quality.inverse_error(forward, SCAN, back)["max"] == pytest.approx(np.linalg.norm(shift))
    found = transform_quality.inverse_error(forward, SCAN, back, within)
    assert found["max"] < 1e-3
    assert found["points"] < transform_quality.inverse_error(forward, SCAN, back)["points"]


def test_a_linear_transform_has_an_exact_inverse():
    found = transform_quality.inverse_error(SHEARED.sitk(), SCAN)
    assert found["inverse"] == "exact"
    assert found["max"] < 1e-9
    assert 100 < found["points"] <= transform_quality.MOST_POINTS


def test_a_given_inverse_is_off_by_what_was_planted():
    shift = np.array([7.0, -13, 29])
    forward = sitk.TranslationTransform(3, shift.tolist())
    wrong = sitk.TranslationTransform(3, (-shift + [1, 2, 2]).tolist())
    found = transform_quality.inverse_error(forward, SCAN, wrong)
    assert found["inverse"] == "given"
    assert [found[key] for key in ("mean", "p95", "max")] == pytest.approx([3.0] * 3)


def test_a_smooth_map_is_inverted_and_a_folded_one_is_not():
    wide = FIXED.isotropic(4.0, 60.0)
    smooth = transform_quality.inverse_error(sitk_field(Waves().field(wide)), SCAN)
    assert smooth["inverse"] == "numerical"
    assert smooth["max"] < 0.5
    folded = transform_quality.inverse_error(sitk_field(field_of(mirrored, wide)), SCAN)
    assert folded["mean"] > 1.0
    assert folded["max"] > 10.0


# --- similarity ---


def scans() -> tuple[Image, Image]:
    """Noise within the window, 4 mm, one left-handed and oblique grid; no air, so everything is body."""
    grid = Grid((12, 13, 14), np.full(3, 4.0), (5, -9, 20), direction(4, flipped=True))
    random = np.random.default_rng(2)
    values = random.uniform(-100, 200, grid.shape).astype(np.float32)
    values[0, 0, 0] = -190.0  # Hounsfield units
    return Image(values, grid), Image((0.4 * values + random.uniform(0, 90, grid.shape)).astype(np.float32), grid)


def test_the_correlation_is_that_of_numpy():
    fixed, moving = scans()
    found = transform_quality.similarity(fixed, moving, sitk.TranslationTransform(3))
    expected = np.corrcoef(fixed.array.ravel(), moving.array.ravel())[0, 1]
    assert found["before"] == pytest.approx(expected, abs=1e-5)
    assert found["after"] == pytest.approx(expected, abs=1e-5)
    assert (found["overlap_before"], found["overlap_after"]) == (1.0, 1.0)


def test_a_shift_by_two_voxels_changes_the_overlap_and_what_is_compared():
    fixed, moving = scans()
    step = sitk.TranslationTransform(3, (2 * fixed.grid.axes[:, 0]).tolist())
    found = transform_quality.similarity(fixed, moving, step)
    expected = np.corrcoef(fixed.array[..., :-2].ravel(), moving.array[..., 2:].ravel())[0, 1]
    assert found["after"] == pytest.approx(expected, abs=1e-4)
    assert found["overlap_after"] == pytest.approx(12 / 14)


def test_values_beyond_soft_tissue_do_not_count_and_other_modalities_are_not_limited():
    fixed, moving = scans()
    metal = fixed.array.copy()
    metal[3:6] = 3000.0
    limited = np.clip(metal, -200, 300)
    found = transform_quality.similarity(Image(metal, fixed.grid), moving, sitk.TranslationTransform(3))
    assert found["before"] == pytest.approx(np.corrcoef(limited.ravel(), moving.array.ravel())[0, 1], abs=1e-5)
    mr = Image(np.abs(metal), fixed.grid)
    found = transform_quality.similarity(mr, moving, sitk.TranslationTransform(3))
    assert found["before"] == pytest.approx(np.corrcoef(mr.array.ravel(), moving.array.ravel())[0, 1], abs=1e-5)


def test_nothing_is_said_where_nothing_overlaps():
    fixed, moving = scans()
    found = transform_quality.similarity(fixed, moving, sitk.TranslationTransform(3, (500.0, 0, 0)))
    assert (found["after"], found["overlap_after"]) == (None, 0.0)


# --- the worker's request ---


def test_progress_after_every_label_may_cancel():
    grid = Grid((8, 8, 8), np.ones(3), np.zeros(3), np.eye(3))
    labels = Image(np.arange(512, dtype=np.uint16).reshape(8, 8, 8) % 9, grid)
    heard: list[float] = []

    def progress(fraction: float, stage: str) -> None:
        heard.append(fraction)
        if len(heard) == 6:
            raise Cancelled("cancelled")

    pairs = {"a": {"fixed": labels, "moving": labels}, "b": {"fixed": labels, "moving": labels}}
    with pytest.raises(Cancelled):
        worker_tasks.evaluate(progress, transform=np.eye(4), labels=pairs)
    assert heard == pytest.approx([0, 0, 0.05, 0.1, 0.15, 0.2])


def test_labels_are_compared_on_the_given_grid():
    fine = FIXED.isotropic(2.0)
    labels = Image(ball(FIXED, FIXED.centre, 15).astype(np.uint8), FIXED)
    shift = sitk.TranslationTransform(3, (3.0, 2.0, 1.0))
    done = worker_tasks.evaluate(
        lambda *_: None, transform=shift, labels={"a": {"fixed": labels, "moving": labels}}, grid=fine
    )
    expected = report.measured_labels(labels.resample(fine, labels=True), labels, shift)
    assert done["evaluation"]["a"] == expected
    assert 0.5 < expected["table"][0]["dice_after"] < 0.95
    assert [done[key] for key in ("tre_mm", "jacobian", "inverse_error_mm", "similarity")] == [None] * 4


def test_without_hounsfield_units_the_view_counts_and_is_called_so() -> None:
    array = np.full(SCAN.array.shape, 20, np.int16)
    array[ball(SCAN.grid, FIXED.centre, 20.0)] = 400
    found = transform_quality.jacobian(SHEARED.sitk(), Image(array, SCAN.grid))
    assert found["region"] == "fixed view"
