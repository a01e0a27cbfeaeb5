"""Metrics of a registration: overlap and distance of structures, errors at landmarks, regularity of the field.

Lengths are in mm of the patient, whatever the grid's spacing and direction. `LABEL_METRICS` declares the metrics of
structures, each once: the report, the tables of the command and of Slicer, and `pddnet compare` loop over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..core.grid import Grid
from ..core.image import Image

SMALLEST_DETERMINANT = 1e-3
"""Determinants below it count as this much in `sdlogj`: folded space has no logarithm."""


def dice(a: np.ndarray, b: np.ndarray) -> float | None:
    """Compute the Dice coefficient of two masks of one shape: 2 |a and b| / (|a| + |b|), 0..1; None for empty masks."""
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else None


def mean(values: Iterable[float]) -> float:
    """Compute the mean; NaN for no values."""
    array = np.fromiter(values, float)
    return float(array.mean()) if array.size else math.nan


def dice30(values: Iterable[float]) -> float:
    """Compute the mean of the lowest 30 % of Dice values, rounded up: it shows the difficult organs; NaN for none."""
    rising = np.sort(np.fromiter(values, float))
    count = math.ceil(0.3 * rising.size - 1e-9)  # 1e-9: a product a little above a whole number is that number
    return mean(rising[:count])


def surface_distances(
    a: np.ndarray, b: np.ndarray, spacing: npt.ArrayLike, most: int | None = None, *, across: tuple[int, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Measure from every surface voxel of a to the surface of b, and from b's to a's, in mm.

    A surface voxel is one of the mask with a face neighbour outside the mask; the volume's border counts as outside.
    Distances run between voxel centres. A search tree is as exact as distance maps, and faster.

    Args:
        a, b: (D, H, W) masks on one grid, neither empty.
        spacing: (3,) mm along i, j, k, as in `Grid`.
        most: how many voxels of either surface to measure from, evenly spread over it; None for all of them.
        across: array axes along which a grid of one slice has one voxel: no border there, so contours are compared.

    Raises:
        ValueError: a mask is empty.
    """
    points = [_surface(np.asarray(mask, bool), across) * np.asarray(spacing, float)[::-1] for mask in (a, b)]
    if not len(points[0]) or not len(points[1]):
        raise ValueError("the surface distance of an empty mask is not defined")
    from scipy.spatial import cKDTree  # a registration without label maps need not wait for it

    trees = [cKDTree(p) for p in points]
    starts = [p[:: max(len(p) // most, 1)] if most else p for p in points]
    return trees[1].query(starts[0])[0], trees[0].query(starts[1])[0]


def _surface(mask: np.ndarray, across: tuple[int, ...]) -> np.ndarray:
    """Find the surface voxels of a mask: (N, 3) array indices (k, j, i)."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return np.empty((0, 3))
    box = boxes[0]  # the mask's bounding box: an erosion of the whole volume takes long
    part = mask[box]
    if across:
        wider = np.pad(part, [(1, 1) if axis in across else (0, 0) for axis in range(3)], "edge")
        inner = _inner(wider)[tuple(slice(1, -1) if axis in across else slice(None) for axis in range(3))]
    else:
        inner = _inner(part)
    return np.argwhere(part & ~inner) + [along.start for along in box]


def _inner(mask: np.ndarray) -> np.ndarray:
    """Find the voxels whose six face neighbours all lie in the mask; several times as fast as scipy's erosion."""
    inner = np.zeros_like(mask)
    here, low, high = slice(1, -1), slice(None, -2), slice(2, None)
    middle = mask[here, here, here].copy()
    for side in (low, high):
        middle &= mask[side, here, here] & mask[here, side, here] & mask[here, here, side]
    inner[here, here, here] = middle
    return inner


def hausdorff95(a_to_b: np.ndarray, b_to_a: np.ndarray) -> float:
    """Compute HD95 in mm: the larger of the two directed 95th percentiles.

    As in Metrics Reloaded (Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z). MedPy's pools both sets first,
    which is smaller where one surface has a far part that the other lacks. Learn2Reg's script gives voxels, not mm.
    """
    return float(max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95)))


def average_surface_distance(a_to_b: np.ndarray, b_to_a: np.ndarray) -> float:
    """Compute the symmetric ASD in mm: the mean over the surface voxels of both masks together (ASSD)."""
    return float((a_to_b.sum() + b_to_a.sum()) / (a_to_b.size + b_to_a.size))


@dataclass(frozen=True, eq=False)
class MaskPair:
    """One structure in the fixed scan and in the warped moving scan: masks (D, H, W) on one grid, spacing (3,) mm."""

    fixed: np.ndarray
    warped: np.ndarray
    spacing: np.ndarray
    across: tuple[int, ...] = ()  # array axes along which the grid has one voxel, see `surface_distances`

    @property
    def is_empty(self) -> bool:
        """Whether neither mask holds a voxel, so that nothing can be measured."""
        return not (self.fixed.any() or self.warped.any())

    @cached_property
    def distances(self) -> tuple[np.ndarray, np.ndarray] | None:
        """`surface_distances`, computed once for all metrics that need them; None where a mask is empty."""
        if not (self.fixed.any() and self.warped.any()):
            return None
        return surface_distances(self.fixed, self.warped, self.spacing, across=self.across)


@dataclass(frozen=True)
class Summary:
    """One number for all structures of a pair of scans: a column of `pddnet compare`."""

    key: str
    caption: str
    digits: int
    of: Callable[[list[float]], float]


@dataclass(frozen=True)
class Metric:
    """Metric of one structure, declared in `LABEL_METRICS`.

    Attributes:
        key: names it in reports, as KEY_before and KEY_after.
        caption: names it to users, and in the columns of tables.
        unit: 'mm', ...; empty for a share, 0..1.
        digits: after the point, in text for people.
        description: one line for users.
        measure: of two masks; None where it is not defined, as a distance from an empty mask.
        higher_is_better: True for overlaps, False for distances.
        table_digits: after the point, in tables that programs read.
        summaries: columns of `pddnet compare`; None for its mean over the structures.
    """

    key: str
    caption: str
    unit: str
    digits: int
    description: str
    measure: Callable[[MaskPair], float | None]
    higher_is_better: bool
    table_digits: int = 3
    summaries: tuple[Summary, ...] | None = None

    @property
    def sides(self) -> tuple[str, str]:
        """Its keys in a row of `label_table`: before and after the registration."""
        return f"{self.key}_before", f"{self.key}_after"

    @property
    def columns(self) -> tuple[Summary, ...]:
        """Its columns in `pddnet compare`."""
        if self.summaries is not None:
            return self.summaries
        return (Summary(self.key, f"{self.caption} {self.unit}".rstrip(), self.digits, mean),)


def _of_distances(measure: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[MaskPair], float | None]:
    """Let `measure` of surface distances measure masks; None where one is empty."""
    return lambda pair: measure(*pair.distances) if pair.distances else None


LABEL_METRICS: list[Metric] = [
    Metric(
        "dice",
        "Dice",
        "",
        3,
        "Overlap, 0 to 1: twice the shared volume over both",
        lambda pair: dice(pair.fixed, pair.warped),
        higher_is_better=True,
        table_digits=4,
        summaries=(
            Summary("dice", "Dice %", 1, lambda values: 100 * mean(values)),
            Summary("dice30", "Dice30 %", 1, lambda values: 100 * dice30(values)),
        ),
    ),
    Metric(
        "hd95",
        "HD95",
        "mm",
        1,
        "Larger 95th percentile of the distances",
        _of_distances(hausdorff95),
        higher_is_better=False,
    ),
    Metric(
        "asd",
        "ASD",
        "mm",
        2,
        "Mean distance of the surfaces, both ways",
        _of_distances(average_surface_distance),
        higher_is_better=False,
    ),
]
"""The metrics of structures. A new one is a function above and an entry here."""


def label_table(
    fixed: Image,
    before: Image,
    after: Image,
    progress: Callable[[float], None] = lambda fraction: None,
    *,
    moving_labels: Iterable[int] = (),
) -> list[dict[str, float | int | None]]:
    """Measure every label by `LABEL_METRICS`, before and after a registration.

    Args:
        fixed: label map of the fixed scan; 0 and below is background.
        before, after: the moving scan's labels on the same grid, without and with the transform.
        progress: called before every label with the share that is done, 0..1; it may raise.
        moving_labels: which labels the moving map holds, also where they land outside the grid.

    Returns:
        One row per label in fixed or moving: label, and the `sides` of every metric, today dice_before, dice_after
        (0..1), hd95_before, hd95_after, asd_before, asd_after (mm). All are None where the fixed scan lacks the label
        or the moving map does; a Dice is 0 and its distances None where the label lands outside the grid.

    Raises:
        ValueError: the three maps do not lie on one grid.
    """
    if not (fixed.grid.same_as(before.grid) and fixed.grid.same_as(after.grid)):
        raise ValueError("the label maps do not lie on one grid; resample them onto the fixed one")
    maps = {"fixed": fixed.array, "before": before.array, "after": after.array}
    maps = {name: array.astype(np.int64, copy=False) for name, array in maps.items()}
    boxes = [dict(enumerate(ndimage.find_objects(array), 1)) for array in maps.values()]
    rows: list[dict[str, float | int | None]] = []
    known = set(moving_labels)
    labels = sorted({label for found in boxes for label, box in found.items() if box})
    for label in labels:
        progress(len(rows) / len(labels))
        box = _enclosing([found[label] for found in boxes if found.get(label)])
        masks = {name: array[box] == label for name, array in maps.items()}
        rows.append({"label": label, **_label_row(masks, fixed.grid, in_moving=label in known)})
    return rows


def _enclosing(boxes: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Find the smallest box of array slices that holds all given ones."""
    return tuple(slice(min(p.start for p in parts), max(p.stop for p in parts)) for parts in zip(*boxes, strict=True))


def _label_row(masks: dict[str, np.ndarray], grid: Grid, *, in_moving: bool) -> dict[str, float | None]:
    """Measure one label: masks of it within a box of the grid, named 'fixed', 'before' and 'after'."""
    across = tuple(axis for axis, n in enumerate(grid.shape) if n == 1)
    comparable = masks["fixed"].any() and (in_moving or masks["before"].any() or masks["after"].any())
    pairs = [MaskPair(masks["fixed"], masks[side], grid.spacing, across) for side in ("before", "after")]
    row: dict[str, float | None] = {}
    for metric in LABEL_METRICS:
        for side, pair in zip(metric.sides, pairs, strict=True):
            row[side] = metric.measure(pair) if comparable else None
    return row


def jacobian_statistics(determinant: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
    """Measure how regular a field is, from its Jacobian determinants (`DisplacementField.jacobian_determinant`).

    Args:
        determinant: any shape; 1 keeps the volume, at most 0 is folded space.
        mask: of the same shape, the region to measure; None for all of it.

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
    """Measure the target registration error (N,) in mm at corresponding landmarks (N, 3), LPS mm.

    transform_points: maps fixed points to the moving space, as `DisplacementField.transform_points` does.

    Raises:
        ValueError: the landmarks are not (N, 3), or of different number.
    """
    fixed_points, moving_points = np.atleast_2d(fixed_points), np.atleast_2d(moving_points)
    if fixed_points.shape != moving_points.shape or fixed_points.shape[-1] != 3:
        raise ValueError(f"landmarks of shapes {fixed_points.shape} and {moving_points.shape}, expected (N, 3) twice")
    return np.linalg.norm(transform_points(fixed_points) - moving_points, axis=-1)
