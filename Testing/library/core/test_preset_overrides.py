"""The user's settings in place of a preset's, stage by stage."""

from __future__ import annotations

import dataclasses

import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, MOVING, body
from pddnet import pipeline
from pddnet.core.preset_overrides import LIMITS, adjusted
from pddnet.core.presets import PRESETS, ContrastLevel, OnePatient, Preset, Refinement, Stage
from pddnet.errors import InputError
from pddnet.matching import deformation
from pddnet.worker import tasks as worker_tasks

COARSE = Stage(
    control_spacing_mm=16.0,
    capture_range_mm=40.0,
    displacements_per_axis=11,
    feature_spacing_mm=8.0,
    smoothness=0.005,
    both_ways=True,
)
FINE = Stage(
    control_spacing_mm=10.0,
    capture_range_mm=16.0,
    displacements_per_axis=9,
    feature_spacing_mm=4.0,
    smoothness=0.01,
    iterations=12,
)
TWO = Preset("two", "for tests", (COARSE, FINE))


def changed(**settings: object) -> list[dict]:
    """What differs from `TWO`, by stage; everything else is checked to be the same."""
    preset = adjusted(TWO, **settings)
    assert preset.name == "two (changed)"
    assert dataclasses.replace(preset, name="two", stages=TWO.stages) == TWO
    stages = zip(TWO.stages, preset.stages, strict=True)
    return [{k: v for k, v in vars(now).items() if v != getattr(before, k)} for before, now in stages]


@pytest.mark.parametrize("name", PRESETS)
def test_nothing_set_is_the_preset_itself(name: str) -> None:
    assert adjusted(PRESETS[name]) is PRESETS[name]


def test_values_that_the_preset_has_anyway_leave_its_name() -> None:
    assert adjusted(TWO, capture_range=40, control_spacing=10, smoothness=1, both_ways=True) is TWO


def test_a_wider_search_keeps_its_steps_and_the_later_stage() -> None:
    assert changed(capture_range=64) == [
        {"capture_range_mm": 64, "displacements_per_axis": 17},
        {},
    ]  # 8 mm apart, as before


def test_a_narrow_search_limits_the_later_stage_too() -> None:
    assert changed(capture_range=8) == [
        {"capture_range_mm": 8, "displacements_per_axis": 3},
        {"capture_range_mm": 8, "displacements_per_axis": 5},
    ]


def test_the_control_spacing_is_the_last_stages_and_the_others_follow() -> None:
    assert changed(control_spacing=15) == [{"control_spacing_mm": 24.0}, {"control_spacing_mm": 15.0}]
    (paper,) = adjusted(PRESETS["paper"], control_spacing=12).stages
    assert (paper.control_spacing_mm, paper.control_points_per_axis) == (12.0, None)


def test_smoothness_is_a_factor() -> None:
    assert changed(smoothness=3) == [{"smoothness": pytest.approx(0.015)}, {"smoothness": pytest.approx(0.03)}]


def test_steps_are_the_same_everywhere_and_may_be_none() -> None:
    assert changed(iterations=0) == [{"iterations": 0}, {"iterations": 0}]
    assert changed(iterations=50) == [{"iterations": 50}, {"iterations": 50}]


def test_both_ways_is_the_first_stages() -> None:
    assert changed(both_ways=False) == [{"both_ways": False}, {}]
    (quick,) = adjusted(PRESETS["fast"], both_ways=True).stages
    assert quick.both_ways
    three = dataclasses.replace(TWO, stages=(COARSE, dataclasses.replace(COARSE, capture_range_mm=24.0), FINE))
    assert [stage.both_ways for stage in adjusted(three, both_ways=True, smoothness=2).stages] == [True, True, False]
    assert not any(stage.both_ways for stage in adjusted(three, both_ways=False).stages)


@pytest.mark.parametrize("name", LIMITS)
def test_values_out_of_bounds_are_named(name: str) -> None:
    low, high, unit = LIMITS[name]
    for value in (low - 1, high + 1, float("nan")):
        with pytest.raises(InputError, match=f"{name.replace('_', ' ')}: .* is outside .* {unit}"):
            adjusted(TWO, **{name: value})
    for value in (low, high):
        adjusted(TWO, **{name: value})


def test_a_run_uses_them_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's register, whose report names the preset; no search and no optimisation give another field."""
    monkeypatch.setattr(deformation, "resemblance", lambda *_: 0.0)  # else a deformation of mere noise is left out
    fixed, moving = body(FIXED), body(MOVING)
    scans = {"fixed": fixed, "moving": moving, "preset": "fast", "device": "cpu"}
    start = sitk.TranslationTransform(3, (MOVING.centre - FIXED.centre).tolist())
    settings = {"capture_range": 8.0, "control_spacing": 8.0, "iterations": 3, "both_ways": True}
    done = worker_tasks.register(lambda *_: None, **scans, initial_transform=start, adjust=settings, inverse=True)
    assert done["report"]["preset"] == "fast (changed)"
    assert done["report"]["inverse_consistency_mm"] is not None
    expected = pipeline.register(
        fixed, moving, adjusted(PRESETS["fast"], **settings), initial_transform=start, device="cpu"
    )
    assert (done["field"].array == expected.field.array).all()
    inverse, residual = expected.inverse(moving.grid)
    assert (done["inverse"].array == inverse.array).all()
    assert done["report"]["inverse_residual_mm"] == residual
    assert {"name", "memory_free"} <= set(done["cuda"] or {"name": 0, "memory_free": 0})


def test_the_refinement_follows_in_spacing_and_smoothness() -> None:
    preset = dataclasses.replace(TWO, refinement=Refinement(control_spacing_mm=6.0, smoothness=0.01, iterations=60))
    assert adjusted(preset, control_spacing=15).refinement == Refinement(9.0, 0.01, 60)
    assert adjusted(preset, smoothness=3).refinement == Refinement(6.0, pytest.approx(0.03), 60)
    assert adjusted(preset, iterations=0).refinement == preset.refinement


ONE = OnePatient((FINE,), (ContrastLevel(4.0, 12.0, 6.0, 6), ContrastLevel(2.0, 6.0, 4.0, 4)), None)
ALONE = Preset("alone", "for tests", (), one_patient=ONE)
BESIDE = dataclasses.replace(TWO, one_patient=ONE)


def test_a_preset_for_one_patient_alone_is_changed_like_any_other() -> None:
    assert adjusted(ALONE, capture_range=16, control_spacing=10, smoothness=1, iterations=12) is ALONE
    wider = adjusted(ALONE, capture_range=24)
    assert wider.name == "alone (changed)"
    assert wider.one_patient.stages == (dataclasses.replace(FINE, capture_range_mm=24, displacements_per_axis=13),)
    assert wider.one_patient.levels == ONE.levels


@pytest.mark.parametrize("preset", [ALONE, BESIDE])
def test_the_refinement_by_contrast_follows_in_spacing_and_smoothness(preset: Preset) -> None:
    changed = adjusted(preset, control_spacing=15, smoothness=3, iterations=2, both_ways=True).one_patient
    assert changed.stages == (
        dataclasses.replace(
            FINE, control_spacing_mm=15.0, smoothness=pytest.approx(0.03), iterations=2, both_ways=True
        ),
    )
    assert changed.levels == (ContrastLevel(4.0, 18.0, 6.0, 6, 3.0), ContrastLevel(2.0, 9.0, 4.0, 4, 3.0))


def test_beside_other_stages_those_for_one_patient_never_look_farther() -> None:
    assert adjusted(BESIDE, capture_range=64).one_patient == ONE
    (near,) = adjusted(BESIDE, capture_range=8).one_patient.stages
    assert (near.capture_range_mm, near.displacements_per_axis) == (8, 5)
