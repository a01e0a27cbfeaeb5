"""Motion and volume change of structures under a transform, and their table: in reports, as CSV and as text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image
from ..core.linear import angle_degrees, nearest_rotation
from ..core.structures import Motion, StructureFit

SAMPLING_MM = 2.0  # between the voxels at which a structure's displacement is looked up; finer scans skip some
THIN = 1e-6  # of its squared extent: a structure less wide than this share is a line, whose turn is not known
LABEL, NETWORK = "label", "network"
"""Who outlined a structure: a label map that the user gave, or the network."""

COLUMNS = (
    "source", "structure", "shift_r_mm", "shift_a_mm", "shift_s_mm", "rotation_degrees", "fixed_ml", "moving_ml",
    "mean_mm", "p95_mm",
)  # fmt: skip
"""Header of the CSV table."""


def label_motion(labels: Image, transform: sitk.Transform) -> dict[int, Motion]:
    """Measure how a transform moves every label of a map, by label.

    Args:
        labels: (D, H, W) whole numbers on the fixed scan's grid; 0 and below is background.
        transform: fixed to moving points, LPS mm.
    """
    array = labels.array.astype(np.int64, copy=False)
    boxes = enumerate(ndimage.find_objects(array), 1)
    return {
        label: _motion(array[box] == label, labels.grid, _first_index(box), transform) for label, box in boxes if box
    }


def layers_motion(layers: Iterable[Image], transform: sitk.Transform) -> dict[int, Motion]:
    """Measure as `label_motion` does, of label maps whose labels overlap: every label stands in one of them only."""
    return {label: motion for layer in layers for label, motion in label_motion(layer, transform).items()}


def _first_index(box: tuple[slice, ...]) -> np.ndarray:
    """Return the index (i, j, k) of the first voxel of a box of array slices (k, j, i)."""
    return np.array([along.start for along in box[::-1]])


def _motion(mask: np.ndarray, grid: Grid, first: np.ndarray, transform: sitk.Transform) -> Motion:
    """Measure one structure: mask (D, H, W) within its box, whose first voxel has the index `first` of `grid`."""
    fixed_ml = float(mask.sum() * grid.spacing.prod() / 1000.0)
    step = np.maximum(np.floor(SAMPLING_MM / grid.spacing), 1).astype(int)  # voxels along i, j, k
    chosen = mask[:: step[2], :: step[1], :: step[0]]
    if not chosen.any():  # all of it falls between the chosen voxels
        step, chosen = np.ones(3, int), mask
    nodes, inner = _nodes(chosen.shape, grid, first, step)
    field = DisplacementField.from_transform(transform, nodes)
    displacements = field.array[inner][chosen].astype(np.float64)
    growth = field.jacobian_determinant()[inner][chosen].mean(dtype=np.float64)
    points = nodes.points()[inner][chosen]
    lengths = np.linalg.norm(displacements, axis=-1)
    x, y, z = (float(mm) for mm in points.mean(axis=0))
    left, posterior, superior = (float(mm) for mm in displacements.mean(axis=0))
    return Motion(
        centre_lps_mm=(x, y, z),
        shift_ras_mm=(-left, -posterior, superior),
        rotation_degrees=rotation_degrees(points, displacements),
        fixed_ml=fixed_ml,
        moving_ml=float(fixed_ml * growth),
        mean_mm=float(lengths.mean()),
        p95_mm=float(np.percentile(lengths, 95)),
    )


def _nodes(shape: tuple[int, ...], grid: Grid, first: np.ndarray, step: np.ndarray) -> tuple[Grid, tuple[slice, ...]]:
    """Make the grid of the chosen voxels of a box, and the slices that take them out of it.

    It is one node wider on each side, because derivatives need the neighbours, but never leaves the scan: a field of
    another program may end there, and is zero beyond.
    """
    count = np.array(shape[::-1])  # along i, j, k
    before, after = first - step >= 0, first + step * count <= grid.size - 1
    alone = (count == 1) & ~before & ~after
    before, after = before | alone, after | alone
    size = tuple(int(n) for n in (count + before + after)[::-1])
    inner = tuple(slice(int(b), int(b) + n) for b, n in zip(before[::-1], shape, strict=True))
    return Grid(size, grid.spacing * step, grid.index_to_point(first - step * before), grid.direction), inner


def rotation_degrees(points: np.ndarray, displacements: np.ndarray) -> float | None:
    """Compute the angle of the rigid map that takes points (N, 3) nearest to where they are displaced, 0..180.

    Least squares, by the singular value decomposition of the covariance of the points before and after (Kabsch 1976,
    doi:10.1107/S0567739476001873; with a determinant of one, Kabsch 1978, doi:10.1107/S0567739478001680).

    Returns:
        None where the points lie on a line.
    """
    before = points - points.mean(axis=0)
    after = before + displacements - displacements.mean(axis=0)
    _, middle, longest = np.linalg.eigvalsh(before.T @ before)
    if middle <= THIN * longest or longest == 0:
        return None
    return angle_degrees(nearest_rotation(after.T @ before))


def motion_table(labels: Mapping[int, Motion], structures: tuple[StructureFit, ...] = ()) -> list[dict[str, Any]]:
    """Build the report's table of motion: a row per label, then one per structure that the network compared.

    Returns:
        rows with source ('label' or 'network'), name, and the attributes of `Motion`.
    """
    named = [(LABEL, str(label), motion) for label, motion in labels.items()]
    named += [(NETWORK, fit.name, fit.motion) for fit in structures if fit.motion is not None]
    return [{"source": source, "name": name, **vars(motion)} for source, name, motion in named]


def motion_csv(table: list[dict[str, Any]]) -> str:
    """Write a table of motion as CSV, with `COLUMNS` as its header; what is not known is empty."""
    return _csv(COLUMNS, map(_cells, table))


def sequence_csv(tables: Mapping[int, list[dict[str, Any]]]) -> str:
    """Write the tables of motion of the frames of a sequence as CSV: the columns `frame` and `COLUMNS`."""
    return _csv(("frame", *COLUMNS), ([str(frame), *_cells(row)] for frame, row in sequence_rows(tables)))


def sequence_rows(tables: Mapping[int, list[dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    """List the frame and the row of all tables; the rows of a structure stand together, in the order of the frames."""
    rows = [(frame, row) for frame, table in sorted(tables.items()) for row in table]
    order = {key: n for n, key in enumerate(dict.fromkeys(_structure(row) for _, row in rows))}
    return sorted(rows, key=lambda each: (order[_structure(each[1])], each[0]))


def motion_at_rest(tables: Mapping[int, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Build the table of the frame to which the others were registered: every structure that they have, unmoved."""
    known = {_structure(row): row for _, table in sorted(tables.items(), reverse=True) for row in table}
    return [
        {
            **row,
            "shift_ras_mm": [0.0, 0.0, 0.0],
            "rotation_degrees": None if row["rotation_degrees"] is None else 0.0,
            "moving_ml": row["fixed_ml"],
            "mean_mm": 0.0,
            "p95_mm": 0.0,
        }
        for row in known.values()
    ]


def _structure(row: dict[str, Any]) -> tuple[str, str]:
    return row["source"], row["name"]


def _csv(header: Iterable[str], rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _cells(row: dict[str, Any]) -> list[str]:
    return [row["source"], row["name"], *(_cell(number) for number in _numbers(row))]


def _numbers(row: dict[str, Any]) -> list[float | None]:
    return [*row["shift_ras_mm"], *(row[key] for key in COLUMNS[5:])]


def _cell(number: float | None) -> str:
    return "" if number is None or not math.isfinite(number) else f"{number:.3f}"
