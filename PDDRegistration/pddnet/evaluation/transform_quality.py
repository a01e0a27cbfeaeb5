"""What can be measured of any transform besides labels and landmarks: folding, its inverse, how alike the scans are.

Transforms map fixed to moving points, LPS mm. torch-free, so that the transforms of other programs can be measured
where nothing is registered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image
from ..core.masks import body_mask, view_mask
from . import report

SPACING = 4.0  # mm, where nothing about the transform asks for less
SMALLEST_SPACING = 1.0  # mm
MOST_NODES = 4_000_000  # of a grid on which a transform is sampled
MOST_POINTS = 20_000  # at which the inverse is tried
SOFT_TISSUE = (-200.0, 300.0)  # HU: from fat to vessels with contrast agent; without it bones and lungs drown the rest
HOUNSFIELD = -150.0  # only Hounsfield units go below it
FEWEST_VOXELS = 8  # of an overlap, for a correlation to mean anything


def jacobian(transform: sitk.Transform | DisplacementField, fixed: Image) -> dict[str, Any]:
    """Statistics of the Jacobian determinant inside the fixed body, see `metrics.jacobian_statistics`.

    Returns:
        the statistics, region ('fixed body' or 'fixed view') and spacing_mm of the grid that they were taken on: a
        `DisplacementField`'s own, else one over the fixed scan as fine as the transform, as far as memory allows.
    """
    if isinstance(transform, DisplacementField):
        field = transform
    else:
        field = DisplacementField.from_transform(transform, _grid(fixed.grid, _resolution(transform)))
    statistics, region = report.jacobian_section(field.jacobian_determinant(), field.grid, fixed)
    return {"region": region, "spacing_mm": float(field.grid.spacing.max()), **statistics}


def inverse_error(
    transform: sitk.Transform, fixed: Image, inverse: sitk.Transform | None = None, within: Grid | None = None
) -> dict[str, Any]:
    """How far from p the inverse takes T(p), in mm, at points p spread evenly over the fixed body.

    inverse: the transform to try, moving to fixed. Without one T is inverted here, exactly if it is linear, else by
    Newton's method on a grid: where T folds there is no inverse, and the error is large.
    within: the moving scan's grid: of a given inverse, which may end with that scan, only points T(p) in there count.

    Returns:
        mean, p95 and max in mm, points (how many), and inverse: 'given', 'exact' or 'numerical'.
    """
    points = _body_points(fixed)
    landed = moved(transform, points)
    kind = "given" if inverse is not None else "exact" if transform.IsLinear() else "numerical"
    if kind == "given" and within is not None and (inside := within.contains(landed)).any():
        points, landed = points[inside], landed[inside]
    if kind == "numerical":
        field = DisplacementField.from_transform(transform, _grid(fixed.grid, SPACING))
        back = field.invert(_around(landed, fixed.grid))[0].transform_points(landed)
    else:
        back = moved(inverse if inverse is not None else transform.GetInverse(), landed)
    error = np.linalg.norm(back - points, axis=-1)
    numbers = {"mean": error.mean(), "p95": np.percentile(error, 95), "max": error.max()}
    return {key: float(value) for key, value in numbers.items()} | {"points": len(points), "inverse": kind}


def similarity(fixed: Image, moving: Image, transform: sitk.Transform) -> dict[str, Any]:
    """Normalised correlation of two scans without and with a transform, on a grid of 4 mm over the fixed one.

        sum (f - mean f) (m - mean m) / sqrt(sum (f - mean f)^2  sum (m - mean m)^2),  -1..1

    over the voxels that lie in the bodies of both; f and m are limited to -200..300 HU (not limited where a scan has no
    Hounsfield units). The overlap before and after is not the same, so it is told too.

    Returns:
        before, after (None where hardly anything overlaps, or there is no contrast), and overlap_before and
        overlap_after: the share of the fixed body, 0..1, that also shows the moving body.
    """
    grid = _grid(fixed.grid, SPACING)
    here, body = _values_and_body(fixed)
    here, body = here.resample(grid).array, body.resample(grid, labels=True).array > 0
    there, moving_body = _values_and_body(moving)
    found: dict[str, Any] = {}
    for side, each in (("before", None), ("after", transform)):
        both = body & (moving_body.resample(grid, each, labels=True).array > 0)
        found[side] = _correlation(here[both], there.resample(grid, each).array[both])
        found[f"overlap_{side}"] = float(both.sum() / max(body.sum(), 1))
    return found


def moved(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    """LPS points (N, 3), each where the transform takes it."""
    flat = np.asarray(points, float).reshape(-1, 3)
    return np.array([transform.TransformPoint(point) for point in flat.tolist()]).reshape(-1, 3)


def _correlation(f: np.ndarray, m: np.ndarray) -> float | None:
    if f.size < FEWEST_VOXELS:
        return None
    f, m = f - f.mean(dtype=np.float64), m - m.mean(dtype=np.float64)
    scale = float(np.sqrt((f * f).sum() * (m * m).sum()))
    return float((f * m).sum() / scale) if scale > 0 else None


def _values_and_body(scan: Image) -> tuple[Image, Image]:
    """The scan at about 4 mm, limited as `similarity` says, and its body within its view (uint8)."""
    coarse = scan.coarsen(SPACING)
    if not np.isfinite(coarse.array).all():
        lowest = np.min(coarse.array, where=np.isfinite(coarse.array), initial=0.0)
        coarse = Image(np.nan_to_num(coarse.array, nan=lowest, posinf=lowest, neginf=lowest), coarse.grid)
    hounsfield = float(coarse.array.min()) < HOUNSFIELD
    inside = view_mask(coarse).array
    body = body_mask(coarse).array & inside if hounsfield else inside
    if body.sum() <= report.SMALLEST_BODY * inside.sum():
        body = inside
    values = coarse.clip(*SOFT_TISSUE) if hounsfield else Image(coarse.array.astype(np.float32), coarse.grid)
    return values, Image(body.astype(np.uint8), coarse.grid)


def _body_points(fixed: Image) -> np.ndarray:
    """(N, 3) LPS mm, every so many voxels of the body."""
    coarse = fixed.coarsen(SPACING)
    grid = _grid(fixed.grid, SPACING)
    view = view_mask(coarse).array
    body = Image((body_mask(coarse).array & view).astype(np.uint8), coarse.grid).resample(grid, labels=True).array > 0
    if body.mean() <= report.SMALLEST_BODY:
        body = Image(view.astype(np.uint8), coarse.grid).resample(grid, labels=True).array > 0
    points = grid.points()[body]
    return points[:: max(len(points) // MOST_POINTS, 1)]


def _grid(grid: Grid, spacing: float) -> Grid:
    """A grid over this one, isotropic, coarser than asked for if there would be too many nodes."""
    least = float((grid.extent.prod() / MOST_NODES) ** (1 / 3))
    return grid.isotropic(max(spacing, least))


def _around(points: np.ndarray, like: Grid) -> Grid:
    """A grid with the axes of `like` around all points."""
    index = like.point_to_index(points)
    low, high = np.floor(index.min(axis=0)) - 1, np.ceil(index.max(axis=0)) + 1
    size = tuple(int(n) for n in (high - low + 1)[::-1])
    return _grid(Grid(size, like.spacing, like.index_to_point(low), like.direction), SPACING)


def _resolution(transform: sitk.Transform) -> float:
    """mm between the points at which its derivative should be taken."""
    kind = transform.GetName()
    if kind == "CompositeTransform":
        composite = sitk.CompositeTransform(transform)
        parts = [composite.GetNthTransform(n) for n in range(composite.GetNumberOfTransforms())]
        return min([_resolution(part) for part in parts], default=SPACING)
    if kind == "DisplacementFieldTransform":
        finest = min(sitk.DisplacementFieldTransform(transform).GetDisplacementField().GetSpacing())
    elif kind == "BSplineTransform":
        finest = min(sitk.BSplineTransform(transform).GetCoefficientImages()[0].GetSpacing()) / 4
    else:
        finest = SPACING
    return min(max(finest, SMALLEST_SPACING), SPACING)
