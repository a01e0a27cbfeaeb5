"""Quality of a transform without labels or landmarks: folding, error of the inverse, similarity of the scans.

Transforms map fixed to moving points, LPS mm. torch-free, so that transforms of other programs can be measured too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..core.composite import leaves
from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.hounsfield import PADDING_HU, SOFT_TISSUE_HU
from ..core.image import Image
from ..core.intensity import hu_if_ct
from ..core.masks import body_mask, view_mask
from ..core.slice_frame import is_slice
from .metrics import jacobian_statistics

SAMPLING_MM = 4.0  # voxels in which scans and transforms are measured, unless a transform is finer
FINEST_SAMPLING_MM = 1.0  # of a transform; finer grids cost memory and show nothing more
FINEST_BODY_MM = 2.0  # voxels in which the body is looked for
# Of the view or the grid, which hold less air than the volume of `tensor.scan.SMALLEST_BODY`; with less no body was
# found (another modality), and the view counts.
SMALLEST_BODY_SHARE = 0.01
MOST_NODES = 4_000_000  # of a grid on which a transform is sampled
MOST_POINTS = 20_000  # at which the inverse is tried
FEWEST_VOXELS = 8  # of an overlap, for a correlation to mean anything


def jacobian(transform: sitk.Transform | DisplacementField, fixed: Image) -> dict[str, Any]:
    """Measure the Jacobian determinant of a transform inside the fixed body, see `metrics.jacobian_statistics`.

    Returns:
        the statistics, region (see `jacobian_in_body`) and spacing_mm of the grid that they were taken on: a
        `DisplacementField`'s own, else one over the fixed scan as fine as the transform, as far as memory allows.
    """
    field = transform if isinstance(transform, DisplacementField) else sampled(transform, fixed.grid)
    statistics, region = jacobian_in_body(field.jacobian_determinant(), field.grid, fixed)
    return {"region": region, "spacing_mm": float(field.grid.spacing.max()), **statistics}


def sampled(transform: sitk.Transform, fixed_grid: Grid) -> DisplacementField:
    """Sample a transform on a grid over the fixed scan, as fine as it is itself, as far as memory allows."""
    return DisplacementField.from_transform(transform, _grid(fixed_grid, _sampling_mm(transform)))


def jacobian_in_body(determinant: np.ndarray, grid: Grid, fixed: Image) -> tuple[dict[str, float], str]:
    """Take the statistics of Jacobian determinants (D, H, W) on `grid` inside the fixed body.

    Returns:
        the statistics, and the region: 'fixed body', or 'fixed view' where no body was found or the scan is no CT; of a
        single slice 'fixed image', all of it.
    """
    if is_slice(fixed.grid):
        return jacobian_statistics(determinant, fixed.grid.contains(grid.points())), "fixed image"
    ct = hu_if_ct(fixed)
    fixed = ct or fixed
    coarse = fixed.coarsen(max(float(grid.spacing.max()), FINEST_BODY_MM))
    view = _on_grid(view_mask(coarse), grid)
    if ct is None:
        return jacobian_statistics(determinant, view), "fixed view"
    outside = min(PADDING_HU, float(fixed.array.min()))
    body = body_mask(coarse.resample(grid, fill=outside)).array & view
    if body.sum() > SMALLEST_BODY_SHARE * view.sum():
        return jacobian_statistics(determinant, body), "fixed body"
    return jacobian_statistics(determinant, view), "fixed view"


def inverse_error(
    transform: sitk.Transform, fixed: Image, inverse: sitk.Transform | None = None, within: Grid | None = None
) -> dict[str, Any]:
    """Measure how far from p the inverse takes T(p), in mm, at points p spread evenly over the fixed body.

    Args:
        inverse: the transform to try, moving to fixed. Without one T is inverted, exactly if it is linear, else by
            Newton's method on a grid: where T folds there is no inverse, and the error is large.
        within: the moving scan's grid: of a given inverse, which may end with that scan, only points T(p) in it count.

    Returns:
        mean, p95 and max in mm, points (how many), and inverse: 'given', 'exact' or 'numerical'.
    """
    points = _body_points(fixed)
    landed = moved(transform, points)
    if inverse is not None:
        kind = "given"
        if within is not None and (inside := within.contains(landed)).any():
            points, landed = points[inside], landed[inside]
        back = moved(inverse, landed)
    elif transform.IsLinear():
        kind = "exact"
        back = moved(transform.GetInverse(), landed)
    else:
        kind = "numerical"
        back = _inverted_on_a_grid(transform, landed, fixed.grid)
    error = np.linalg.norm(back - points, axis=-1)
    return {
        "mean": float(error.mean()),
        "p95": float(np.percentile(error, 95)),
        "max": float(error.max()),
        "points": len(points),
        "inverse": kind,
    }


def similarity(fixed: Image, moving: Image, transform: sitk.Transform) -> dict[str, Any]:
    """Compute the normalised correlation of two scans without and with a transform, at 4 mm over the fixed one.

        sum (f - mean f) (m - mean m) / sqrt(sum (f - mean f)^2  sum (m - mean m)^2),  -1..1

    over the voxels that lie in the bodies of both; f and m are clipped to -200..300 HU (not clipped where a scan has no
    Hounsfield units). The overlap before and after is not the same, so it is returned too.

    Returns:
        before, after (None where hardly anything overlaps, or there is no contrast), and overlap_before and
        overlap_after: the share of the fixed body, 0..1, that also shows the moving body.
    """
    grid = _grid(fixed.grid, SAMPLING_MM)
    fixed_values, fixed_body = _values_and_body(fixed)
    moving_values, moving_body = _values_and_body(moving)
    values, body = fixed_values.resample(grid).array, _on_grid(fixed_body, grid)
    found: dict[str, Any] = {}
    for side, each in (("before", None), ("after", transform)):
        both = body & _on_grid(moving_body, grid, each)
        warped = moving_values.resample(grid, each).array
        found[side] = _correlation(values[both], warped[both])
        found[f"overlap_{side}"] = float(both.sum() / max(body.sum(), 1))
    return found


def moved(transform: sitk.Transform, points: npt.ArrayLike) -> np.ndarray:
    """Map LPS points (N, 3) by any ITK transform."""
    flat = np.asarray(points, float).reshape(-1, 3)
    return np.array([transform.TransformPoint(point) for point in flat.tolist()]).reshape(-1, 3)


def _correlation(f: np.ndarray, m: np.ndarray) -> float | None:
    if f.size < FEWEST_VOXELS:
        return None
    f, m = f - f.mean(dtype=np.float64), m - m.mean(dtype=np.float64)
    scale = float(np.sqrt((f * f).sum() * (m * m).sum()))
    return float((f * m).sum() / scale) if scale > 0 else None


def _values_and_body(scan: Image) -> tuple[Image, Image]:
    """Coarsen a scan to about 4 mm and clip it as `similarity` says; its body within its view (bool)."""
    ct = hu_if_ct(scan)
    coarse = _without_gaps((ct or scan).coarsen(SAMPLING_MM))
    view = view_mask(coarse)
    if ct is None:
        return Image(coarse.array.astype(np.float32), coarse.grid), view
    body = Image(body_mask(coarse).array & view.array, coarse.grid)
    found = body.array.sum() > SMALLEST_BODY_SHARE * view.array.sum()
    return coarse.clip(*SOFT_TISSUE_HU), body if found else view


def _without_gaps(image: Image) -> Image:
    """Replace values that are not finite by the lowest one, at most 0."""
    finite = np.isfinite(image.array)
    if finite.all():
        return image
    lowest = np.min(image.array, where=finite, initial=0.0)
    return Image(np.nan_to_num(image.array, nan=lowest, posinf=lowest, neginf=lowest), image.grid)


def _body_points(fixed: Image) -> np.ndarray:
    """Take every so many voxel centres of the fixed body, or of the view of a scan that is no CT: (N, 3) LPS mm."""
    ct, grid = hu_if_ct(fixed), _grid(fixed.grid, SAMPLING_MM)
    coarse = (ct or fixed).coarsen(SAMPLING_MM)
    view = view_mask(coarse)
    body = view if ct is None else Image(body_mask(coarse).array & view.array, coarse.grid)
    found = _on_grid(body, grid)
    region = found if found.mean() > SMALLEST_BODY_SHARE else _on_grid(view, grid)
    points = grid.points()[region]
    return points[:: max(len(points) // MOST_POINTS, 1)]


def _on_grid(mask: Image, grid: Grid, transform: sitk.Transform | None = None) -> np.ndarray:
    """Warp a mask to the nearest voxel of `grid`: (D, H, W) bool."""
    return mask.resample(grid, transform, labels=True).array > 0


def _inverted_on_a_grid(transform: sitk.Transform, landed: np.ndarray, fixed_grid: Grid) -> np.ndarray:
    """Invert a transform by Newton's method on a grid around points (N, 3), and map these back; LPS mm."""
    field = DisplacementField.from_transform(transform, _grid(fixed_grid, SAMPLING_MM))
    inverse, _ = field.invert(_around(landed, fixed_grid))
    return inverse.transform_points(landed)


def _grid(grid: Grid, spacing: float) -> Grid:
    """Make an isotropic grid over this one, coarser than asked for (mm) if there would be too many nodes."""
    least = float((grid.extent.prod() / MOST_NODES) ** (1 / 3))
    return grid.isotropic(max(spacing, least))


def _around(points: np.ndarray, like: Grid) -> Grid:
    """Make a grid with the axes of `like` around all points."""
    index = like.point_to_index(points)
    low, high = np.floor(index.min(axis=0)) - 1, np.ceil(index.max(axis=0)) + 1
    size = tuple(int(n) for n in (high - low + 1)[::-1])
    return _grid(Grid(size, like.spacing, like.index_to_point(low), like.direction), SAMPLING_MM)


def _sampling_mm(transform: sitk.Transform) -> float:
    """Find the spacing in mm at which the transform should be sampled: its own, within limits."""
    return min(map(_leaf_sampling_mm, leaves(transform)), default=SAMPLING_MM)


def _leaf_sampling_mm(transform: sitk.Transform) -> float:
    kind = transform.GetName()
    if kind == "DisplacementFieldTransform":
        finest = min(sitk.DisplacementFieldTransform(transform).GetDisplacementField().GetSpacing())
    elif kind == "BSplineTransform":
        finest = (
            min(sitk.BSplineTransform(transform).GetCoefficientImages()[0].GetSpacing()) / 4
        )  # curved between its nodes
    else:
        finest = SAMPLING_MM
    return min(max(finest, FINEST_SAMPLING_MM), SAMPLING_MM)
