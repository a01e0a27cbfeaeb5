"""The bundled network on patients that it never saw, and registration where it is led astray: MIND still matches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import find_preset
from pddnet.evaluation.metrics import dice, tre
from pddnet.features import semantic_net
from pddnet.features.label_table import NUMBER, structure_of
from pddnet.matching import affine_search
from pddnet.phantom import phantom as cohort
from pddnet.pipeline import register
from pddnet.tensor.scan import prepare

pytestmark = pytest.mark.slow

SEEDS = (71, 72)  # no patient of the training


@pytest.fixture(scope="module")
def patients() -> tuple[cohort.Patient, cohort.Patient]:
    fixed, moving = (cohort.virtual_patient(seed, cohort.full_view(seed, 4.0)) for seed in SEEDS)
    return fixed, moving


def _found(image: Image) -> tuple[np.ndarray, Grid]:
    """The most likely structure of every voxel of the body."""
    scan = prepare(image, semantic_net.SEMANTIC_SPACING_MM, torch.device("cpu"))
    lattice = scan.box.isotropic(semantic_net.SEMANTIC_SPACING_MM)
    values = scan.warped(lattice, Affine.identity()).values
    probabilities = semantic_net.probabilities(semantic_net.load(), values) * (values[1] > 0.5)
    return probabilities.argmax(0).numpy(), lattice


def _truth(labels: Image, structure: str, lattice: Grid) -> np.ndarray:
    numbers = [number for number, name in cohort.LABELS.items() if structure_of(name) == structure]
    return np.isin(labels.resample(lattice, labels=True).array, numbers)


@pytest.mark.parametrize("mirrored", [False, True])
def test_large_organs_are_found_however_the_scan_is_stored(patients: tuple, mirrored: bool) -> None:
    image = patients[0].image
    if mirrored:
        grid = image.grid
        flipped = Grid(
            grid.shape, grid.spacing, grid.index_to_point([0, grid.size[1] - 1, 0]), grid.direction * [1, -1, 1]
        )
        image = Image(image.array[:, ::-1], flipped)
    found, lattice = _found(image)
    for structure, least in {"liver": 0.9, "lung": 0.9, "spleen": 0.75, "kidney": 0.65, "hip": 0.7}.items():
        overlap = dice(found == NUMBER[structure], _truth(patients[0].labels, structure, lattice))
        assert overlap > least, (structure, overlap)


def test_a_kidney_that_is_missing_is_not_found(patients: tuple) -> None:
    patient = patients[0]
    number = next(number for number, name in cohort.LABELS.items() if name == "left_kidney")
    gone = patient.labels.array == number
    removed = Image(np.where(gone, -100, patient.image.array).astype(np.int16), patient.image.grid)
    before, after = (_found(image)[0] == NUMBER["kidney"] for image in (patient.image, removed))
    place = Image(gone.astype(np.uint8), patient.image.grid).resample(_found(removed)[1], labels=True).array > 0
    assert before[place].mean() > 0.6
    assert after[place].mean() < 0.1


@pytest.mark.parametrize("guided", [False, True])
def test_structures_find_the_place_where_the_search_goes_wrong(
    patients: tuple, monkeypatch: pytest.MonkeyPatch, guided: bool
) -> None:
    """Label maps that guide bring codes of their own, before the network's."""
    fixed, moving = patients
    wrong = np.array([0.0, 20.0, 260.0])
    monkeypatch.setattr(affine_search, "best_translations", lambda *given: [wrong])
    affine_only = dataclasses.replace(find_preset("default"), stages=(), refinement=None, one_patient=None)
    guides = {"fixed_labels": fixed.labels, "moving_labels": moving.labels} if guided else {}
    names = sorted(fixed.landmarks.keys() & moving.landmarks.keys())
    points = [np.array([patient.landmarks[name] for name in names]) for patient in patients]
    errors = [
        float(np.mean(tre(*points, register(fixed.image, moving.image, preset, **guides).field.transform_points)))
        for preset in (dataclasses.replace(affine_only, semantic=0.0), affine_only)
    ]
    assert errors[0] > 100
    assert errors[1] < 30


def _inverted(image: Image, labels: Image) -> Image:
    """Bright organs dark and dark ones bright; fat and bone as they are, or the alignment would have nothing."""
    hu = image.array.astype(float)
    return Image(np.where((hu > 0) & (hu < 200), 150 - 0.8 * hu, hu).astype(np.int16), image.grid)


def _with_metal(image: Image, labels: Image) -> Image:
    """A ball of 25 mm in the liver and dark and bright bands through its slices."""
    liver = next(number for number, name in cohort.LABELS.items() if name == "liver")
    points = image.grid.points()
    centre = points[labels.array == liver].mean(0)
    away = points - centre
    angle = np.arctan2(away[..., 1], away[..., 0])
    bands = 300 * np.cos(14 * angle) * (abs(away[..., 2]) < 15) * (image.array > -500)
    hu = np.where((away**2).sum(-1) < 25.0**2, 2000, image.array + bands)
    return Image(np.clip(hu, -1024, 2000).astype(np.int16), image.grid)


def _slab(image: Image, labels: Image) -> Image:
    """170 mm around the kidneys."""
    kidneys = np.isin(labels.array, [n for n, name in cohort.LABELS.items() if name.endswith("_kidney")])
    middle = round(np.nonzero(kidneys)[0].mean())
    half = round(85 / image.grid.spacing[2])
    array = image.array[middle - half : middle + half]
    grid = image.grid
    return Image(array, Grid(array.shape, grid.spacing, grid.index_to_point([0, 0, middle - half]), grid.direction))


@pytest.mark.parametrize("change", [_inverted, _with_metal, _slab])
def test_registration_with_learned_features(patients: tuple, change: Callable[[Image, Image], Image]) -> None:
    fixed, moving = patients
    image = change(moving.image, moving.labels)
    names = [n for n in fixed.landmarks if n in moving.landmarks and image.grid.contains(moving.landmarks[n])]
    assert len(names) > 8
    here, there = (np.array([patient.landmarks[name] for name in names]) for patient in patients)
    result = register(fixed.image, image, "default")
    errors = tre(here, there, result.field.transform_points)
    assert np.median(np.linalg.norm(here - there, axis=1)) > 40
    assert np.median(errors) < 10, errors
    assert result.verdict.measures["folding_percent"] < 0.5
