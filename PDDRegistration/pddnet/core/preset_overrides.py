"""Replace settings of a preset by the user's: `adjusted`. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..errors import InputError
from .presets import OnePatient, Preset, Refinement, Stage

LIMITS = {
    "capture_range": (4.0, 100.0, "mm"),
    "control_spacing": (4.0, 60.0, "mm"),
    "smoothness": (0.1, 20.0, "times the preset's"),
    "iterations": (0, 200, "steps"),
}
"""Smallest and largest value of every number that can be set, and its unit."""


def adjusted(
    preset: Preset,
    *,
    capture_range: float | None = None,
    control_spacing: float | None = None,
    smoothness: float | None = None,
    iterations: int | None = None,
    both_ways: bool | None = None,
) -> Preset:
    """Replace settings of a preset; None keeps the preset's value.

    Args:
        capture_range: mm, the largest displacement per axis of the first stage; the displacement step is kept. Later
            stages refine its result: their range is only reduced, if it is larger.
        control_spacing: mm between control points of the last stage; earlier ones and the refinements change by the
            same factor.
        smoothness: factor on every stage's weight of the diffusion penalty, and the refinements'.
        iterations: of the instance optimisation, in every stage; 0 omits it.
        both_ways: whether the first stage, and later ones with `both_ways` in the preset, are averaged with the inverse
            of the opposite direction.

    The verdict was not fitted to such settings: the name gets "(changed)".

    Raises:
        InputError: a value is outside `LIMITS`.
    """
    numbers = {"capture_range": capture_range, "control_spacing": control_spacing, "smoothness": smoothness}
    for name, value in (numbers | {"iterations": iterations}).items():
        _check(name, value)
    changes = _Changes(capture_range, control_spacing, smoothness, iterations, both_ways)
    if not preset.usual_stages or changes == _Changes():
        return preset
    factor = changes.spacing_factor(preset.usual_stages)
    found = replace(
        preset,
        stages=changes.of_stages(preset.stages, control_spacing),
        refinement=preset.refinement and changes.of_refinement(preset.refinement, factor),
        one_patient=preset.one_patient and changes.of_one_patient(preset.one_patient, factor, alone=not preset.stages),
    )
    if found == preset:
        return preset
    return replace(found, name=f"{preset.name} (changed)")


@dataclass(frozen=True)
class _Changes:
    """What the user sets; None: as the preset says."""

    capture_range: float | None = None
    control_spacing: float | None = None
    smoothness: float | None = None
    iterations: int | None = None
    both_ways: bool | None = None

    def spacing_factor(self, stages: tuple[Stage, ...]) -> float:
        """Return the factor on the spacing of all control points; 1 if their number is fixed instead."""
        last_mm = stages[-1].control_spacing_mm
        return self.control_spacing / last_mm if self.control_spacing is not None and last_mm else 1.0

    def of_stages(self, before: tuple[Stage, ...], control_spacing: float | None) -> tuple[Stage, ...]:
        stages = list(before)
        if stages and self.capture_range is not None:
            first, *later = stages
            later = [_within_range(stage, self.capture_range) for stage in later]
            stages = [_with_range(first, self.capture_range), *later]
        if stages and control_spacing is not None:
            stages = _spaced(stages, control_spacing)
        if self.smoothness is not None:
            stages = [replace(stage, smoothness=self.smoothness * stage.smoothness) for stage in stages]
        if self.iterations is not None:
            stages = [replace(stage, iterations=int(self.iterations)) for stage in stages]
        if self.both_ways is not None:
            averaged = [self.both_ways and (stage.both_ways or n == 0) for n, stage in enumerate(stages)]
            stages = [replace(stage, both_ways=ways) for stage, ways in zip(stages, averaged, strict=True)]
        return tuple(stages)

    def of_refinement(self, before: Refinement, factor: float) -> Refinement:
        smoothness = before.smoothness * (1.0 if self.smoothness is None else self.smoothness)
        return replace(before, smoothness=smoothness, control_spacing_mm=before.control_spacing_mm * factor)

    def of_one_patient(self, before: OnePatient, factor: float, *, alone: bool) -> OnePatient:
        """Change the stages for one patient; beside others (not `alone`) they never look farther than the preset's."""
        changes, stages = self, before.stages
        if not alone and self.capture_range is not None:
            stages = tuple(_within_range(stage, self.capture_range) for stage in stages)
            changes = replace(self, capture_range=None)
        control_spacing = None if self.control_spacing is None else stages[-1].control_spacing_mm * factor
        smoothness = 1.0 if self.smoothness is None else self.smoothness
        levels = tuple(
            replace(
                level,
                control_spacing_mm=level.control_spacing_mm * factor,
                smoothness=level.smoothness * smoothness,
            )
            for level in before.levels
        )
        return replace(before, stages=changes.of_stages(stages, control_spacing), levels=levels)


def _check(name: str, value: float | None) -> None:
    if value is None:
        return
    low, high, unit = LIMITS[name]
    if not math.isfinite(value) or not low <= value <= high:
        text = name.replace("_", " ")
        raise InputError(f"{text}: {value:g} is outside {low:g} to {high:g} {unit}; choose a value in between")


def _with_range(stage: Stage, range_mm: float) -> Stage:
    """Change the capture range but not the displacement step; the number stays odd, so that one displacement is 0."""
    step_mm = 2 * stage.capture_range_mm / (stage.displacements_per_axis - 1)
    each_side = max(round(range_mm / step_mm), 1)
    return replace(stage, capture_range_mm=range_mm, displacements_per_axis=2 * each_side + 1)


def _within_range(stage: Stage, range_mm: float) -> Stage:
    return _with_range(stage, range_mm) if range_mm < stage.capture_range_mm else stage


def _spaced(stages: list[Stage], control_spacing_mm: float) -> list[Stage]:
    """Scale all spacings so that the last stage has this one; a stage with a fixed number of points gets it as is."""
    last = stages[-1].control_spacing_mm
    spaced = []
    for stage in stages:
        factor = stage.control_spacing_mm / last if stage.control_spacing_mm else 1.0
        spaced.append(replace(stage, control_points_per_axis=None, control_spacing_mm=control_spacing_mm * factor))
    return spaced
