"""Metrics against values worked out by hand, formulas, and SimpleITK's filters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.evaluation import metrics

SPACING = np.array([0.8, 1.5, 3.0])  # mm along i, j, k


def grid(shape=(30, 40, 50)) -> Grid:
    return Grid(shape, SPACING, np.zeros(3), np.eye(3))


def cube(shape, start, size) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))] = True
    return mask


def blobs(seed: int, shape=(24, 30, 28)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 2.5))
    return smooth > np.quantile(smooth, 0.8)


def test_dice_of_shifted_cubes():
    a, b = cube((30, 30, 30), (5, 5, 5), (10, 10, 10)), cube((30, 30, 30), (5, 5, 8), (10, 10, 10))
    assert metrics.dice(a, b) == pytest.approx(0.7)
    assert metrics.dice(a, a) == 1
    assert metrics.dice(a, np.zeros_like(a)) == 0
    assert metrics.dice(np.zeros_like(a), np.zeros_like(a)) is None


@pytest.mark.parametrize(("axis", "step"), [(0, 3.0), (1, 1.5), (2, 0.8)])
def test_distance_of_a_shifted_cube_is_the_shift_in_mm(axis, step):
    """Slabs far wider than the shift: the faces across the shift are `shift` apart, the others touch."""
    start = [8, 8, 8]
    a = cube((40, 40, 40), start, (12, 12, 12))
    start[axis] += 4
    b = cube((40, 40, 40), start, (12, 12, 12))
    a_to_b, b_to_a = metrics.surface_distances(a, b, SPACING)
    assert a_to_b.max() == pytest.approx(4 * step)
    assert metrics.hausdorff95(a_to_b, b_to_a) == pytest.approx(4 * step)


def test_parallel_plates_are_exactly_their_gap_apart():
    a, b = cube((20, 10, 10), (3, 0, 0), (1, 10, 10)), cube((20, 10, 10), (8, 0, 0), (1, 10, 10))
    a_to_b, b_to_a = metrics.surface_distances(a, b, SPACING)
    assert np.allclose(a_to_b, 15) and np.allclose(b_to_a, 15)
    assert metrics.average_surface_distance(a_to_b, b_to_a) == pytest.approx(15)


def test_concentric_spheres_are_their_radii_apart():
    k, j, i = np.indices((50, 90, 160))
    radius = np.sqrt(((i - 80) * 0.8) ** 2 + ((j - 45) * 1.5) ** 2 + ((k - 25) * 3.0) ** 2)
    a_to_b, b_to_a = metrics.surface_distances(radius <= 40, radius <= 60, SPACING)
    assert metrics.average_surface_distance(a_to_b, b_to_a) == pytest.approx(20, abs=0.8)
    assert metrics.hausdorff95(a_to_b, b_to_a) == pytest.approx(20, abs=2.0)


def test_hd95_takes_the_worse_direction_and_ignores_five_per_cent():
    assert metrics.hausdorff95(np.r_[np.zeros(96), [50.0] * 4], np.zeros(100)) == 0
    assert metrics.hausdorff95(np.full(10, 1.0), np.full(1000, 3.0)) == 3


@pytest.mark.parametrize("seed", range(4))
def test_surface_distances_agree_with_simpleitk(seed):
    """Oracle: SimpleITK's distance map of the contour of one mask, read at the contour of the other."""
    a, b = blobs(seed), blobs(seed + 100)

    def contour(mask):
        padded = np.pad(mask, 1).astype(np.uint8)
        image = sitk.LabelContour(sitk.GetImageFromArray(padded), fullyConnected=False)
        image.SetSpacing(SPACING.tolist())
        return image

    def directed(source, target):
        distance = sitk.SignedMaurerDistanceMap(target, squaredDistance=False, useImageSpacing=True)
        return np.abs(sitk.GetArrayFromImage(distance))[sitk.GetArrayFromImage(source) > 0]

    a_to_b, b_to_a = metrics.surface_distances(a, b, SPACING)
    assert np.allclose(np.sort(a_to_b), np.sort(directed(contour(a), contour(b))), atol=1e-4)
    assert np.allclose(np.sort(b_to_a), np.sort(directed(contour(b), contour(a))), atol=1e-4)


def test_a_part_of_the_surface_has_about_the_same_mean_distance():
    a, b = blobs(1), blobs(101)
    all_of_them, some = metrics.surface_distances(a, b, SPACING), metrics.surface_distances(a, b, SPACING, 100)
    assert len(all_of_them[0]) > 400
    assert 100 <= len(some[0]) < 200
    assert set(some[0]) <= set(all_of_them[0])
    assert metrics.average_surface_distance(*some) == pytest.approx(
        metrics.average_surface_distance(*all_of_them), rel=0.1
    )


def test_dice_and_hausdorff_agree_with_simpleitk():
    a, b = cube((30, 30, 30), (5, 6, 7), (12, 8, 9)), cube((30, 30, 30), (8, 9, 4), (9, 11, 13))
    images = [Image(mask.astype(np.uint8), grid((30, 30, 30))).to_sitk() for mask in (a, b)]
    overlap, hausdorff = sitk.LabelOverlapMeasuresImageFilter(), sitk.HausdorffDistanceImageFilter()
    overlap.Execute(*images)
    hausdorff.Execute(*images)
    a_to_b, b_to_a = metrics.surface_distances(a, b, SPACING)
    assert metrics.dice(a, b) == pytest.approx(overlap.GetDiceCoefficient())
    assert max(a_to_b.max(), b_to_a.max()) == pytest.approx(hausdorff.GetHausdorffDistance(), abs=1e-4)


def test_dice30_is_the_mean_of_the_lowest_third():
    assert metrics.dice30([0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.6, 0.5, 0.4, 1.0]) == pytest.approx(0.2)
    assert metrics.dice30([0.5]) == 0.5
    assert metrics.dice30([0.2, 0.4, 0.6, 0.8]) == pytest.approx(0.3)
    assert math.isnan(metrics.dice30([]))


def test_label_table():
    shape = (20, 30, 30)
    fixed, before, after = (np.zeros(shape, np.int16) for _ in range(3))
    fixed[cube(shape, (5, 5, 5), (6, 10, 10))] = 3
    before[cube(shape, (5, 5, 10), (6, 10, 10))] = 3
    after[cube(shape, (5, 5, 5), (6, 10, 10))] = 3
    fixed[15:18, 15:18, 15:18] = 7  # lost by the warp
    before[15:18, 15:18, 15:18] = 7
    fixed[0, 0, 0] = 8  # only in the fixed scan
    after[19, 0, 0] = 9  # only in the moving scan
    rows = metrics.label_table(*(Image(a, grid(shape)) for a in (fixed, before, after)))
    assert [row["label"] for row in rows] == [3, 7, 8, 9]
    three, seven, eight, nine = rows
    assert three["dice_before"] == pytest.approx(0.5) and three["dice_after"] == 1
    assert three["hd95_before"] == pytest.approx(4.0) and three["hd95_after"] == 0
    assert 0 < three["asd_before"] < 4 and three["asd_after"] == 0
    assert (seven["dice_before"], seven["dice_after"], seven["hd95_after"]) == (1, 0, None)
    assert all(value is None for row in (eight, nine) for key, value in row.items() if key != "label")


def test_label_table_refuses_different_grids():
    image = Image(np.zeros((4, 4, 4), np.uint8), grid((4, 4, 4)))
    other = Image(image.array, Grid((4, 4, 4), SPACING, np.ones(3), np.eye(3)))
    with pytest.raises(ValueError, match="one grid"):
        metrics.label_table(image, image, other)


def test_jacobian_statistics():
    determinant = np.array([1.0, 1.0, 2.0, 0.0, -1.0])
    result = metrics.jacobian_statistics(determinant)
    assert result["mean"] == pytest.approx(0.6)
    assert result["std"] == pytest.approx(np.sqrt((0.16 + 0.16 + 1.96 + 0.36 + 2.56) / 5))
    assert result["folding_percent"] == pytest.approx(40)
    masked = metrics.jacobian_statistics(determinant, np.array([1, 1, 1, 0, 0]))
    assert masked["sdlogj"] == pytest.approx(np.log(2) * np.sqrt(2) / 3)
    assert masked["folding_percent"] == 0
    assert math.isnan(metrics.jacobian_statistics(determinant, np.zeros(5))["mean"])


def test_tre():
    fixed = np.array([[0.0, 0, 0], [10, 20, 30]])
    moving = fixed + [7, -13, 29]
    assert np.allclose(metrics.tre(fixed, moving, lambda p: p + [7, -13, 29]), 0)
    assert np.allclose(metrics.tre(fixed, moving, lambda p: p), np.sqrt(49 + 169 + 841))
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        metrics.tre(fixed, moving[:1], lambda p: p)
