"""Whole linear registrations in numbers: known motions of virtual patients and real scans, of all or of one bone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.validation_pairs import data_folder
from helpers import samples
from helpers.geometry import rotation
from pddnet.core.affine import Affine
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.masks import body_mask
from pddnet.core.presets import PRESETS
from pddnet.core.result import Registration
from pddnet.io.volumes import read_labels, read_volume
from pddnet.matching import linear_alignment
from pddnet.phantom.labels import DISCS, FIRST_VERTEBRA, LEFT_HIP, RIBS, RIGHT_HIP, SACRUM
from pddnet.phantom.phantom import full_view, virtual_patient
from pddnet.pipeline import register

MIND = PRESETS["mind"]
SPINE = (*range(FIRST_VERTEBRA, FIRST_VERTEBRA + 14), DISCS, SACRUM)
SKELETON = (*SPINE, RIBS, RIGHT_HIP, LEFT_HIP)
OBLIQUE = rotation(-7.0, 11.0, 5.0) @ np.diag([1.0, -1.0, 1.0])  # left-handed
SPACING = np.array([2.6, 3.0, 3.8])


def _motion(degrees: tuple[float, float, float], shift: tuple[float, float, float], centre: np.ndarray) -> Affine:
    """The rigid map of fixed to moving points that turns about `centre`."""
    turn = rotation(*degrees)
    return Affine(turn, centre + shift - turn @ centre)


def _inverse(affine: Affine) -> Affine:
    back = np.linalg.inv(affine.matrix)
    return Affine(back, -back @ affine.shift)


def _around(grid: Grid, centre: np.ndarray) -> Grid:
    """An oblique, left-handed, anisotropic grid about as large as another one."""
    size = np.ceil(grid.extent / SPACING).astype(int)
    return Grid(tuple(size[::-1]), SPACING, centre - OBLIQUE @ ((size - 1) / 2 * SPACING), OBLIQUE)


def _rescanned(image: Image, back: Callable[[np.ndarray], np.ndarray], grid: Grid) -> Image:
    """Another scan of the patient after a motion, by SimpleITK, with its own noise; back: moving to fixed points."""
    nodes = grid.isotropic(5.0, 15.0)
    points = nodes.points()
    field = DisplacementField((back(points) - points).astype(np.float32), nodes)
    blank = Image(np.zeros(grid.shape, np.int16), grid).to_sitk()
    moved = sitk.GetArrayFromImage(sitk.Resample(image.to_sitk(), blank, field.to_sitk(), sitk.sitkLinear, -1024.0))
    noise = np.random.default_rng(9).normal(0, 20, grid.shape) * (moved > -1024)
    return Image((moved + noise).astype(np.float32), grid)


def _errors(found: Registration, true: Affine, points: np.ndarray) -> tuple[float, float]:
    """The mean distance in mm at points (N, 3), and the angle in degrees, between the result and the truth."""
    assert found.linear is not None
    gap = np.linalg.norm(found.linear.affine.points(points) - true.points(points), axis=-1).mean()
    u, _, v = np.linalg.svd(found.linear.affine.matrix @ np.linalg.inv(true.matrix))
    return float(gap), float(np.degrees(np.arccos(np.clip((np.trace(u @ v) - 1) / 2, -1, 1))))


@pytest.fixture(scope="module")
def patient() -> tuple[Image, Image]:
    """The scan of a virtual patient, and its label map."""
    painted = virtual_patient(3, full_view(3, 3.0))
    return painted.image, painted.labels


def _inside(labels: Image, which: tuple[int, ...]) -> np.ndarray:
    return np.isin(labels.array, which)


def _some(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """(N, 3) LPS mm: some of the voxels."""
    return grid.index_to_point(np.argwhere(mask)[::37, ::-1].astype(float))


MOTIONS = (((5.0, -8.0, 12.0), (17.0, -13.0, 20.0)), ((-15.0, 0.0, 0.0), (-30.0, 0.0, 0.0)))


@pytest.mark.slow
@pytest.mark.parametrize(("motion", "part"), list(zip(MOTIONS, (slice(None), slice(20, 100)), strict=True)))
def test_a_rigid_motion_is_found_below_half_a_millimetre(
    patient: tuple[Image, Image], motion: tuple[tuple[float, float, float], ...], part: slice
) -> None:
    whole = patient[0]
    true = _motion(*motion, whole.grid.centre)
    moving = _rescanned(whole, _inverse(true).points, _around(whole.grid, true.points(whole.grid.centre)))
    array = whole.array[part]
    first = whole.grid.index_to_point([0, 0, part.start or 0])
    fixed = Image(array, dataclasses.replace(whole.grid, shape=array.shape, origin=first))
    found = register(fixed, moving, MIND, transform_type="rigid")
    gap, angle = _errors(found, true, fixed.grid.corners())
    assert gap < 0.5
    assert angle < 0.2
    assert found.verdict.status == "ok"
    assert found.verdict.measures["folding_percent"] == 0


@pytest.mark.slow
def test_a_scale_is_found_to_half_a_percent(patient: tuple[Image, Image]) -> None:
    """Also where there is none."""
    fixed = patient[0]
    for scale in (1.0, 1.06):
        centre, turn = fixed.grid.centre, rotation(4.0, -5.0, 6.0) * scale
        true = Affine(turn, centre + [8.0, -11.0, 9.0] - turn @ centre)
        moving = _rescanned(fixed, _inverse(true).points, _around(fixed.grid, true.points(centre)))
        found = register(fixed, moving, MIND, transform_type="similarity")
        assert found.linear is not None
        assert found.linear.scaling == pytest.approx(scale, abs=0.005)
        assert _errors(found, true, fixed.grid.corners())[0] < 1.0


def _bone_moves(labels: Image, which: tuple[int, ...]) -> tuple[Affine, Callable[[np.ndarray], np.ndarray]]:
    """A bone's motion, and the map of moving to fixed points that bends towards another motion outside the bone."""
    mask = _inside(labels, which)
    centre = labels.grid.index_to_point(np.argwhere(mask)[:, ::-1].mean(0))
    bone, rest = (
        _motion((4.0, -6.0, 5.0), (9.0, -6.0, 12.0), centre),
        _motion((2.0, -4.0, 3.0), (4.0, -2.0, 5.0), centre),
    )
    apart = ndimage.distance_transform_edt(~mask, sampling=labels.grid.spacing[::-1])

    def back(points: np.ndarray) -> np.ndarray:
        a, b = _inverse(bone).points(points), _inverse(rest).points(points)
        index = labels.grid.point_to_index(a).reshape(-1, 3).T[::-1]
        mm = ndimage.map_coordinates(apart, index, order=1, mode="nearest").reshape(points.shape[:-1])
        weight = np.clip((mm - 4.0) / 25.0, 0, 1)[..., None]
        x, y, z = np.moveaxis((points - centre) / 60.0, -1, 0)
        waves = 4.0 * np.stack([np.sin(y + 0.3), np.sin(z - 0.5), np.cos(x + 1.0)], -1)
        return (1 - weight) * a + weight * (b + waves)

    return bone, back


@pytest.mark.slow
@pytest.mark.parametrize("masks", ["fixed", "both"])
def test_a_mask_of_a_bone_gives_the_motion_of_the_bone(patient: tuple[Image, Image], masks: str) -> None:
    """The rest of the body is bent, and moves by 9 mm otherwise."""
    fixed, labels = patient
    hip = (RIGHT_HIP,)
    true, back = _bone_moves(labels, hip)
    moving = _rescanned(fixed, back, _around(fixed.grid, fixed.grid.centre))
    mask = Image(_inside(labels, hip).astype(np.uint8), fixed.grid)
    moved = None
    if masks == "both":
        index = fixed.grid.point_to_index(back(moving.grid.points())).reshape(-1, 3).T[::-1]
        array = ndimage.map_coordinates(mask.array, index, order=0).reshape(moving.grid.shape)
        moved = Image(array, moving.grid)
    found = register(fixed, moving, MIND, transform_type="rigid", fixed_mask=mask, moving_mask=moved)
    gap, angle = _errors(found, true, _some(mask.array > 0, fixed.grid))
    assert gap < 0.5
    assert angle < 0.5


def _breathing(fixed: Image, labels: Image, true: Affine) -> Callable[[np.ndarray], np.ndarray]:
    """Moving to fixed points: what lies inside, between the skeleton and the skin, has moved by up to 18 mm besides."""
    held = _inside(labels, SKELETON) | ~body_mask(fixed).array
    apart = ndimage.distance_transform_edt(~held, sampling=labels.grid.spacing[::-1])

    def back(points: np.ndarray) -> np.ndarray:
        rigid = _inverse(true).points(points)
        index = labels.grid.point_to_index(rigid).reshape(-1, 3).T[::-1]
        mm = ndimage.map_coordinates(apart, index, order=1, mode="nearest").reshape(points.shape[:-1])
        weight = np.clip((mm - 6.0) / 30.0, 0, 1)[..., None]
        return rigid + weight**2 * (3 - 2 * weight) * np.array([2.5, -7.0, 17.0])

    return back


@pytest.mark.slow
def test_a_rigid_result_follows_the_spine_where_the_organs_breathe(patient: tuple[Image, Image]) -> None:
    fixed, labels = patient
    true = _motion((3.0, -4.0, 5.0), (8.0, -6.0, 10.0), fixed.grid.centre)
    moving = _rescanned(fixed, _breathing(fixed, labels, true), _around(fixed.grid, true.points(fixed.grid.centre)))
    found = register(fixed, moving, MIND, transform_type="rigid")
    gap, angle = _errors(found, true, _some(_inside(labels, SPINE), fixed.grid))
    assert gap < 1.0
    assert angle < 0.5


REAL = data_folder()


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="no folder of real scans (PDDNET_DATA) here")
def test_real_noise_and_texture_are_no_harder() -> None:
    """A turned copy of an abdomen, and in it the hip alone."""
    folder = Path(str(REAL)) / "ct" / "ts_s0009"
    if not folder.is_dir():
        pytest.skip("the scan is not among the real ones here")
    fixed, _ = read_volume(folder / "ct.nii.gz")
    true = _motion((7.0, -6.0, 9.0), (12.0, -17.0, 21.0), fixed.grid.centre)
    moving = _rescanned(fixed, _inverse(true).points, _around(fixed.grid, true.points(fixed.grid.centre)))
    gap, angle = _errors(register(fixed, moving, MIND, transform_type="rigid"), true, fixed.grid.corners())
    assert gap < 0.5
    assert angle < 0.1
    labels, _ = read_labels(folder / "labels.nii.gz", fixed.grid)
    hip = Image((labels.array == 29).astype(np.uint8), fixed.grid)
    found = register(fixed, moving, MIND, transform_type="rigid", fixed_mask=hip)
    gap, angle = _errors(found, true, _some(hip.array > 0, fixed.grid))
    assert gap < 0.5
    assert angle < 0.5


# --- what does not need a whole patient ---


def test_a_linear_run_replaces_the_stages() -> None:
    seen: list[str] = []
    found = register(
        *samples.small_pair(), "fast", transform_type="rigid", progress=lambda _, stage: seen.append(stage)
    )
    assert list(dict.fromkeys(seen)) == ["prepare", "structures", "align", "refine", "finish"]
    assert (found.transform_type, found.preset, found.inverse_consistency) == ("rigid", "fast", None)
    points = samples.FIXED.centre + np.array([[0.0, 0, 0], [12, -7, 5], [-9, 11, -14]])
    assert found.linear is not None
    expected = found.linear.affine.points(points)
    assert np.abs(expected - points - samples.SHIFT).max() < 0.6
    assert np.abs(found.field.transform_points(points) - expected).max() < 1e-3
    back, residual = found.inverse(samples.MOVING)
    assert np.abs(back.transform_points(expected) - points).max() < 1e-3
    assert residual == 0


def test_without_alignment_it_refines_where_the_scans_lie() -> None:
    """A start that is given is not doubted: from half a metre away nothing is found, and nothing changed."""
    fixed, moving = samples.small_pair()
    away = sitk.TranslationTransform(3, (500.0, 0.0, 0.0))
    found = register(fixed, moving, "mind", transform_type="rigid", initial_transform=away)
    assert found.linear is not None
    assert found.linear.translation_mm == pytest.approx([500.0, 0, 0], abs=1e-3)
    assert found.verdict.status == "failed"
    near = register(fixed, moving, "mind", transform_type="rigid", align=False)
    assert near.linear is not None
    assert np.abs(near.linear.translation_mm - samples.SHIFT).max() < 0.6


def test_an_initial_transform_gives_its_linear_part() -> None:
    """A bent one, too: what is refined is the nearest map of the kind."""
    fixed, moving = samples.small_pair()
    grid = fixed.grid.isotropic(6.0, 40.0)
    points = grid.points()
    bent = np.array([9.0, -11.0, 6.0]) + 2.0 * np.sin(points[..., [1, 2, 0]] / 9.0)
    start = DisplacementField(bent.astype(np.float32), grid).to_sitk()
    found = register(fixed, moving, "mind", transform_type="rigid", initial_transform=start)
    assert found.linear is not None
    assert np.abs(found.linear.translation_mm - samples.SHIFT).max() < 0.6
    assert found.linear.affine.matrix @ found.linear.affine.matrix.T == pytest.approx(np.eye(3), abs=1e-9)


def test_what_resembles_less_than_the_start_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As between patients of another shape, whose outlines fit better than their organs."""
    fixed, moving = samples.small_pair()
    away = Affine(np.eye(3), samples.SHIFT + [9.0, 0.0, 0.0])
    monkeypatch.setattr(linear_alignment, "refine_linear", lambda *_: away)
    start = sitk.TranslationTransform(3, samples.SHIFT.tolist())
    found = register(fixed, moving, "mind", transform_type="rigid", initial_transform=start)
    assert found.linear is not None
    assert found.linear.translation_mm == pytest.approx(samples.SHIFT, abs=1e-3)
