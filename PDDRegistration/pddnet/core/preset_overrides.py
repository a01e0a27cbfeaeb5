"""Replace settings of a preset by the user's: `adjusted`. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import replace

from ..errors import InputError
from .presets import Preset, Refinement, Stage

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
        control_spacing: mm between control points of the last stage; earlier ones and the refinement change by the
            same factor.
        smoothness: factor on every stage's weight of the diffusion penalty, and the refinement's.
        iterations: of the instance optimisation, in every stage; 0 omits it.
        both_ways: whether the first stage, and later ones with `both_ways` in the preset, are averaged with the inverse
            of the opposite direction.

    The verdict was not fitted to such settings: the name gets "(changed)", and `fitted_risk` becomes False.

    Raises:
        InputError: a value is outside `LIMITS`.
    """
    numbers = {"capture_range": capture_range, "control_spacing": control_spacing, "smoothness": smoothness}
    for name, value in (numbers | {"iterations": iterations}).items():
        _check(name, value)
    if not preset.stages or all(value is None for value in (*numbers.values(), iterations, both_ways)):
        return preset
    stages, refinement = list(preset.stages), preset.refinement
    if capture_range is not None:
        first, *later = stages
        stages = [_with_range(first, capture_range), *(_within_range(stage, capture_range) for stage in later)]
    if control_spacing is not None:
        refinement = refinement and _scaled_spacing(refinement, control_spacing / stages[-1].control_spacing_mm)
        stages = _spaced(stages, control_spacing)
    if smoothness is not None:
        stages = [replace(stage, smoothness=smoothness * stage.smoothness) for stage in stages]
        refinement = refinement and replace(refinement, smoothness=smoothness * refinement.smoothness)
    if iterations is not None:
        stages = [replace(stage, iterations=int(iterations)) for stage in stages]
    if both_ways is not None:
        averaged = [both_ways and (stage.both_ways or n == 0) for n, stage in enumerate(stages)]
        stages = [replace(stage, both_ways=ways) for stage, ways in zip(stages, averaged, strict=True)]
    if tuple(stages) == preset.stages:
        return preset
    name = f"{preset.name} (changed)"
    return replace(preset, name=name, stages=tuple(stages), refinement=refinement, fitted_risk=False)


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


def _scaled_spacing(refinement: Refinement, factor: float) -> Refinement:
    return replace(refinement, control_spacing_mm=refinement.control_spacing_mm * factor)


def _spaced(stages: list[Stage], control_spacing_mm: float) -> list[Stage]:
    """Scale all spacings so that the last stage has this one; a stage with a fixed number of points gets it as is."""
    last = stages[-1].control_spacing_mm
    spaced = []
    for stage in stages:
        factor = stage.control_spacing_mm / last if stage.control_spacing_mm else 1.0
        spaced.append(replace(stage, control_points_per_axis=None, control_spacing_mm=control_spacing_mm * factor))
    return spaced
