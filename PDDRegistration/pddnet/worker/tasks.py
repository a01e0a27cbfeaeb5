"""Compute what the client requests, one function each, by the code of the command; torch is imported when needed.

Every function takes `progress(fraction, stage)`, which may raise `Cancelled`, and the request's fields by keyword, and
returns the answer's fields. Transforms map fixed to moving points in LPS mm.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.hounsfield import outside_value
from ..core.image import Image
from ..core.intensity import AUTO, check_intensity
from ..core.linear import DEFORMABLE, check_transform_type
from ..core.preset_overrides import adjusted
from ..core.presets import PRESETS, Preset, find_preset
from ..core.result import Progress
from ..errors import InputError
from ..evaluation import metrics, report, transform_quality
from ..evaluation.common_grid import grid_around_both
from ..evaluation.motion import label_motion, motion_table
from ..io.landmark_init import affine_transform
from ..io.validation import check_volume
from ..io.volumes import fit_labels, fit_mask
from ..matching.progress import Clock
from ..page.content import Page
from ..page.html import html_page
from ..page.page import TITLE, page_of
from ..page.pdf import pdf_page
from ..page.pictures import Subject, check_matplotlib, draw
from ..run import outputs as run_outputs
from ..run.registration import FinishedRun, RunInputs, check_device
from ..run.registration import register as run_registration
from ..run.slices import are_slices, checked_slices, refuse_for_slices, register_slices

Transform: TypeAlias = "sitk.Transform | DisplacementField | np.ndarray"
# Progress of `register`: the registration takes the first nine tenths, warping half of the rest.
_WARP_STARTS = 0.9
_MEASURE_STARTS = 0.95
# Progress of `evaluate`: label maps take the first part, then Jacobian, inverse and similarity follow.
_JACOBIAN_STARTS = 0.8
_INVERSE_STARTS = 0.9
_SIMILARITY_STARTS = 0.97


def warm(progress: Progress) -> dict[str, Any]:
    """Import torch and report its version and the device that it computes with.

    Returns:
        torch (its version), threads, and cuda: None, or the name, memory_free and memory_total (bytes) of the GPU.

    Raises:
        TorchMissing: torch cannot be imported.
    """
    from ..tensor.device import describe

    return describe()


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
    flat = are_slices(fixed, moving)
    if flat:
        refuse_for_slices(
            {
                f"transform type {transform_type}": transform_type != DEFORMABLE,
                "diffeomorphic": diffeomorphic,
                "intensity": intensity != AUTO,
                "changed settings": bool(adjust),
                "masks": masks != (None, None),
                "guiding labels": guides != (None, None),
            }
        )
        inputs = checked_slices(fixed, moving)
    else:
        inputs = _checked(fixed, moving)
        inputs.bring_to_hu(settings, intensity)
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


def evaluate(
    progress: Progress,
    *,
    transform: Transform,
    labels: dict[str, dict[str, Image]] | None = None,
    grid: Grid | None = None,
    fixed: Image | None = None,
    moving: Image | None = None,
    inverse: Transform | None = None,
    names: list[str] | None = None,
    fixed_points: np.ndarray | None = None,
    moving_points: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure any transform, also one that another program made, without torch.

    Args:
        labels: pairs of label maps, {"fixed": ..., "moving": ...} by name.
        grid: the grid to compare them on; without, each fixed label map's own, or one around both where it is cropped.
        fixed: the fixed volume, for the transform's Jacobian and its inverse inside the body.
        moving: the moving volume, to compare it with the fixed one without and with the transform.
        inverse: the transform of moving to fixed points; without, `transform` is inverted here.
        names, fixed_points, moving_points: corresponding landmarks, (N, 3) LPS mm.

    Returns:
        evaluation (a label section by name), motion (a table by name, of the fixed label maps; see
        `motion.motion_table`), tre_mm, jacobian, inverse_error_mm and similarity; see
        `report.tre_section` and `measuring`. Sections that were not requested are None.
    """
    itk = as_transform(transform)
    evaluation = _compared(progress, itk, labels or {}, grid)
    motion = {name: motion_table(label_motion(pair["fixed"], itk)) for name, pair in (labels or {}).items()}
    tre = jacobian = error = similarity = None
    if fixed_points is not None and moving_points is not None:
        tre = _target_errors(itk, fixed_points, moving_points, names)
    if fixed is not None:
        progress(_JACOBIAN_STARTS, "measure")
        jacobian = transform_quality.jacobian(transform if isinstance(transform, DisplacementField) else itk, fixed)
        progress(_INVERSE_STARTS, "measure")
        within = moving.grid if moving is not None else None
        error = transform_quality.inverse_error(itk, fixed, as_transform(inverse), within)
    if fixed is not None and moving is not None:
        progress(_SIMILARITY_STARTS, "measure")
        similarity = transform_quality.similarity(fixed, moving, itk)
    return {
        "evaluation": evaluation,
        "motion": motion,
        "tre_mm": tre,
        "jacobian": jacobian,
        "inverse_error_mm": error,
        "similarity": similarity,
    }


def page(
    progress: Progress,
    *,
    report: dict[str, Any],
    fixed: Image,
    moving: Image,
    transform: Transform,
    error: Image | None = None,
    spread: Image | None = None,
    title: str = TITLE,
    pdf: bool = False,
) -> dict[str, Any]:
    """Make the page of a registration, see `pddnet.page`, without torch.

    Args:
        report: of the registration, as `register` returned it; its "labels" may be filled in.
        error, spread: expected error and uncertainty, mm, where they are known.
        pdf: whether to make a PDF file, not an HTML file.

    Returns:
        file: the bytes of the page's file, (N,) uint8.

    Raises:
        InputError: matplotlib is missing, or an input cannot be used.
    """
    importlib.invalidate_caches()  # it may have been installed since this process began
    check_matplotlib("the page")
    progress(0.0, "draw")
    made = drawn_page(report, fixed, moving, transform, error, spread, title)
    content = pdf_page(made) if pdf else html_page(made).encode("utf-8")
    return {"file": np.frombuffer(content, np.uint8)}


def drawn_page(
    report: dict[str, Any],
    fixed: Image,
    moving: Image,
    transform: Transform,
    error: Image | None = None,
    spread: Image | None = None,
    title: str = TITLE,
) -> Page:
    """Draw what `page` sets; see there."""
    inputs = _checked(fixed, moving)
    itk = as_transform(transform)
    field = transform if isinstance(transform, DisplacementField) else transform_quality.sampled(itk, fixed.grid)
    preset = PRESETS.get(report["preset"].removesuffix(" (changed)"))
    if preset is not None:
        inputs.bring_to_hu(preset, report.get("settings", {}).get("intensity", AUTO))
    scans = inputs.fixed_hu or inputs.fixed, inputs.moving_hu or inputs.moving
    pictures = draw(Subject(*scans, itk, field, error, spread, hu=preset is None or preset.hu))
    return page_of(report, pictures, title=title, now=datetime.now())


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "warm": warm,
    "register": register,
    "warp": warp,
    "evaluate": evaluate,
    "page": page,
}


def as_transform(value: Transform | None) -> sitk.Transform | None:
    """Convert a transform, a displacement field, or a (4, 4) matrix in LPS mm to ITK's transform.

    Raises:
        InputError: the matrix has another shape.
    """
    if isinstance(value, DisplacementField):
        return value.to_sitk()
    if not isinstance(value, np.ndarray):
        return value
    if value.shape != (4, 4):
        raise InputError(f"a linear transform is a 4 x 4 matrix, this array has shape {value.shape}; correct it")
    return affine_transform(value)


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


def _checked(fixed: Image, moving: Image) -> RunInputs:
    """Check the two volumes, and return them fit to be registered, with warnings about what had to be replaced."""
    moving, warnings = check_volume(moving, "moving volume")
    fixed, more = check_volume(fixed, "fixed volume")
    return RunInputs(fixed, moving, warnings=warnings + more)


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


def _target_errors(
    transform: sitk.Transform, fixed: np.ndarray, moving: np.ndarray, names: list[str] | None
) -> dict[str, Any]:
    """Measure target registration errors at landmarks (N, 3) LPS mm, without and with the transform."""
    before = metrics.tre(fixed, moving, lambda points: points)
    after = metrics.tre(fixed, moving, lambda points: transform_quality.moved(transform, points))
    return report.tre_section(names or [str(i + 1) for i in range(len(before))], before, after)


def _compared(
    progress: Progress, transform: sitk.Transform, pairs: dict[str, dict[str, Image]], grid: Grid | None
) -> dict[str, Any]:
    """Measure each pair of label maps, on `grid` or see `grid_around_both`; report progress after every label."""
    sections: dict[str, Any] = {}
    share = _JACOBIAN_STARTS / max(len(pairs), 1)

    def tell(fraction: float) -> None:
        progress(share * (len(sections) + fraction), "measure")

    for name, pair in pairs.items():
        fixed = pair["fixed"]
        on = grid_around_both(fixed, pair["moving"], transform) if grid is None else grid
        fixed = fixed if on is fixed.grid else fixed.resample(on, labels=True)
        tell(0.0)
        sections[name] = report.measured_labels(fixed, pair["moving"], transform, progress=tell)
    return sections
