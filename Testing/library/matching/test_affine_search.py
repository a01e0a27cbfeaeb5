"""The alignment finds known maps between the two views, whatever their axes, and says how sure it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.features.coarse import weighted_tissue as describe
from pddnet.matching import affine_search
from pddnet.matching.affine_fit import fit_affine
from pddnet.matching.affine_search import Candidate, align, distinct, score_affine
from pddnet.matching.coarse_scan import COARSE_SPACING_MM, CoarseScan, coarsen
from pddnet.matching.translation_search import best_translations
from pddnet.phantom.phantom import full_view, virtual_patient
from pddnet.tensor.scan import prepare

CPU = torch.device("cpu")
SHIFT = np.array([37.0, -61.0, 143.0])


@pytest.fixture(scope="module")
def patient() -> Image:
    return virtual_patient(4, full_view(4, 6.0)).image


def _part(image: Image, first: int, last: int, shift: np.ndarray) -> Image:
    """The slices first..last, moved by a shift in LPS mm."""
    grid = image.grid
    array = image.array[first:last]
    origin = grid.index_to_point(np.array([0.0, 0, first])) + shift
    return Image(array, dataclasses.replace(grid, shape=array.shape, origin=origin))


@pytest.mark.slow
def test_parts_of_one_patient_find_each_other(patient: Image) -> None:
    """120 mm in common, far apart, on axes turned by half a radian."""
    fixed, moving = (
        prepare(_part(patient, 0, 45, np.zeros(3)), 4.0, CPU),
        prepare(_part(patient, 25, 76, SHIFT), 4.0, CPU),
    )
    cosine, sine = np.cos(0.5), np.sin(0.5)
    axes = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    best = align(coarsen(fixed, axes, describe), coarsen(moving, axes, describe))[0]
    common = _part(patient, 27, 43, np.zeros(3)).grid.corners()
    error = np.linalg.norm(best.affine.points(common) - common - SHIFT, axis=-1)
    assert error.max() < 8.0
    assert 0.2 < best.overlap < 0.75
    assert best.score > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("peaks", [[], [SHIFT + [0.0, 0.0, 260.0]]])
def test_a_start_from_elsewhere_finds_what_no_peak_shows(
    patient: Image, monkeypatch: pytest.MonkeyPatch, peaks: list[np.ndarray]
) -> None:
    """From 22 mm off, which the climb makes good; a wrong peak comes after it."""
    axes = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.2], [0.1, 0.2, 1.0]]))[0]
    fixed = coarsen(prepare(patient, 4.0, CPU), axes, describe)
    moving = coarsen(prepare(_part(patient, 10, 60, SHIFT), 4.0, CPU), axes, describe)
    monkeypatch.setattr(affine_search, "best_translations", lambda *given: list(peaks))
    assert len(align(fixed, moving)) == 2 * len(peaks)
    found = align(fixed, moving, extra_shifts=[SHIFT + [10.0, -12.0, 16.0]])
    assert len(found) == 2 * len(peaks) + 2
    corners = _part(patient, 12, 58, np.zeros(3)).grid.corners()
    assert np.linalg.norm(found[0].affine.points(corners) - corners - SHIFT, axis=-1).max() < 8.0


def test_the_coarse_shifts_are_right_to_a_cell(patient: Image) -> None:
    axes = np.eye(3)
    fixed = coarsen(prepare(patient, 4.0, CPU), axes, describe)
    moving = coarsen(prepare(_part(patient, 10, 60, SHIFT), 4.0, CPU), axes, describe)
    shifts = best_translations(fixed, moving)
    assert np.abs(shifts[0] - SHIFT).max() <= COARSE_SPACING_MM
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(shifts) for b in shifts[:i]]
    assert min(gaps) > 3 * COARSE_SPACING_MM


def test_a_little_overlap_that_fits_by_chance_comes_after_a_large_one() -> None:
    """A corner of 7^3 cells is the other scan's opposite corner; five sixths correlate by 0.4, four cells aside."""
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.2], [0.1, 0.2, -1.0]]))[0]
    n, aside = 24, 4
    here, there = rng.normal(size=(2, n, n, n))
    there[:, aside:] = 0.4 * here[:, :-aside] + np.sqrt(1 - 0.4**2) * there[:, aside:]
    there[-7:, -7:, -7:] = here[:7, :7, :7]
    full = torch.ones(n, n, n)
    grids = [
        Grid((n, n, n), np.full(3, COARSE_SPACING_MM), np.array(origin), axes)
        for origin in ((5.0, -9, 2), (300.0, 40, 7))
    ]
    sides = (torch.from_numpy(values[None]).float() for values in (here, there))
    shifts = best_translations(*(CoarseScan(x, full, full, grid) for x, grid in zip(sides, grids, strict=True)))
    apart = grids[1].origin - grids[0].origin
    assert shifts[0] == pytest.approx(apart + axes @ [0.0, aside * COARSE_SPACING_MM, 0.0], abs=1e-6)
    assert shifts[1] == pytest.approx(apart + axes @ np.full(3, (n - 7) * COARSE_SPACING_MM), abs=1e-6)


@pytest.mark.slow
def test_a_scaled_and_turned_patient_is_found(patient: Image) -> None:
    angle = np.deg2rad(12)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]) * 1.1
    grid = patient.grid
    moved = Grid(grid.shape, grid.spacing * 1.1, turn @ grid.origin + SHIFT, turn @ grid.direction / 1.1)
    fixed, moving = prepare(patient, 4.0, CPU), prepare(Image(patient.array, moved), 4.0, CPU)
    best = align(*(coarsen(scan, np.eye(3), describe) for scan in (fixed, moving)))[0]
    corners = fixed.box.corners()
    assert np.linalg.norm(best.affine.points(corners) - (corners @ turn.T + SHIFT), axis=-1).mean() < 12


@pytest.mark.slow
def test_a_given_map_is_judged_as_the_search_would(patient: Image) -> None:
    fixed = coarsen(prepare(patient, 4.0, CPU), np.eye(3), describe)
    moving = coarsen(prepare(_part(patient, 20, 70, SHIFT), 4.0, CPU), np.eye(3), describe)
    best = align(fixed, moving)[0]
    assert score_affine(fixed, moving, best.affine).score == pytest.approx(best.score, abs=1e-3)
    wrong = Affine(np.eye(3), SHIFT + [0.0, 0.0, 40.0])
    assert score_affine(fixed, moving, wrong).score < best.score - 0.1


def test_distinct_places() -> None:
    box = Grid((5, 5, 5), np.full(3, 10.0), np.zeros(3), np.eye(3))
    shifts = ([0.0, 0, 0], [9.0, 0, 0], [0, 30.0, 0], [0, 30.0, 20.0])
    candidates = [Candidate(Affine(np.eye(3), np.array(s)), 1.0, 1.0) for s in shifts]
    assert distinct(candidates, box, 12.0) == [candidates[0], candidates[2], candidates[3]]
    assert distinct(candidates, box, 25.0) == [candidates[0], candidates[2]]


def test_the_affine_fit_survives_wrong_displacements() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-200, 200, (400, 3)) + [500.0, -300, 90]
    matrix = np.array([[1.1, 0.05, 0], [-0.04, 0.93, 0.1], [0, 0.02, 1.02]])
    moved = points @ matrix.T + [7.0, -13, 29]
    moved[::4] += rng.uniform(-90, 90, (100, 3))
    fit = fit_affine(points, moved, np.ones(400))
    assert np.abs(fit.points(points[1::4]) - moved[1::4]).max() < 12  # drawn towards a translation, by at most this
    assert np.abs(fit.matrix - matrix).max() < 0.06
    thin = fit_affine(points * [1, 1, 0.01], points * [1, 1, 0.01] * [1, 1, 2.0] + [0, 0, 5.0], np.ones(400))
    assert np.abs(thin.matrix - np.eye(3)).max() < 0.02  # 4 mm of height do not tell a scale


def test_scans_without_anything_in_common_give_no_certain_place() -> None:
    rng = np.random.default_rng(0)
    grid = Grid((40, 40, 40), np.full(3, 5.0), np.zeros(3), np.eye(3))
    noise = [Image((rng.normal(0, 200, grid.shape)).astype(np.int16), grid) for _ in range(2)]
    scans = [coarsen(prepare(image, 4.0, CPU), np.eye(3), describe) for image in noise]
    assert all(candidate.score < 0.5 for candidate in align(*scans))
