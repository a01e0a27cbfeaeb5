"""`evaluate`: measures any transform. torch-free."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image
from ..core.result import Progress
from ..evaluation import metrics, report, transform_quality
from ..evaluation.common_grid import grid_around_both
from ..evaluation.motion import label_motion, motion_table
from .inputs import Transform, as_transform

# Progress: label maps take the first part, then Jacobian, inverse and similarity follow.
_JACOBIAN_STARTS = 0.8
_INVERSE_STARTS = 0.9
_SIMILARITY_STARTS = 0.97


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
