"""What a worker computes, one function per request, by the code of the command line. torch is imported when needed.

Every function takes `progress(fraction, stage)`, which may raise `Cancelled`, and the request's fields by keyword, and
returns the answer's fields. Transforms map fixed to moving points in LPS mm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import AIR, Image
from ..core.preset_overrides import adjusted
from ..core.presets import find_preset
from ..core.result import Progress
from ..errors import InputError
from ..evaluation import metrics, report, transform_quality
from ..io.landmark_init import affine_transform
from ..io.validation import check_overlap, check_volume
from ..io.volumes import fit_labels, fit_mask
from ..matching.progress import Clock

Transform = sitk.Transform | DisplacementField | np.ndarray
_REGISTERED = 0.9  # share of the progress; warping and measuring is the rest
_LABELS = 0.8  # share of the progress of measuring; the transform itself is the rest


def warm(progress: Progress) -> dict[str, Any]:
    """Import torch and say what it computes with.

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
    align: bool = True,
    initial_transform: Transform | None = None,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    fixed_labels: Image | None = None,
    moving_labels: Image | None = None,
    warp: dict[str, Image] | None = None,
    warp_labels: dict[str, Image] | None = None,
    evaluate: dict[str, dict[str, Image]] | None = None,
    jacobian: bool = False,
    inverse: bool = False,
) -> dict[str, Any]:
    """Register as `pddnet register` does, then warp and measure.

    Args:
        adjust: settings that replace the preset's, see `adjust.adjusted`.
        fixed_labels, moving_labels: label maps that guide the registration; give both or neither.
        warp, warp_labels: volumes and label maps of the moving space to bring to the fixed grid, by name.
        evaluate: pairs of label maps, {"fixed": ..., "moving": ...} by name, that are only measured.
        jacobian: whether to return the determinant as an image too.
        inverse: whether to return the inverse too, moving to fixed, on a grid over the moving scan.

    Returns:
        report (as `--report` writes it), field, spread, warped and warped_labels (images by name), evaluation (a label
        section by name, see `report.label_section`), jacobian (an `Image` or None), inverse (a `DisplacementField` or
        None), cuda (as `warm` says it).

    Raises:
        InputError, TorchMissing, Cancelled, MemoryError: as `pipeline.register`.
    """
    clock = Clock()
    progress(0.0, "start")
    settings = adjusted(find_preset(preset), **(adjust or {}))
    from .. import pipeline
    from ..tensor.device import check_device, gpu

    check_device(device)

    clock.lap("start")
    scan, warnings = check_volume(moving, "moving volume")
    fixed, more = check_volume(fixed, "fixed volume")
    warnings += more
    start = as_transform(initial_transform)
    if start is not None or not align:
        check_overlap(fixed.grid, scan.grid, start)
    guides, more = _guides(("fixed", fixed, fixed_mask, fixed_labels), ("moving", scan, moving_mask, moving_labels))
    warnings += more
    guided = fixed_labels is not None
    result = pipeline.register(
        fixed,
        scan,
        settings,
        **guides,
        initial_transform=start,
        align=align,
        device=device,
        progress=lambda fraction, stage: progress(_REGISTERED * fraction, stage),
    )
    clock.add(result.seconds)

    progress(_REGISTERED, "warp")
    transform = result.field.to_sitk()
    volumes = {name: scan if image is moving else image for name, image in (warp or {}).items()}  # NaN replaced
    warped, warped_labels = _warped(progress, fixed.grid, transform, volumes, warp_labels or {})
    clock.lap("warp")
    progress((1 + _REGISTERED) / 2, "measure")
    evaluation = _evaluated(progress, transform, evaluate or {}, start=start, guided=guided)
    determinant = result.field.jacobian_determinant()
    clock.lap("measure")
    back, residual = None, None
    if inverse:
        progress((1 + _REGISTERED) / 2, "invert")
        back, residual = result.inverse(scan.grid)
        clock.lap("invert")
    summary = report.registration_report(
        result, fixed, scan.grid, determinant, seconds=clock.seconds, warnings=warnings, inverse_residual=residual
    )
    return {
        "report": summary,
        "field": result.field,
        "spread": result.uncertainty,
        "warped": warped,
        "warped_labels": warped_labels,
        "evaluation": evaluation,
        "jacobian": Image(determinant, result.field.grid) if jacobian else None,
        "inverse": back,
        "cuda": gpu(),
    }


def warp(
    progress: Progress,
    *,
    transform: Transform,
    grid: Grid,
    images: dict[str, Image] | None = None,
    labels: dict[str, Image] | None = None,
) -> dict[str, Any]:
    """Volumes and label maps of the moving space on a grid of the fixed space, under any transform. torch-free.

    Returns:
        warped, warped_labels: images by name, in their own scalar types; outside air, or label 0.
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
    """Measure any transform, also one that another program made. torch-free.

    Args:
        labels: pairs of label maps, {"fixed": ..., "moving": ...} by name.
        grid: where to compare them; without, on each fixed label map's own grid.
        fixed: the fixed volume, for the transform's Jacobian and its inverse inside the body.
        moving: the moving volume, to compare it with the fixed one without and with the transform.
        inverse: moving to fixed points; without, `transform` is inverted here.
        names, fixed_points, moving_points: corresponding landmarks, (N, 3) LPS mm.

    Returns:
        evaluation (a label section by name), tre_mm, jacobian, inverse_error_mm and similarity; see
        `report.tre_section` and `measuring`. What was not asked for is None.
    """
    itk = as_transform(transform)
    evaluation = _compared(progress, itk, labels or {}, grid)
    tre = jacobian = error = alike = None
    if fixed_points is not None and moving_points is not None:
        before = metrics.tre(fixed_points, moving_points, lambda points: points)
        after = metrics.tre(fixed_points, moving_points, lambda points: transform_quality.moved(itk, points))
        tre = report.tre_section(names or [str(i + 1) for i in range(len(before))], before, after)
    if fixed is not None:
        progress(_LABELS, "measure")
        jacobian = transform_quality.jacobian(transform if isinstance(transform, DisplacementField) else itk, fixed)
        progress((1 + _LABELS) / 2, "measure")
        within = moving.grid if moving is not None else None
        error = transform_quality.inverse_error(itk, fixed, as_transform(inverse), within)
    if fixed is not None and moving is not None:
        progress(0.97, "measure")
        alike = transform_quality.similarity(fixed, moving, itk)
    return {
        "evaluation": evaluation,
        "tre_mm": tre,
        "jacobian": jacobian,
        "inverse_error_mm": error,
        "similarity": alike,
    }


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "warm": warm,
    "register": register,
    "warp": warp,
    "evaluate": evaluate,
}


def as_transform(value: Transform | None) -> sitk.Transform | None:
    """ITK's transform from one, from a displacement field, or from a (4, 4) matrix in LPS mm.

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


def _guides(*sides: tuple[str, Image, Image | None, Image | None]) -> tuple[dict[str, Image | None], list[str]]:
    """Masks and guiding labels on their scans' grids, by `pipeline.register`'s names, and warnings.

    sides: name, scan, mask and labels. Raises InputError where only one scan has labels.
    """
    fitted: dict[str, Image | None] = {}
    warnings: list[str] = []
    for side, image, mask, labels in sides:
        for kind, guide, fit in (("mask", mask, fit_mask), ("labels", labels, fit_labels)):
            fitted[f"{side}_{kind}"], more = fit(guide, image.grid, f"{side} {kind}") if guide else (None, [])
            warnings += more
    if (fitted["fixed_labels"] is None) != (fitted["moving_labels"] is None):
        raise InputError("labels of one scan alone cannot guide the registration; give those of both, or neither")
    return fitted, warnings


def _warped(
    progress: Progress, grid: Grid, transform: sitk.Transform, images: dict[str, Image], labels: dict[str, Image]
) -> tuple[dict[str, Image], dict[str, Image]]:
    warped, warped_labels = {}, {}
    for name, image in images.items():
        progress(_REGISTERED, "warp")
        warped[name] = image.resample(grid, transform, fill=max(AIR, float(image.array.min())))
    for name, image in labels.items():
        progress(_REGISTERED, "warp")
        warped_labels[name] = image.resample(grid, transform, labels=True)
    return warped, warped_labels


def _evaluated(
    progress: Progress, transform: sitk.Transform, pairs: dict[str, dict[str, Image]], **settings: Any
) -> dict[str, Any]:
    sections = {}
    for name, pair in pairs.items():
        progress((1 + _REGISTERED) / 2, "measure")
        sections[name] = report.measured_labels(pair["fixed"], pair["moving"], transform, **settings)
    return sections


def _compared(
    progress: Progress, transform: sitk.Transform, pairs: dict[str, dict[str, Image]], grid: Grid | None
) -> dict[str, Any]:
    """A label section for each pair, on `grid` or on the fixed map's own; progress after every label."""
    sections: dict[str, Any] = {}
    for name, pair in pairs.items():
        fixed = pair["fixed"] if grid is None else pair["fixed"].resample(grid, labels=True)
        done, share = _LABELS * len(sections) / len(pairs), _LABELS / len(pairs)
        progress(done, "measure")
        sections[name] = report.measured_labels(
            fixed,
            pair["moving"],
            transform,
            progress=lambda fraction, done=done, share=share: progress(done + share * fraction, "measure"),
        )
    return sections
