"""Two scans of one patient: no stage leaves the truth, identical scans stay, and who counts as one patient."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import one_patient
from helpers.geometry import rotation, sitk_image
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS
from pddnet.core.result import Registration
from pddnet.matching import deformation
from pddnet.phantom.phantom import full_view, virtual_patient
from pddnet.pipeline import register

pytestmark = pytest.mark.slow

MOST_MM = 0.5  # in the mean
UNGUARDED_MM = 0.6  # without the guard, half of a slab of the virtual patient shows nothing but noise
SAMPLED_MM = 0.1  # error of the true transform itself, once it is sampled on the lattices of a run
WITHOUT_NETWORK = dataclasses.replace(PRESETS["followup"], semantic=0.0)


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("preset", ["default", "mind", "followup", "breathing"])
@pytest.mark.parametrize("part", one_patient.PARTS)
def test_from_the_truth_no_stage_adds_half_a_millimetre(
    part: str, preset: str, guard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the guard, which leaves out what does not help, is deceived by a resemblance that always rises."""
    fixed, moving = one_patient.pair(part)
    if not guard:
        calls, real = itertools.count(), deformation.resemblance
        monkeypatch.setattr(deformation, "resemblance", lambda *given: real(*given) + 0.05 * next(calls))
    found = register(fixed, moving, preset, initial_transform=one_patient.truth(), device="cpu")
    assert guard or not found.warnings
    errors = one_patient.errors_mm(found.field, fixed, moving)
    assert len(errors) > 500
    assert errors.mean() < (MOST_MM if guard else UNGUARDED_MM) + SAMPLED_MM


@pytest.mark.parametrize("part", one_patient.PARTS)
def test_from_a_start_beside_the_truth_it_comes_nearer(part: str) -> None:
    fixed, moving = one_patient.pair(part)
    start = sitk.TranslationTransform(3, (np.array(one_patient.TRUTH.shift) + [2.0, 1.5, -2.0]).tolist())
    found = register(fixed, moving, WITHOUT_NETWORK, initial_transform=start, device="cpu")
    errors = one_patient.errors_mm(found.field, fixed, moving)
    points = found.fixed_grid.points().reshape(-1, 3)
    before = np.linalg.norm(one_patient.TRUTH(points) - points - start.GetOffset(), axis=-1)
    assert before.mean() > 3.0
    assert errors.mean() < 1.0
    assert not found.warnings


def _moved(found: Registration, image: Image) -> np.ndarray:
    """(N,) mm by which the points of the body's middle are moved."""
    points = image.grid.index_to_point(np.random.default_rng(0).uniform(0.1, 0.9, (500, 3)) * (image.grid.size - 1))
    return np.linalg.norm(found.field.transform_points(points) - points, axis=-1)


@pytest.mark.parametrize("preset", ["default", "mind", "followup", "breathing"])
def test_a_scan_lies_on_itself(preset: str) -> None:
    scan = one_patient.pair("vertebra")[1]
    found = register(scan, scan, preset, device="cpu")
    assert _moved(found, scan).mean() < 0.05
    assert found.verdict.status == "ok"


def test_a_resampled_copy_lies_on_its_original() -> None:
    scan = one_patient.pair("vertebra")[1]
    direction, spacing = rotation(5, -8, 6) @ np.diag([1.0, -1.0, 1.0]), np.array([2.1, 3.2, 1.9])
    size = np.round(scan.grid.extent / spacing).astype(int)
    grid = Grid(tuple(size[::-1]), spacing, scan.grid.centre - direction @ ((size - 1) / 2 * spacing), direction)
    blank = sitk_image(np.zeros(grid.shape, np.float32), grid)
    source = sitk_image(scan.array.astype(np.float32), scan.grid)
    array = sitk.GetArrayFromImage(sitk.Resample(source, blank, sitk.Transform(), sitk.sitkLinear, -1024.0))
    copy = Image(np.rint(array).astype(np.int16), grid)
    found = register(copy, scan, WITHOUT_NETWORK, device="cpu")
    points = grid.index_to_point(np.random.default_rng(0).uniform(0.15, 0.85, (500, 3)) * (grid.size - 1))
    points = points[scan.grid.contains(points)]
    assert np.linalg.norm(found.field.transform_points(points) - points, axis=-1).mean() < 0.3


def test_how_a_scan_is_stored_does_not_matter() -> None:
    """One scan with reversed axes, the other with axes in another order."""
    fixed, moving = one_patient.pair("vertebra")
    start = one_patient.truth()
    found = register(fixed, moving, WITHOUT_NETWORK, initial_transform=start, device="cpu")
    again = register(
        _stored(fixed, (0, 1, 2), (True, True, True)),
        _stored(moving, (2, 0, 1), (False, True, False)),
        WITHOUT_NETWORK,
        initial_transform=start,
        device="cpu",
    )
    points = fixed.grid.index_to_point(np.random.default_rng(0).uniform(0.1, 0.9, (300, 3)) * (fixed.grid.size - 1))
    moved, expected = again.field.transform_points(points), found.field.transform_points(points)
    assert np.abs(moved - expected).max() < 0.1
    assert np.abs(expected - points).mean() > 5.0


def _stored(image: Image, order: tuple[int, int, int], reversed_axes: tuple[bool, bool, bool]) -> Image:
    """The same physical content by ITK: axes in another order, then some reversed."""
    scan = sitk.PermuteAxes(sitk_image(image.array, image.grid), order)
    flipped = sitk.Flip(scan, reversed_axes)
    assert sitk.GetArrayFromImage(flipped).size == image.array.size
    return Image.from_sitk(flipped)


def test_two_scans_of_a_patient_take_the_route_for_one_and_two_patients_do_not() -> None:
    fixed, moving = one_patient.pair("vertebra")
    fast = dataclasses.replace(PRESETS["mind"], stages=PRESETS["fast"].stages, refinement=None)
    one = register(fixed, moving, fast, initial_transform=one_patient.truth(), device="cpu")
    assert "detail" in one.seconds
    least = PRESETS["mind"].one_patient.least_resemblance
    assert one.verdict.measures["resemblance_before"] > least
    views = (full_view(3, 5.0), full_view(8, 5.0))
    patients = [virtual_patient(seed, view).image for seed, view in zip((3, 8), views, strict=True)]
    two = register(*patients, fast, device="cpu")
    assert "detail" not in two.seconds
    assert two.verdict.measures["resemblance_before"] < least


def test_labels_that_guide_decide_unless_the_preset_knows_that_it_is_one_patient() -> None:
    fixed, moving = one_patient.pair("vertebra")
    bones = {
        f"{name}_labels": Image((scan.array > 200).astype(np.uint8), scan.grid)
        for name, scan in (("fixed", fixed), ("moving", moving))
    }
    start = one_patient.truth()
    asking = dataclasses.replace(PRESETS["mind"], stages=PRESETS["fast"].stages, refinement=None)
    for preset, taken in ((asking, False), (WITHOUT_NETWORK, True)):
        found = register(fixed, moving, preset, initial_transform=start, device="cpu", **bones)
        assert ("detail" in found.seconds) == taken
