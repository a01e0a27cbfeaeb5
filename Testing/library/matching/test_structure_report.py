"""Every structure is compared where it lies: on oblique grids, by side, and only within what both scans show."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import rotation
from pddnet.core.affine import Affine
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.structures import StructureFit, StructureMap
from pddnet.core.turn import about
from pddnet.features.label_table import NUMBER
from pddnet.matching.structure_report import compare_structures
from pddnet.tensor.convert import to_tensor
from pddnet.tensor.scan import Scan

MIDDLE = np.array([12.0, -150.0, -600.0])  # LPS mm, of the fixed patient
ORGANS: dict[str, tuple[str, tuple[float, float, float], float]] = {  # middle from MIDDLE in LPS mm, radius
    "liver": ("liver", (-60.0, -30.0, 40.0), 45.0),
    "spleen": ("spleen", (75.0, 20.0, 45.0), 26.0),
    "left kidney": ("kidney", (48.0, 25.0, -20.0), 24.0),
    "right kidney": ("kidney", (-45.0, 28.0, -28.0), 23.0),
    "vertebra L1": ("vertebra_L1", (-4.0, 40.0, 45.0), 17.0),
    "vertebra L2": ("vertebra_L2", (0.0, 38.0, 10.0), 17.0),
    "vertebra L3": ("vertebra_L3", (5.0, 36.0, -25.0), 17.0),
}
TURN, MOVE = rotation(7, -4, 9), np.array([31.0, -18.0, 55.0])  # fixed to moving: about MIDDLE, then by MOVE
TO_MOVING = Affine(TURN, MIDDLE + MOVE - TURN @ MIDDLE)


def around(centre: np.ndarray, turn: np.ndarray, spacing: float) -> Grid:
    shape = tuple(int(n) for n in np.ceil(np.array([240, 200, 280]) / spacing))
    return Grid(shape, np.full(3, spacing), centre - turn @ ((np.array(shape[::-1]) - 1) / 2 * spacing), turn)


def patient(grid: Grid, to_here: Affine, moves: dict[str, tuple[float, float, float]], unsure: str = "") -> Scan:
    """Balls as ORGANS says, some moved (mm, before the map to this scan); everything is in view."""
    numbers, certainty = np.zeros(grid.shape, np.uint8), np.full(grid.shape, 0.9, np.float16)
    for name, (structure, middle, radius) in ORGANS.items():
        at = to_here.points(MIDDLE + middle + np.asarray(moves.get(name, (0, 0, 0)), float))
        here = np.linalg.norm(grid.points() - at, axis=-1) < radius
        numbers[here] = NUMBER[structure]
        certainty[here] = 0.5 if name == unsure else 0.9
    values = to_tensor(np.ones((3, *grid.shape)))
    named = StructureMap(Image(numbers, grid), certainty)
    return Scan(values, values[:0], grid, grid, grid, False, named)


def cut(scan: Scan, seen: np.ndarray) -> Scan:
    """Restrict the view, and what is named, to `seen` (D, H, W)."""
    assert scan.named is not None
    values = scan.values.clone()
    values[2] *= to_tensor(seen)
    numbers = Image(scan.named.numbers.array * seen, scan.grid)
    return dataclasses.replace(scan, values=values, named=StructureMap(numbers, scan.named.certainty))


FIXED, MOVING = around(MIDDLE, rotation(-5, 6, 3), 4.0), around(MIDDLE + MOVE, rotation(4, 8, -6), 3.7)
FIELD = DisplacementField.from_transform(
    sitk.AffineTransform(TURN.ravel().tolist(), TO_MOVING.shift.tolist()), FIXED.isotropic(8.0, 40.0)
)


def fixed_patient(**moves: tuple[float, float, float]) -> Scan:
    return patient(FIXED, Affine.identity(), moves)


def compared(fixed: Scan, moving: Scan) -> dict[str, StructureFit]:
    return {fit.name: fit for fit in compare_structures(fixed, moving, FIELD, TO_MOVING)}


def verdicts(fits: dict[str, StructureFit]) -> dict[str, str]:
    return {name: fit.verdict for name, fit in fits.items()}


def test_structures_that_lie_on_each_other_are_ok_and_named_by_side() -> None:
    fits = compared(fixed_patient(), patient(MOVING, TO_MOVING, {}))
    assert verdicts(fits) == dict.fromkeys(ORGANS, "ok")
    for name, (_, middle, radius) in ORGANS.items():
        fit = fits[name]
        assert np.allclose(fit.centre_lps_mm, MIDDLE + middle, atol=2.5), name  # neighbours overlap a little
        assert fit.shift_mm is not None
        assert fit.shift_mm < 1.5
        assert fit.dice is not None
        assert fit.dice > 0.85
        assert fit.fixed_ml == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.15)
        assert fit.moving_ml == pytest.approx(fit.fixed_ml, rel=0.1)
        assert fit.certainty == pytest.approx(0.9, abs=1e-3)


def test_one_organ_astray_is_named_alone_with_its_shift_in_the_fixed_patients_axes() -> None:
    shift = (9.0, -14.0, -25.0)  # mm, 30 together
    fits = compared(fixed_patient(), patient(MOVING, TO_MOVING, {"left kidney": shift}))
    assert verdicts(fits) == dict.fromkeys(ORGANS, "ok") | {"left kidney": "astray"}
    kidney = fits["left kidney"]
    assert kidney.shift_lps_mm is not None
    assert np.allclose(kidney.shift_lps_mm, shift, atol=1.5)
    assert kidney.shift_mm == pytest.approx(np.linalg.norm(kidney.shift_lps_mm))
    assert kidney.reason == "lies 3 cm away from its counterpart"
    assert np.allclose(kidney.centre_lps_mm, MIDDLE + ORGANS["left kidney"][1], atol=2.0)


def test_the_surface_distance_of_two_balls() -> None:
    """Concentric balls of 45 and 37 mm are 8 mm apart, everywhere."""
    fixed = fixed_patient()
    small = patient(MOVING, TO_MOVING, {})
    assert small.named is not None
    away = np.linalg.norm(MOVING.points() - TO_MOVING.points(MIDDLE + ORGANS["liver"][1]), axis=-1)
    small.named.numbers.array[(away > 37) & (small.named.numbers.array == NUMBER["liver"])] = 0
    liver = compared(fixed, small)["liver"]
    assert liver.surface_mm == pytest.approx(8.0, abs=0.8)
    assert liver.dice == pytest.approx(2 * 37**3 / (37**3 + 45**3), abs=0.03)


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_a_structure_cut_by_the_end_of_a_view_has_no_false_shift(side: str) -> None:
    """The view ends in the middle of the liver: the centroid moves by 17 mm, that of what both show does not."""
    fixed, moving = fixed_patient(), patient(MOVING, TO_MOVING, {})
    if side == "fixed":
        fixed = cut(fixed, FIXED.points()[..., 2] < MIDDLE[2] + 40)
    else:
        moving = cut(moving, MOVING.points()[..., 2] < TO_MOVING.points(MIDDLE + ORGANS["liver"][1])[2])
    liver = compared(fixed, moving)["liver"]
    assert max(liver.fixed_ml, liver.moving_ml) > 1.8 * min(liver.fixed_ml, liver.moving_ml)
    assert liver.verdict == "ok"
    assert liver.shift_mm is not None
    assert liver.shift_mm < 2.0


def test_what_cannot_be_compared_says_why() -> None:
    fixed = cut(fixed_patient(), FIXED.points()[..., 2] < MIDDLE[2] + 5)
    moving = patient(MOVING, TO_MOVING, {}, unsure="right kidney")
    away = np.linalg.norm(MOVING.points() - TO_MOVING.points(MIDDLE + ORGANS["left kidney"][1]), axis=-1)
    assert moving.named is not None
    moving.named.numbers.array[(away > 12) & (away < 24)] = 0
    reasons = {name: fit.reason for name, fit in compared(fixed, moving).items()}
    assert reasons == {
        "liver": "too little of it within both views",
        "spleen": "not seen in the fixed scan",
        "left kidney": "its sizes do not go together",
        "right kidney": "the network is unsure of it",
        "vertebra L1": "not seen in the fixed scan",
        "vertebra L2": "",
        "vertebra L3": "",
    }
    assert {fit.verdict for fit in compared(fixed, moving).values() if fit.reason} == {"not compared"}
    assert all(fit.dice is None for fit in compared(fixed, moving).values() if fit.reason)


def test_without_a_spine_a_pair_is_one_structure() -> None:
    fixed, moving = fixed_patient(), patient(MOVING, TO_MOVING, {})
    assert moving.named is not None
    moving.named.numbers.array[moving.named.numbers.array >= NUMBER["vertebra_T1"]] = 0
    fits = compared(fixed, moving)
    assert {name for name in fits if "kidney" in name} == {"kidney"}
    assert fits["kidney"].verdict == "ok"


def test_a_spine_that_is_a_level_off_is_doubtful_only() -> None:
    """It may be the network that counts differently."""
    fixed, moving = fixed_patient(), patient(MOVING, TO_MOVING, {})
    assert moving.named is not None
    array = moving.named.numbers.array
    array[array >= NUMBER["vertebra_L1"]] += 1
    fits = compared(fixed, moving)
    assert fits["vertebra L2"].shift_mm == pytest.approx(35.0, abs=3.0)
    assert verdicts(fits) == dict.fromkeys(ORGANS, "ok") | {
        "vertebra L1": "not compared",
        "vertebra L2": "doubtful",
        "vertebra L3": "doubtful",
        "vertebra L4": "not compared",
    }


def test_the_motion_of_turned_scans_is_that_between_the_scans_as_they_were() -> None:
    """T' = moving^-1 T fixed is affine here: a ball's centre moves as T' moves it, seen from the patient as filed."""
    turns = about(MIDDLE, np.diag([-1.0, -1, 1])), about(np.array([30.0, -20, 10]), np.diag([1.0, -1, -1]))
    fits = compare_structures(fixed_patient(), patient(MOVING, TO_MOVING, {}), FIELD, TO_MOVING, turns=turns)
    chain = turns[1].inverse @ TO_MOVING @ turns[0]
    angle = np.degrees(np.arccos((np.trace(chain.matrix) - 1) / 2))
    for fit in fits:
        motion, middle = fit.motion, turns[0].inverse.points(MIDDLE + ORGANS[fit.name][1])
        assert motion is not None
        assert np.allclose(motion.centre_lps_mm, middle, atol=2.5), fit.name
        expected = chain.points(np.array(motion.centre_lps_mm)) - motion.centre_lps_mm
        assert np.allclose(motion.shift_ras_mm, expected * [-1, -1, 1], atol=0.01), fit.name
        assert motion.rotation_degrees == pytest.approx(angle, abs=0.01)
        assert motion.moving_ml == pytest.approx(motion.fixed_ml, rel=1e-3)


def test_without_the_network_there_is_nothing_to_report() -> None:
    scan = dataclasses.replace(fixed_patient(), named=None)
    assert compare_structures(scan, fixed_patient(), FIELD, TO_MOVING) == ()


def test_the_expected_error_of_a_structure_is_its_mean_over_it_in_the_fixed_scan() -> None:
    """A ramp along an oblique axis has at a ball's mean the value at its middle."""
    slope, grid = np.array([0.05, -0.03, 0.08]), around(MIDDLE, rotation(8, 3, -12), 6.0)
    error = Image((30 + (grid.points() - MIDDLE) @ slope).astype(np.float32), grid)
    moving = patient(MOVING, TO_MOVING, {})
    fits = compare_structures(fixed_patient(), moving, FIELD, TO_MOVING, error=error)
    found = {fit.name: fit.expected_error_mm for fit in fits}
    for name in ("left kidney", "right kidney", "spleen"):
        assert found[name] == pytest.approx(30 + np.dot(ORGANS[name][1], slope), abs=0.15), name
    assert {fit.expected_error_mm for fit in compared(fixed_patient(), moving).values()} == {None}
