"""`register` and `warp`: register two scans as the command does, and warp volumes and label maps."""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk

from ..core.grid import Grid
from ..core.hounsfield import outside_value
from ..core.image import Image
from ..core.intensity import AUTO, check_intensity
from ..core.linear import DEFORMABLE, check_transform_type
from ..core.preset_overrides import adjusted
from ..core.presets import Preset, find_preset
from ..core.result import Progress
from ..errors import InputError
from ..io.volumes import fit_labels, fit_mask
from ..matching.progress import Clock
from ..run import outputs as run_outputs
from ..run.registration import FinishedRun, RunInputs, check_device
from ..run.registration import register as run_registration
from ..run.slices import are_slices, checked_slices, refuse_for_slices, register_slices
from .inputs import Transform, as_transform, checked

# Progress: the registration takes the first nine tenths, warping half of the rest.
_WARP_STARTS = 0.9
_MEASURE_STARTS = 0.95


def register(
    progress: Progress,
    *,
    fixed: Image,
    moving: Image,
    preset: str = "default",
    adjust: dict[str, Any] | None = None,
    device: str = "auto",
    transform_type: str = DEFORMABLE,
    align: bool = True,
    diffeomorphic: bool = False,
    intensity: str = AUTO,
    initial_transform: Transform | None = None,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    fixed_labels: Image | None = None,
    moving_labels: Image | None = None,
    warp: dict[str, Image] | None = None,
    warp_labels: dict[str, Image] | None = None,
    evaluate: dict[str, dict[str, Image]] | None = None,
    **outputs: bool,
) -> dict[str, Any]:
    """Register as `pddnet register` does, then warp and measure; two single slices in their plane.

    Args:
        transform_type: deformable, rigid, similarity or affine; all but the first are linear.
        diffeomorphic: whether the deformation is to be the exponential of a velocity field, see `pipeline.register`.
        intensity: what the values of the scans are, see `core.intensity.to_hu`.
        adjust: settings that replace the preset's values, see `preset_overrides.adjusted`.
        fixed_labels, moving_labels: label maps that guide the registration; give both or neither.
        warp, warp_labels: volumes and label maps of the moving space to resample on the fixed grid, by name.
        evaluate: pairs of label maps, {"fixed": ..., "moving": ...} by name, that are only measured.
        outputs: which outputs of `run.outputs.OUTPUTS` to compute, of those that are computed on request only:
            jacobian (the determinant, an `Image`) and inverse (moving to fixed points, a `DisplacementField` on a grid
            over the moving scan).

    Returns:
        report (as `--report` writes it), field, matrix ((4, 4) LPS mm of a linear result, else None), spread, warped
        and warped_labels (images by name), evaluation (a label section by name, see `report.label_section`), the
        outputs on request (None where not requested), cuda (as in `warm`).

    Raises:
        InputError, TorchMissing, Cancelled, MemoryError: as for `pipeline.register`.
        TypeError: there is no such output.
    """
    _check_names(outputs)
    clock = Clock()
    progress(0.0, "start")
    settings = adjusted(find_preset(preset), **(adjust or {}))
    check_transform_type(transform_type)
    check_intensity(intensity)
    check_device(device)
    clock.lap("start")

    masks, guides = (fixed_mask, moving_mask), (fixed_labels, moving_labels)
    for_volumes_only = {
        f"transform type {transform_type}": transform_type != DEFORMABLE,
        "diffeomorphic": diffeomorphic,
        "intensity": intensity != AUTO,
        "changed settings": bool(adjust),
        "masks": masks != (None, None),
        "guiding labels": guides != (None, None),
    }
    flat = are_slices(fixed, moving)
    inputs = _slices(fixed, moving, for_volumes_only) if flat else _volumes(fixed, moving, settings, intensity)
    inputs.initial_transform, inputs.align = as_transform(initial_transform), align
    inputs.transform_type, inputs.diffeomorphic = transform_type, diffeomorphic
    run = _run(progress, clock, inputs, masks, guides, None if flat else settings, device)

    # The moving volume as it was registered: without NaN.
    volumes = {name: inputs.moving if image is moving else image for name, image in (warp or {}).items()}
    warped = _warped_by(progress, run, clock, volumes, warp_labels or {})
    evaluation = _evaluated(progress, run, clock, evaluate or {})
    answer = _outputs(progress, run, clock, outputs)
    return {**answer, **warped, "evaluation": evaluation, **_described(run, clock, outputs)}


def warp(
    progress: Progress,
    *,
    transform: Transform,
    grid: Grid,
    images: dict[str, Image] | None = None,
    labels: dict[str, Image] | None = None,
) -> dict[str, Any]:
    """Warp volumes and label maps of the moving space to a grid of the fixed space, by any transform, without torch.

    Returns:
        warped, warped_labels: images by name, in their own scalar types; padded outside with air, or label 0.
    """
    warped, warped_labels = _warped(progress, grid, as_transform(transform), images or {}, labels or {})
    return {"warped": warped, "warped_labels": warped_labels}


def _slices(fixed: Image, moving: Image, for_volumes_only: dict[str, bool]) -> RunInputs:
    """Check two slices; raise InputError where something is asked for that is known of volumes only."""
    refuse_for_slices(for_volumes_only)
    return checked_slices(fixed, moving)


def _volumes(fixed: Image, moving: Image, settings: Preset, intensity: str) -> RunInputs:
    """Check two volumes, and bring each CT to HU."""
    inputs = checked(fixed, moving)
    inputs.bring_to_hu(settings, intensity)
    return inputs


def _run(
    progress: Progress,
    clock: Clock,
    inputs: RunInputs,
    masks: tuple[Image | None, Image | None],
    labels: tuple[Image | None, Image | None],
    settings: Preset | None,
    device: str,
) -> FinishedRun:
    """Register two volumes by the settings, or, without any, two slices."""

    def part(fraction: float, stage: str) -> None:
        progress(_WARP_STARTS * fraction, stage)

    if settings is None:
        return register_slices(inputs, clock=clock, progress=part)
    inputs.check_start()
    _guide(inputs, masks, labels)
    return run_registration(inputs, settings, clock=clock, progress=part, device=device)


def _check_names(outputs: dict[str, bool]) -> None:
    """Raise TypeError where a request names an output that is not computed on request."""
    if unknown := outputs.keys() - {output.answer for output in run_outputs.OUTPUTS if output.on_request}:
        raise TypeError(f"register knows no {', '.join(sorted(unknown))}")


def _guide(
    inputs: RunInputs, masks: tuple[Image | None, Image | None], labels: tuple[Image | None, Image | None]
) -> None:
    """Resample masks and label maps, fixed and moving, on the grids of their scans, and note warnings.

    Raises:
        InputError: one of them cannot be used, or labels are given of one scan alone.
    """
    grids = inputs.fixed.grid, inputs.moving.grid
    for side, grid, mask, own_labels in zip(("fixed", "moving"), grids, masks, labels, strict=True):
        if mask is not None:
            fitted, warnings = fit_mask(mask, grid, f"{side} mask")
            setattr(inputs, f"{side}_mask", fitted)
            inputs.warnings += warnings
        if own_labels is not None:
            fitted, warnings = fit_labels(own_labels, grid, f"{side} labels")
            setattr(inputs, f"{side}_labels", fitted)
            inputs.warnings += warnings
    if (labels[0] is None) != (labels[1] is None):
        raise InputError("labels of one scan alone cannot guide the registration; give those of both, or neither")
    inputs.guided = labels[0] is not None


def _outputs(progress: Progress, run: FinishedRun, clock: Clock, wanted: dict[str, bool]) -> dict[str, Any]:
    """Compute the outputs of the table, by their keys in the answer; None for those that were not requested."""
    answer: dict[str, Any] = {}
    for output in run_outputs.OUTPUTS:
        if not output.answer:
            continue
        if output.on_request and not wanted.get(output.answer):
            answer[output.answer] = None
            continue
        if output.stage:
            progress(_MEASURE_STARTS, output.stage)
        answer[output.answer] = output.content(run)
        if output.stage:
            clock.lap(output.stage)
    return answer


def _warped(
    progress: Progress, grid: Grid, transform: sitk.Transform, images: dict[str, Image], labels: dict[str, Image]
) -> tuple[dict[str, Image], dict[str, Image]]:
    warped, warped_labels = {}, {}
    for name, image in images.items():
        progress(_WARP_STARTS, "warp")
        warped[name] = image.resample(grid, transform, fill=outside_value(image.array))
    for name, image in labels.items():
        progress(_WARP_STARTS, "warp")
        warped_labels[name] = image.resample(grid, transform, labels=True)
    return warped, warped_labels


def _warped_by(
    progress: Progress, run: FinishedRun, clock: Clock, images: dict[str, Image], labels: dict[str, Image]
) -> dict[str, Any]:
    """Warp what the request names by the transform that was found, to the grid of the fixed scan."""
    progress(_WARP_STARTS, "warp")
    warped, warped_labels = _warped(progress, run.inputs.fixed.grid, run.registration.to_sitk(), images, labels)
    clock.lap("warp")
    return {"warped": warped, "warped_labels": warped_labels}


def _evaluated(
    progress: Progress, run: FinishedRun, clock: Clock, pairs: dict[str, dict[str, Image]]
) -> dict[str, Any]:
    """Measure each pair of label maps; return a label section for each."""
    progress(_MEASURE_STARTS, "measure")
    sections = {}
    for name, pair in pairs.items():
        progress(_MEASURE_STARTS, "measure")
        sections[name] = run.measured_layers((pair["fixed"],), (pair["moving"],))
    _ = run.determinant  # the report needs it: computed now, it counts as measuring
    clock.lap("measure")
    return sections


def _described(run: FinishedRun, clock: Clock, outputs: dict[str, bool]) -> dict[str, Any]:
    """Say what was found, and by what."""
    from ..tensor.device import gpu

    linear = run.registration.linear
    return {
        "matrix": None if linear is None else linear.matrix,
        "report": run.report(clock, inverse=outputs.get("inverse", False)),
        "cuda": gpu(),
    }
