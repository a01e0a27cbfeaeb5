"""How good a registration is: overlap and distance of labels, the field's regularity, errors at landmarks.

Every number in mm is in mm of the patient, whatever the grid's spacing and direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy import ndimage

from ..core.field import DisplacementField
from ..core.image import Image

SMALLEST_DETERMINANT = 1e-3
"""Determinants below it count as this much in `sdlogj`: folded space has no logarithm."""


def dice(a: np.ndarray, b: np.ndarray) -> float | None:
    """2 |a and b| / (|a| + |b|) of two masks of one shape, 0 to 1; None where both are empty."""
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else None


def dice30(values: Iterable[float]) -> float:
    """The mean of the lowest 30 % of Dice values (rounded up, at least one): how the hard organs fare; NaN for none."""
    lowest = np.sort(np.fromiter(values, float))
    return float(lowest[: math.ceil(0.3 * lowest.size - 1e-9)].mean()) if lowest.size else math.nan


def surface_distances(a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From every surface voxel of a to the surface of b, and from b's to a's, in mm.

    Args:
        a, b: (D, H, W) masks on one grid, neither empty.
        spacing: (3,) mm along i, j, k, as in `Grid`.

    A surface voxel is one of the mask with a face neighbour outside the mask; the volume's border counts as outside.
    Distances run between voxel centres. A search tree is as exact as distance maps, and faster.
    """
    points = [_surface(np.asarray(mask, bool)) * np.asarray(spacing, float)[::-1] for mask in (a, b)]
    if not len(points[0]) or not len(points[1]):
        raise ValueError("the surface distance of an empty mask is not defined")
    from scipy.spatial import cKDTree  # a registration without label maps need not wait for it

    trees = [cKDTree(p) for p in points]
    return trees[1].query(points[0])[0], trees[0].query(points[1])[0]


def _surface(mask: np.ndarray) -> np.ndarray:
    """(N, 3) indices (k, j, i) of the surface voxels, counted from the mask's bounding box plus its place."""
    box = ndimage.find_objects(mask.astype(np.uint8))
    if not box:
        return np.empty((0, 3))
    inner = mask[box[0]]
    return np.argwhere(inner & ~ndimage.binary_erosion(inner)) + [part.start for part in box[0]]


def hausdorff95(a_to_b: np.ndarray, b_to_a: np.ndarray) -> float:
    """HD95 in mm: the larger of the two directed 95th percentiles.

    As in Metrics Reloaded (Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z). MedPy's pools both sets first,
    which is smaller where one surface has a far part that the other lacks. Learn2Reg's script gives voxels, not mm.
    """
    return float(max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95)))


def average_surface_distance(a_to_b: np.ndarray, b_to_a: np.ndarray) -> float:
    """ASD in mm, symmetric: the mean over the surface voxels of both masks together (ASSD)."""
    return float((a_to_b.sum() + b_to_a.sum()) / (a_to_b.size + b_to_a.size))


def label_table(
    fixed: Image, before: Image, after: Image, progress: Callable[[float], None] = lambda fraction: None
) -> list[dict[str, float | int | None]]:
    """Overlap and distances of every label, before and after a registration.

    Args:
        fixed: label map of the fixed scan; 0 and below is background.
        before, after: the moving scan's labels on the same grid, without and with the transform.
        progress: called before every label with the share that is done, 0..1; it may raise.

    Returns:
        One row per label in fixed or moving: label, dice_before, dice_after (0..1), hd95_before, hd95_after,
        asd_before, asd_after (mm). All are None where the fixed scan lacks the label or both moving maps do; a Dice is
        0 and its distances None where just that map lacks it.

    Raises:
        ValueError: the three maps do not lie on one grid.
    """
    if not (fixed.grid.same_as(before.grid) and fixed.grid.same_as(after.grid)):
        raise ValueError("the label maps do not lie on one grid; resample them onto the fixed one")
    maps = {"fixed": fixed.array, "before": before.array, "after": after.array}
    maps = {name: array.astype(np.int64, copy=False) for name, array in maps.items()}
    boxes = [dict(enumerate(ndimage.find_objects(array), 1)) for array in maps.values()]
    rows = []
    labels = sorted({label for found in boxes for label, box in found.items() if box})
    for label in labels:
        progress(len(rows) / len(labels))
        box = _enclosing([found[label] for found in boxes if found.get(label)])
        masks = {name: array[box] == label for name, array in maps.items()}
        rows.append({"label": label, **_label_row(masks, fixed.grid.spacing)})
    return rows


def _enclosing(boxes: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box of array slices that holds all given ones."""
    return tuple(slice(min(p.start for p in parts), max(p.stop for p in parts)) for parts in zip(*boxes, strict=True))


def _label_row(masks: dict[str, np.ndarray], spacing: np.ndarray) -> dict[str, float | None]:
    there = {name: bool(mask.any()) for name, mask in masks.items()}
    row: dict[str, float | None] = {}
    comparable = there["fixed"] and (there["before"] or there["after"])
    for name in ("before", "after"):
        row[f"dice_{name}"] = dice(masks["fixed"], masks[name]) if comparable else None
    for name in ("before", "after"):
        both = there["fixed"] and there[name]
        distances = surface_distances(masks["fixed"], masks[name], spacing) if both else None
        row[f"hd95_{name}"] = hausdorff95(*distances) if distances else None
        row[f"asd_{name}"] = average_surface_distance(*distances) if distances else None
    return row


def jacobian_statistics(determinant: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
    """How regular a field is, from its Jacobian determinants (`DisplacementField.jacobian_determinant`).

    Args:
        determinant: any shape; 1 keeps the volume, at most 0 is folded space.
        mask: of the same shape, where to look; all of it without.

    Returns:
        mean, std, min and max of the determinant; folding_percent, the share of determinants <= 0 in per cent;
        sdlogj, the standard deviation of ln(max(determinant, 0.001)). Learn2Reg's sdLogJ adds 3 to the determinant
        first and comes out several times smaller. NaN where the mask is empty.
    """
    values = np.asarray(determinant, np.float64)
    values = values.ravel() if mask is None else values[np.asarray(mask, bool)]
    if not values.size:
        return dict.fromkeys(("mean", "std", "min", "max", "folding_percent", "sdlogj"), math.nan)
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "folding_percent": float(100 * np.mean(values <= 0)),
        "sdlogj": float(np.log(np.maximum(values, SMALLEST_DETERMINANT)).std()),
    }


def tre(
    fixed_points: np.ndarray, moving_points: np.ndarray, transform_points: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Target registration error (N,) in mm at corresponding landmarks (N, 3), LPS mm.

    `transform_points` maps fixed points to the moving space, as `DisplacementField.transform_points` does.
    """
    fixed_points, moving_points = np.atleast_2d(fixed_points), np.atleast_2d(moving_points)
    if fixed_points.shape != moving_points.shape or fixed_points.shape[-1] != 3:
        raise ValueError(f"landmarks of shapes {fixed_points.shape} and {moving_points.shape}, expected (N, 3) twice")
    return np.linalg.norm(transform_points(fixed_points) - moving_points, axis=-1)


def inverse_consistency(forward: DisplacementField, backward: DisplacementField, points: np.ndarray) -> np.ndarray:
    """|backward(forward(p)) - p| in mm, (...) for LPS points (..., 3).

    Outside its grid a field moves nothing, so give points whose images lie inside both.
    """
    points = np.asarray(points, np.float64)
    return np.linalg.norm(backward.transform_points(forward.transform_points(points)) - points, axis=-1)
