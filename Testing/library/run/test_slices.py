"""Two single slices of space: the transform of space, its inverse and what is warped, against formula and SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import sitk_field, sitk_image, sitk_points
from helpers.slices import AXIAL, FIXED_PLACE, OTHER_PLACE, SlicePair, slice_pair
from pddnet.cli.main import main
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.worker.tasks import register


def _registered(pair: SlicePair, **more: Any) -> dict[str, Any]:
    return register(lambda fraction, stage: None, fixed=pair.fixed, moving=pair.moving, **more)


@pytest.fixture(scope="module")
def oblique() -> tuple[SlicePair, dict[str, Any]]:
    pair = slice_pair()
    maps = {"disk": {"fixed": pair.fixed_labels, "moving": pair.moving_labels}}
    wanted = {"warp": {"volume": pair.moving}, "warp_labels": {"disk": pair.moving_labels}, "evaluate": maps}
    return pair, _registered(pair, **wanted, inverse=True, jacobian=True)


def test_points_of_an_oblique_slice_move_within_its_plane_to_where_they_belong(oblique) -> None:
    pair, answer = oblique
    points, normal = pair.inner(), FIXED_PLACE.axes[:, 2]
    moved = sitk_points(sitk_field(answer["field"]), points)
    assert np.abs((moved - points) @ normal).max() < 1e-3
    errors = np.linalg.norm(moved - pair.truth(points), axis=1)
    assert np.median(errors) < 0.6
    assert np.percentile(errors, 90) < 1.5
    off = sitk_points(sitk_field(answer["field"]), points + 2.5 * normal)
    assert np.abs(off - moved - 2.5 * normal).max() < 1e-3  # beside the plane as in it
    assert answer["matrix"] is None and answer["error"] is None


def test_what_is_warped_is_what_simpleitk_warps(oblique) -> None:
    pair, answer = oblique
    transform = sitk_field(answer["field"])
    fixed = sitk_image(pair.fixed.array, pair.fixed.grid)
    for name, image, how in (
        ("warped", pair.moving, sitk.sitkLinear),
        ("warped_labels", pair.moving_labels, sitk.sitkNearestNeighbor),
    ):
        (found,) = answer[name].values()
        moving = sitk.Cast(sitk_image(image.array, image.grid), sitk.sitkFloat64)
        expected = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, how, float(image.array.min())))
        assert found.grid.same_as(pair.fixed.grid)
        assert found.array.dtype == image.array.dtype
        assert np.abs(found.array - expected).max() <= 0.51
    warped = answer["warped"]["volume"].array.astype(float)
    kept = (slice(None), slice(8, -8), slice(8, -8))
    assert np.corrcoef(warped[kept].ravel(), pair.fixed.array[kept].ravel())[0, 1] > 0.97


def test_dice_verdict_and_folding_are_told(oblique) -> None:
    pair, answer = oblique
    report, table = answer["report"], answer["evaluation"]["disk"]["table"]
    assert (report["dimension"], report["preset"], report["verdict"]["status"]) == (2, "2-D", "ok")
    assert report["jacobian"]["region"] == "fixed image"
    assert report["jacobian"]["folding_percent"] == 0.0
    assert table[0]["dice_before"] < 0.9 < 0.97 < table[0]["dice_after"]
    masks = [
        sitk_image((image.array == 1).astype(np.uint8), image.grid)
        for image in (pair.fixed_labels, answer["warped_labels"]["disk"])
    ]
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*masks)
    assert table[0]["dice_after"] == pytest.approx(overlap.GetDiceCoefficient(1), abs=2e-3)
    contours = [sitk.LabelContour(mask[:, :, 0], False) for mask in masks]  # of the plane, not the whole disk
    distances = sitk.HausdorffDistanceImageFilter()
    distances.Execute(*contours)
    assert table[0]["hd95_after"] <= distances.GetHausdorffDistance() + 1e-6
    assert table[0]["asd_after"] == pytest.approx(distances.GetAverageHausdorffDistance(), abs=0.2)
    assert table[0]["asd_after"] > 0.1


def test_the_inverse_leads_back_and_the_determinant_is_that_of_the_plane(oblique) -> None:
    pair, answer = oblique
    points = pair.inner()
    there = sitk_points(sitk_field(answer["field"]), points)
    back = sitk_points(sitk_field(answer["inverse"]), there)
    assert np.linalg.norm(back - points, axis=1).max() < 0.15
    grid = answer["field"].grid
    transform, axes = sitk_field(answer["field"]), answer["field"].grid.direction
    k, j, i = 1, grid.shape[1] // 2 + 4, grid.shape[2] // 2 - 6
    at = grid.index_to_point([i, j, k])
    slopes = [
        sitk_points(transform, at + grid.spacing[n] * axes[:, n])
        - sitk_points(transform, at - grid.spacing[n] * axes[:, n])
        for n in (0, 1)
    ]
    in_plane = np.array([slope[0] @ axes[:, :2] / (2 * grid.spacing[n]) for n, slope in enumerate(slopes)])
    assert answer["jacobian"].array[k, j, i] == pytest.approx(abs(np.linalg.det(in_plane)), abs=1e-3)
    assert answer["spread"].array.min() >= 0
    assert 0.1 < answer["spread"].array.max() < 20.0


def test_a_slice_of_another_tilted_plane_is_brought_over() -> None:
    pair = slice_pair(FIXED_PLACE, OTHER_PLACE)
    maps = {"disk": {"fixed": pair.fixed_labels, "moving": pair.moving_labels}}
    answer = _registered(pair, warp={"volume": pair.moving}, evaluate=maps)
    points = pair.inner()
    moved = sitk_points(sitk_field(answer["field"]), points)
    errors = np.linalg.norm(moved - pair.truth(points), axis=1)
    assert np.median(errors) < 0.6
    assert np.abs((moved - OTHER_PLACE.middle) @ OTHER_PLACE.axes[:, 2]).max() < 1e-3
    row = answer["evaluation"]["disk"]["table"][0]
    assert row["dice_before"] > 0.5 and row["dice_after"] > 0.97


def test_axial_slices_give_what_the_command_gives(tmp_path: Path) -> None:
    pair = slice_pair(AXIAL, AXIAL)
    for name in ("fixed", "moving"):
        image = getattr(pair, name)
        sitk.WriteImage(sitk_image(image.array, image.grid), str(tmp_path / f"{name}.nrrd"))
    paths = [str(tmp_path / name) for name in ("fixed.nrrd", "moving.nrrd", "t.h5")]
    assert main(["register", "--fixed", paths[0], "--moving", paths[1], "--output-transform", paths[2]]) == 0
    flat = sitk.ReadTransform(paths[2])
    points = pair.inner()
    expected = np.array([flat.TransformPoint(point) for point in points[:, :2].tolist()])
    found = sitk_points(sitk_field(_registered(pair)["field"]), points)
    assert np.abs(found[:, :2] - expected).max() < 1e-3


def test_it_starts_from_a_transform_of_space() -> None:
    """A shift along the plane that the search alone would hardly miss, and 9 mm across it, which the plane ignores."""
    pair = slice_pair()
    shift = 5.0 * FIXED_PLACE.axes[:, 0] - 4.0 * FIXED_PLACE.axes[:, 1]
    start = sitk.TranslationTransform(3, (shift + 9.0 * FIXED_PLACE.axes[:, 2]).tolist())
    answer = _registered(pair, initial_transform=start)
    assert answer["report"]["start"] == "given"
    points = pair.inner()
    moved = sitk_points(sitk_field(answer["field"]), points)
    assert np.median(np.linalg.norm(moved - pair.truth(points), axis=1)) < 0.6


def test_what_is_for_volumes_is_one_sentence() -> None:
    pair = slice_pair()
    with pytest.raises(InputError, match="transform type rigid, masks: only for volumes, and these are single slices"):
        _registered(pair, transform_type="rigid", fixed_mask=pair.fixed_labels)
    thick = Grid((20, 30, 30), (2.0, 2.0, 2.0), pair.fixed.grid.origin, pair.fixed.grid.direction)
    volume = Image(np.random.default_rng(0).integers(0, 99, thick.shape, np.int16), thick)
    with pytest.raises(InputError, match=r"fixed volume: this is a single slice.* and the moving volume is none"):
        register(lambda *_: None, fixed=pair.fixed, moving=volume)
    small = Image(pair.moving.array[:, :9], Grid((1, 9, 140), (1, 1, 1), (0, 0, 0), pair.moving.grid.direction))
    with pytest.raises(InputError, match="moving volume: the image has only 140 x 9 pixels"):
        register(lambda *_: None, fixed=pair.fixed, moving=small)
