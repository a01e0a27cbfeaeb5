"""Shift, rotation and volume of a structure follow a motion that is known, on oblique, flipped, anisotropic grids."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import samples
from helpers.geometry import Affine, Waves, grids, node_points, rotation, sitk_field, sitk_points
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.structures import Motion
from pddnet.evaluation.motion import COLUMNS, label_motion, layers_motion, motion_csv, motion_table, rotation_degrees

GRIDS = grids((34, 41, 37))
TURN = rotation(15, 0, 0) @ rotation(0, -8, 20)
TURN_DEGREES = float(np.degrees(np.arccos((np.trace(TURN) - 1) / 2)))
SIZES = np.diag([1.1, 0.9, 1.2])


def organ(grid: Grid, label: int = 5) -> Image:
    """An ellipsoid off the middle, at the same place on every grid."""
    away = (node_points(grid) - grid.centre - [4.0, -3.0, 6.0]) / [24.0, 15.0, 20.0]
    return Image((np.linalg.norm(away, axis=-1) < 1).astype(np.uint8) * label, grid)


def moved(labels: Image, transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """Voxel centres (N, 3) of the organ, and their displacements by ITK; LPS mm."""
    points = node_points(labels.grid)[labels.array > 0]
    return points, sitk_points(transform, points) - points


def check(motion: Motion, displacements: np.ndarray, tolerance_mm: float) -> None:
    lengths = np.linalg.norm(displacements, axis=-1)
    assert np.allclose(motion.shift_ras_mm, displacements.mean(axis=0) * [-1, -1, 1], atol=tolerance_mm)
    assert motion.mean_mm == pytest.approx(lengths.mean(), abs=tolerance_mm)
    assert motion.p95_mm == pytest.approx(np.percentile(lengths, 95), abs=2 * tolerance_mm)


@pytest.mark.parametrize("name", GRIDS)
def test_an_organ_that_turns_keeps_its_volume(name: str) -> None:
    labels = organ(GRIDS[name])
    turn = Affine(TURN, np.array([11.0, -6.0, 4.0]), labels.grid.centre + [60.0, 0, 0]).sitk()
    points, displacements = moved(labels, turn)
    motion = label_motion(labels, turn)[5]
    check(motion, displacements, 1e-3)
    assert np.allclose(motion.centre_lps_mm, points.mean(axis=0), atol=1e-6)
    assert motion.rotation_degrees == pytest.approx(TURN_DEGREES, abs=1e-3)
    assert motion.fixed_ml == pytest.approx(len(points) * 2.0 * 3.1 * 4.3 / 1000)
    assert motion.moving_ml == pytest.approx(motion.fixed_ml, rel=1e-4)


@pytest.mark.parametrize("name", ["oblique", "left-handed oblique", "permuted oblique"])
def test_an_organ_that_grows_is_not_taken_to_turn(name: str) -> None:
    labels = organ(GRIDS[name])
    growth = Affine(SIZES, np.array([1.0, 2.0, 3.0]), labels.grid.centre).sitk()
    motion = label_motion(labels, growth)[5]
    assert motion.rotation_degrees == pytest.approx(0.0, abs=0.5)  # the voxels are not quite an ellipsoid
    assert motion.moving_ml / motion.fixed_ml == pytest.approx(1.1 * 0.9 * 1.2, rel=1e-4)


def test_an_organ_in_a_deformation_against_its_outline_warped_by_itk() -> None:
    """The volume is that of the organ's own shape in the moving scan, which ITK finds by the inverse."""
    waves, grid = Waves(amplitude=4.0), GRIDS["permuted oblique"]
    labels = organ(grid)
    field = sitk_field(waves.field(grid.isotropic(2.0, 30.0)))
    motion = label_motion(labels, field)[5]
    check(motion, moved(labels, field)[1], 1e-3)
    inverse = sitk.DisplacementFieldTransform(sitk.InvertDisplacementField(field.GetDisplacementField(), 40))
    there = Image(
        np.zeros((90, 90, 90), np.float32), Grid((90, 90, 90), [1] * 3, grid.centre - 45 + waves.shift, np.eye(3))
    )
    warped = sitk.Resample(
        Image(labels.array / np.float32(5), grid).to_sitk(), there.to_sitk(), inverse, sitk.sitkLinear
    )
    assert motion.moving_ml == pytest.approx(sitk.GetArrayFromImage(warped).sum() / 1000, rel=0.01)


def test_a_fine_scan_is_looked_up_in_steps_and_a_speck_in_full() -> None:
    grid = Grid((80, 60, 70), [0.7, 0.9, 1.3], [10, -40, 60], GRIDS["left-handed oblique"].direction)
    labels = organ(grid)
    labels.array[61, 33, 41] = 9
    turn = Affine(TURN, np.array([11.0, -6.0, 4.0]), grid.centre + [60.0, 0, 0]).sitk()
    found = label_motion(labels, turn)
    check(found[5], moved(Image(labels.array * (labels.array == 5), grid), turn)[1], 0.15)
    assert found[5].rotation_degrees == pytest.approx(TURN_DEGREES, abs=1e-3)
    speck = moved(Image(labels.array * (labels.array == 9), grid), turn)[1]
    check(found[9], speck, 1e-3)
    assert found[9].rotation_degrees is None


def test_labels_that_overlap_stand_in_layers() -> None:
    labels = organ(GRIDS["oblique"])
    shift = sitk.TranslationTransform(3, (3.0, -4.0, 12.0))
    found = layers_motion((labels, Image(labels.array // 5 * 9, labels.grid)), shift)
    assert found[5] == found[9]
    assert found[9].mean_mm == pytest.approx(13.0, abs=1e-4)


def test_points_on_a_line_have_no_rotation_and_those_on_a_plane_do() -> None:
    line = np.outer(np.arange(9.0), [1.0, 2.0, -1.0]) + [30, -20, 500]
    assert rotation_degrees(line, line @ TURN.T - line) is None
    plane = np.vstack([line, line + [0, 3, 1]])
    assert rotation_degrees(plane, plane @ TURN.T - plane) == pytest.approx(TURN_DEGREES, abs=1e-6)


def test_the_table_and_its_csv() -> None:
    motion = Motion((4.0, 5.0, 6.0), (1.0, -2.0, 3.5), None, 10.0, 12.25, 4.0, 5.0)
    fits = (samples.FITS[1], *(f for f in samples.FITS[:1]))
    table = motion_table({6: motion}, fits)
    assert [(row["source"], row["name"]) for row in table] == [("label", "6"), ("network", "liver")]
    rows = list(csv.reader(io.StringIO(motion_csv(table))))
    assert rows[0] == list(COLUMNS)
    assert rows[1] == ["label", "6", "1.000", "-2.000", "3.500", "", "10.000", "12.250", "4.000", "5.000"]
    assert rows[2][:3] == ["network", "liver", "-7.000"]


@pytest.mark.parametrize("name", ["oblique", "left-handed oblique"])
@pytest.mark.parametrize("shape", [(20, 22, 24), (1, 22, 24)])
def test_an_organ_at_the_edge_of_a_field_that_ends_with_the_scan_keeps_its_volume(name: str, shape: tuple) -> None:
    """Beyond its grid such a field, as other programs write it, is zero for ITK."""
    like = GRIDS[name]
    grid = Grid(shape, [2.0, 3.1, 2.6], like.origin, like.direction)
    array = np.zeros(shape, np.uint8)
    array[:, :9, 12:] = 5
    displacements = np.broadcast_to(np.array([3.0, -5.0, 20.0]), (*shape, 3)).astype(np.float32)
    motion = label_motion(Image(array, grid), sitk_field(DisplacementField(displacements, grid)))[5]
    assert np.allclose(motion.shift_ras_mm, (-3, 5, 20), atol=1e-4)
    if shape[0] > 1:  # a single slice has no neighbours within it
        assert motion.moving_ml == pytest.approx(motion.fixed_ml, rel=1e-5)
