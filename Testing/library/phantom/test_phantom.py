"""Virtual patients: the same patient on every grid, different patients, plausible anatomy; the sample pair on disk."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.paths import LIBRARY
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.phantom.phantom import LABELS, Patient, full_view, random_view, virtual_patient

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2, 3)
NUMBERS = {name: number for number, name in LABELS.items()}
# Millilitres: what adults have, widened for coarse voxels.
VOLUMES = {
    "liver": (900, 2600),
    "spleen": (60, 400),
    "right_kidney": (90, 300),
    "left_kidney": (90, 300),
    "stomach": (150, 800),
    "pancreas": (25, 130),
    "gallbladder": (10, 60),
    "aorta": (70, 220),
    "inferior_vena_cava": (40, 180),
    "right_psoas": (110, 450),
    "lungs": (1200, 4500),
    "vertebra_L2": (28, 95),
    "vertebra_T10": (18, 60),
    "discs": (50, 150),
}
# The label that a landmark lies in, or beside (the hilum is the fat at the kidney's mouth).
HOME = {
    **{f"{level}_body": f"vertebra_{level}" for level in ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")},
    **{f"{side}_renal_hilum": f"{side}_kidney" for side in ("right", "left")},
    **{f"{side}_kidney_{end}_pole": f"{side}_kidney" for side in ("right", "left") for end in ("upper", "lower")},
    "liver_dome": "liver",
    "liver_tip": "liver",
    "spleen_centre": "spleen",
    "celiac_origin": "aorta",
    "aortic_bifurcation": "aorta",
}


@pytest.fixture(scope="module")
def patients() -> dict[int, Patient]:
    """Some patients in the full view at 4 mm, by seed."""
    return {seed: virtual_patient(seed, full_view(seed, 4.0)) for seed in SEEDS}


def distance(labels: Image, name: str, point: np.ndarray) -> float:
    """Millimetres from a point (3,) to the nearest voxel centre of a structure."""
    index = np.argwhere(labels.array == NUMBERS[name])[:, ::-1]
    return float(np.linalg.norm(labels.grid.index_to_point(index) - point, axis=1).min())


def centroid(labels: Image, name: str) -> np.ndarray:
    """(3,) LPS mm: the middle of a structure."""
    return labels.grid.index_to_point(np.argwhere(labels.array == NUMBERS[name])[:, ::-1].mean(axis=0))


def overlap(first: Patient, second: Patient, name: str) -> float:
    """Dice of a structure, the second patient laid on the first by the middle of L2."""
    offset = second.landmarks["L2_body"] - first.landmarks["L2_body"]
    moved = second.labels.resample(first.labels.grid, sitk.TranslationTransform(3, offset.tolist()), labels=True)
    a, b = first.labels.array == NUMBERS[name], moved.array == NUMBERS[name]
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_seed_gives_the_same_voxels(patients: dict[int, Patient]) -> None:
    again = virtual_patient(1, full_view(1, 4.0))
    assert np.array_equal(again.image.array, patients[1].image.array)
    assert np.array_equal(again.labels.array, patients[1].labels.array)
    assert all(np.array_equal(point, patients[1].landmarks[name]) for name, point in again.landmarks.items())


def test_image_and_labels_have_the_promised_types(patients: dict[int, Patient]) -> None:
    patient = patients[0]
    assert patient.image.array.dtype == np.int16
    assert patient.labels.array.dtype == np.uint8
    assert patient.image.array.min() >= -1024
    assert patient.image.array.max() <= 2000
    assert patient.image.grid.same_as(patient.labels.grid)
    assert np.median(patient.image.array[:, 0]) == pytest.approx(-1000, abs=10)  # in front of the patient


def test_patients_differ_by_centimetres(patients: dict[int, Patient]) -> None:
    first = patients[0]
    for second in (patients[1], patients[2], patients[3]):
        assert 0.35 < overlap(first, second, "liver") < 0.93
        assert overlap(first, second, "left_kidney") < 0.9
        away = [
            np.linalg.norm(second.landmarks[n] - p - (second.landmarks["L2_body"] - first.landmarks["L2_body"]))
            for n, p in first.landmarks.items()
        ]
        assert 5 < np.median(away) < 60


def test_every_structure_is_in_the_full_view(patients: dict[int, Patient]) -> None:
    expected = set(LABELS) - {NUMBERS[f"vertebra_T{level}"] for level in (4, 5, 6)}  # above some patients' view
    for patient in patients.values():
        present = set(np.unique(patient.labels.array).tolist())
        assert expected <= present <= set(LABELS) | {0}


def test_organs_have_plausible_volumes(patients: dict[int, Patient]) -> None:
    for seed, patient in patients.items():
        voxel = np.prod(patient.labels.grid.spacing) / 1000
        for name, (low, high) in VOLUMES.items():
            volume = (patient.labels.array == NUMBERS[name]).sum() * voxel
            assert low < volume < high, f"seed {seed}: {name} has {volume:.0f} ml"


def test_tissues_have_plausible_values(patients: dict[int, Patient]) -> None:
    for patient in patients.values():
        shown = ("lungs", "liver", "vertebra_L3", "aorta")
        median = {name: np.median(patient.image.array[patient.labels.array == NUMBERS[name]]) for name in shown}
        assert median["lungs"] < -750
        assert 40 < median["liver"] < 130
        assert 150 < median["vertebra_L3"] < 600
        assert median["aorta"] == pytest.approx(150 if median["liver"] > 85 else 42, abs=20)


def test_landmarks_lie_in_their_organs(patients: dict[int, Patient]) -> None:
    for seed, patient in patients.items():
        assert set(patient.landmarks) == set(HOME)
        for name, point in patient.landmarks.items():
            limit = 14 if name.endswith("hilum") else 4
            away = distance(patient.labels, HOME[name], point)
            assert away <= limit, f"seed {seed}: {name} is {away:.1f} mm from {HOME[name]}"


def test_anatomy_is_the_right_way_round(patients: dict[int, Patient]) -> None:
    for patient in patients.values():
        marks = patient.landmarks
        assert marks["right_renal_hilum"][0] < marks["L2_body"][0] < marks["left_renal_hilum"][0]
        assert marks["L5_body"][2] < marks["L1_body"][2] < marks["T10_body"][2] < marks["liver_dome"][2]
        assert marks["celiac_origin"][1] < marks["T12_body"][1]  # the aorta lies in front of the spine
        assert marks["liver_tip"][0] < marks["spleen_centre"][0]


def test_any_grid_shows_the_same_patient(patients: dict[int, Patient]) -> None:
    patient = patients[3]
    angle = np.radians(14)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, -1]])
    direction = turn[:, [2, 0, 1]]  # flipped, and the axes stored in another order
    size, spacing = np.array([90, 120, 96]), np.array([5.0, 3.0, 3.0])
    origin = patient.image.grid.centre - direction @ ((size - 1) / 2 * spacing)
    other = virtual_patient(3, Grid(tuple(size[::-1]), spacing, origin, direction))
    laid = patient.labels.resample(other.labels.grid, labels=True)
    assert (laid.array == other.labels.array).mean() > 0.97
    for name in ("liver", "right_kidney", "spleen", "vertebra_L1"):
        a, b = laid.array == NUMBERS[name], other.labels.array == NUMBERS[name]
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.83, name
        assert np.linalg.norm(centroid(patient.labels, name) - centroid(other.labels, name)) < 0.7, name
    assert all(np.array_equal(point, patient.landmarks[name]) for name, point in other.landmarks.items())


@pytest.mark.slow
def test_random_views_differ_and_hold_the_middle_of_the_abdomen() -> None:
    views = [random_view(seed, patient=seed % 3) for seed in range(24)]
    assert any(not np.allclose(np.abs(view.direction).max(axis=0), 1) for view in views)  # oblique
    assert any((np.sign(np.linalg.det(view.direction)) < 0) for view in views)  # left-handed
    assert any(view.spacing.max() > 1.5 * view.spacing.min() for view in views)
    for seed, view in enumerate(views):
        landmarks = virtual_patient(seed % 3, Grid((2, 2, 2), np.ones(3), view.centre, np.eye(3))).landmarks
        assert view.contains(np.stack([landmarks[name] for name in ("T12_body", "L1_body", "celiac_origin")])).all()


def test_the_sample_pair_on_disk() -> None:
    folder = LIBRARY / "Resources" / "SampleData"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
    names = {int(number): name for number, name in json.loads((folder / "labels.json").read_text()).items()}
    assert names == LABELS
    grids = []
    for name in ("fixed", "moving"):
        image = Image.from_sitk(sitk.ReadImage(str(folder / f"{name}.nii.gz")))
        labels = Image.from_sitk(sitk.ReadImage(str(folder / f"{name}_labels.nii.gz")))
        assert image.grid.same_as(labels.grid)
        assert set(np.unique(labels.array)) <= set(LABELS) | {0}
        with (folder / f"{name}_landmarks.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) >= 15
        for row in rows:
            point = np.array([float(row[axis]) for axis in "xyz"])
            assert image.grid.contains(point)
            limit = 14 if row["name"].endswith("hilum") else 5
            assert distance(labels, HOME[row["name"]], point) <= limit, row["name"]
        grids.append(image.grid)
    fixed, moving = grids
    assert not fixed.same_as(moving)
    assert np.allclose(fixed.direction, np.eye(3))
    assert np.abs(moving.direction - np.diag([1, 1, -1])).max() > 0.15  # oblique
    assert np.linalg.det(moving.direction) < 0
