"""Pairs of one patient: the truth is consistent with the scans, and no scan both chooses and is held back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from benchmarks import same_patient_scans
from benchmarks.same_patient_pairs import LUNG, PAIRS, SamePatient, held_back_scans
from benchmarks.same_patient_scans import VIEW_MARGIN, Truth, make
from benchmarks.splits import splits
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.phantom.phantom import full_view, virtual_patient

STILL = {"amplitude_mm": 0.0, "random_mm": 0.0, "shift_mm": (0.0, 0.0, 0.0)}
SLAB = ((0.0, 1.0), (0.0, 1.0), (0.3, 0.6))


@pytest.fixture(scope="module")
def scan() -> Image:
    """The upper part of a virtual patient: the lungs, as far as they are seen, and the liver."""
    view, count = full_view(3, 6.0), 34
    first = view.shape[0] - count
    upper = Grid((count, *view.shape[1:]), view.spacing, view.index_to_point([0, 0, first]), view.direction)
    return virtual_patient(3, upper).image


@pytest.fixture(autouse=True)
def folder(scan: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only scan of a person is a virtual patient's."""
    sitk.WriteImage(scan.to_sitk(), str(tmp_path / "ct.nii.gz"))
    monkeypatch.setattr(same_patient_scans, "real_folder", lambda name: tmp_path)


def _values(image: Image, points: np.ndarray) -> np.ndarray:
    index = np.moveaxis(image.grid.point_to_index(points), -1, 0)[::-1]
    return ndimage.map_coordinates(image.array.astype(float), index, order=1, mode="nearest")


def _alike(fixed: Image, moving: Image, truth: Truth, shift: np.ndarray | float = 0.0) -> float:
    return float(np.corrcoef(_values(fixed, truth.fixed), _values(moving, truth.moving + shift))[0, 1])


def test_the_splits_are_disjoint_and_complete() -> None:
    split = splits("same_patient")
    tune, held_back = set(split["tune"]), set(split["held_back"])
    assert not tune & held_back
    assert tune | held_back == {pair.scan for pair in PAIRS}
    assert held_back == held_back_scans()
    assert {pair.scan for pair in PAIRS if pair.held_back} == held_back
    assert len(tune) + len(held_back) == len(split["tune"]) + len(split["held_back"])


def test_every_pair_has_a_name_of_its_own() -> None:
    keys = [pair.key for pair in PAIRS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("sliding", [False, True])
def test_the_motion_and_its_inverse_lead_back(scan: Image, sliding: bool) -> None:
    pair = SamePatient(scan="one", amplitude_mm=15, sliding=sliding, degrees=6)
    patient = same_patient_scans._Patient.of(scan, pair)
    motion = same_patient_scans._Motion.of(patient, pair, np.random.default_rng(pair.seed))
    points = patient.body.grid.points()[patient.body.array][::37]
    there = motion.forward(points)
    gap = np.linalg.norm(motion.back(there) - points, axis=-1)
    assert np.percentile(gap, 99) < same_patient_scans.INVERSE_ERROR_MM
    moved = there - points - np.array(pair.shift_mm)
    assert np.linalg.norm(moved, axis=-1).max() > 12.0  # the breathing, the turn


@pytest.mark.slow
@pytest.mark.parametrize(
    "pair",
    [
        SamePatient(scan="one", amplitude_mm=12, noise_hu=5),
        SamePatient(scan="one", amplitude_mm=10, degrees=6, slice_mm=10, pixel_mm=6, noise_hu=5),
        SamePatient(scan="one", kind="slab", box=SLAB, amplitude_mm=8, noise_hu=5),
        SamePatient(scan="one", kind=LUNG, amplitude_mm=8, sliding=True, noise_hu=5),
    ],
    ids=lambda pair: pair.key,
)
def test_both_scans_show_the_same_at_the_points_of_the_truth(pair: SamePatient) -> None:
    fixed, moving, truth = make(pair)
    assert len(truth.fixed) == len(truth.moving) == len(truth.lung) > 300
    index = moving.grid.point_to_index(truth.moving)
    assert (index >= VIEW_MARGIN).all() and (index <= moving.grid.size - 1 - VIEW_MARGIN).all()
    assert fixed.grid.contains(truth.fixed).all()
    at_the_truth = _alike(fixed, moving, truth)
    assert at_the_truth > 0.85
    for shift in ([12.0, 0, 0], [0, -12.0, 0], [0, 0, 14.0]):
        assert _alike(fixed, moving, truth, np.array(shift)) < at_the_truth - 0.02


@pytest.mark.slow
def test_a_pair_is_the_same_every_time() -> None:
    pair = SamePatient(scan="one", kind="slab", box=SLAB, **STILL)
    (_, moving, truth), (_, again, same) = make(pair), make(pair)
    assert np.array_equal(again.array, moving.array)
    assert np.array_equal(same.moving, truth.moving)


@pytest.mark.slow
def test_a_crop_of_a_lung_shows_one_lung_and_measures_in_it(scan: Image) -> None:
    crops = {side: make(SamePatient(scan="one", kind=LUNG, side=side, **STILL)) for side in ("right", "left")}
    right, left = (crops[side][2].fixed[:, 0].mean() for side in ("right", "left"))
    assert right < left  # LPS
    for fixed, moving, truth in crops.values():
        assert truth.lung.mean() > 0.9
        assert np.allclose(truth.fixed, truth.moving, rtol=0, atol=1e-6)
        assert max(fixed.grid.extent[0], moving.grid.extent[0]) < 0.7 * scan.grid.extent[0]
        assert not fixed.grid.same_as(moving.grid)


def test_without_motion_and_noise_the_second_scan_is_the_first(scan: Image) -> None:
    pair = SamePatient(scan="one", **STILL, noise_hu=0)
    fixed, moving, truth = make(pair)
    assert pair.identical and pair.key == "one whole identical"
    assert np.array_equal(fixed.array, moving.array)
    assert np.allclose(truth.fixed, truth.moving, rtol=0, atol=1e-6)


def test_no_point_is_measured_in_what_the_lesion_replaced() -> None:
    pair = SamePatient(scan="one", kind="slab", box=SLAB, lesion_mm=30, **STILL, noise_hu=1)
    fixed, moving, truth = make(pair)
    centre = same_patient_scans._Patient.of(fixed, pair)
    assert centre.crops
    both = fixed.grid.points()[fixed.grid.contains(fixed.grid.points())]
    replaced = both[np.abs(_values(moving, both) - 10) < 4]
    inner = replaced[np.linalg.norm(replaced - np.median(replaced, axis=0), axis=1) < 20]
    middle = inner.mean(0)
    assert len(inner) > 100
    assert np.linalg.norm(truth.fixed - middle, axis=1).min() > 18.0


def test_the_lung_keeps_its_mass() -> None:
    """A lung of -800 HU is a fifth of tissue, which thins out as the lung widens; other tissue stays."""
    pair = SamePatient(scan="one", **STILL)
    grid = full_view(3, 8.0)
    lattice = grid.isotropic(same_patient_scans.LATTICE_MM, 8.0)
    u = np.moveaxis(0.1 * (lattice.points() - grid.centre), -1, 0)
    motion = same_patient_scans._Motion(u, lattice, np.eye(3), np.zeros(3), np.array(pair.shift_mm))
    hu = np.full(grid.shape, -800.0)
    hu[:, :4] = 40.0
    changed = same_patient_scans._lung_density(hu, grid, motion)
    assert changed[4:-4, 8:-4, 4:-4] == pytest.approx(200 / 1.1**3 - 1000, abs=0.5)
    assert np.array_equal(changed[:, :4], hu[:, :4])
