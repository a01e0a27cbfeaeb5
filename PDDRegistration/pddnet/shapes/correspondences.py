"""Match the surfaces of two patients point by point: closest points under a spline that grows less stiff by and by.

Rohé et al. 2017 (doi:10.1007/978-3-319-66182-7_31) match surfaces by currents, which takes minutes a surface and needs
whole ones. Closest points of the same label with like normals, both ways, annealed as by Chui and Rangarajan 2003
(doi:10.1016/S1077-3142(03)00009-2), take seconds, and leave out what a scan has cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .alignment import Surfaces, align
from .spline import Spline
from .surfaces import Surface

MOST_CONTROLS = 1500  # points of the spline: its time and memory grow with their square
CONTROL_MM, COARSENING = 8.0, 1.15  # their spacing, and by how much it grows where they are too many
FEWEST_CONTROLS = 12  # of a label, however small: thinner ones have no shape
DENSE_MM = 3.0  # spacing of the vertices that the other surface's are matched to
START_SMOOTHING = 1e3  # of the first spline, which takes every whole structure to its counterpart's place
SMOOTHINGS = (1e3, 300.0, 100.0, 30.0, 10.0)  # of the following ones, mm, one after the other
ROUNDS = 4  # with each
MOST_CUT = 0.05  # share of a structure's vertices at a border, above which its own place and size are not known
NORMAL_MM = 8.0  # distance that counts as much as a turn of a normal by 60 degrees


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Points of the fixed surfaces, and where they belong; both (N, 3) LPS mm; labels (N,)."""

    fixed: np.ndarray
    moving: np.ndarray
    labels: np.ndarray


def match(fixed: Surfaces, moving: Surfaces, tell: Callable[[float], None] = lambda share: None) -> Correspondences:
    """Match two patients' surfaces, of the same labels, that an affine map has laid on each other.

    Args:
        tell: called with the share that is done, 0..1; it may raise.

    Returns:
        Control points on the fixed surfaces, and their places under the last spline: smooth, without the noise of the
        closest points.

    Raises:
        InputError: too little of the surfaces is whole, see `Spline`.
    """
    sides = [_Side(fixed[label], moving[label], spacing) for label, spacing in _spacings(fixed).items()]
    controls = np.vstack([side.controls.points for side in sides])
    labels = np.concatenate([np.full(len(s.controls.points), label) for label, s in zip(fixed, sides, strict=True)])
    dense = np.vstack([side.dense.points for side in sides])
    ends = np.cumsum([len(side.dense.points) for side in sides])[:-1]
    start = np.vstack([side.placed_alone() for side in sides])
    spline = Spline(controls, start - controls, START_SMOOTHING)
    moved, placed = dense + spline(dense), controls + spline(controls)
    for number, smoothing in enumerate(np.repeat(SMOOTHINGS, ROUNDS)):
        tell(number / (len(SMOOTHINGS) * ROUNDS))
        found = [side.targets(part) for side, part in zip(sides, np.split(moved, ends), strict=True)]
        target, known = (np.concatenate([each[n] for each in found]) for n in range(2))
        spline = Spline(controls[known], (target - controls)[known], smoothing)
        moved, placed = dense + spline(dense), controls + spline(controls)
    return Correspondences(controls, placed, labels)


def _spacings(fixed: Surfaces) -> dict[int, float]:
    """Return the spacing of every label's control points in mm: the same for all, but closer on small ones."""
    spacing = CONTROL_MM
    while True:
        chosen = {label: _close_enough(surface, spacing) for label, surface in fixed.items()}
        if sum(len(fixed[label].thinned(mm).points) for label, mm in chosen.items()) <= MOST_CONTROLS:
            return chosen
        spacing *= COARSENING
        if spacing > 1e3:
            return chosen


def _close_enough(surface: Surface, spacing: float) -> float:
    while spacing > DENSE_MM and len(surface.thinned(spacing).points) < FEWEST_CONTROLS:
        spacing /= COARSENING
    return spacing


class _Side:
    """One label of both patients: its control points, and what they are matched to."""

    def __init__(self, fixed: Surface, moving: Surface, spacing: float) -> None:
        self.dense, self.moving = fixed.thinned(min(DENSE_MM, spacing)), moving.thinned(DENSE_MM)
        self.controls = fixed.thinned(spacing)
        self._whole = fixed, moving
        self._back = self.moving.thinned(spacing)
        self._tree = cKDTree(_with_normals(self.moving.points, self.moving.normals))
        _, self._owner = cKDTree(self.controls.points).query(self.dense.points)  # the control point next to each
        _, self._own = cKDTree(self.dense.points).query(self.controls.points)  # the vertex next to each control point

    def placed_alone(self) -> np.ndarray:
        """Map the control points (N, 3) by the affine map of this label alone; as they are where a scan cuts it."""
        fixed, moving = self._whole
        if max(fixed.cut.mean(), moving.cut.mean()) > MOST_CUT:
            return self.controls.points
        return align({0: fixed}, {0: moving}).points(self.controls.points)

    def targets(self, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the control points belong (N, 3), and for which of them that is known (N,).

        moved: (M, 3) where the spline has taken the dense vertices so far.
        """
        here, normals = moved[self._own], self.dense.normals[self._own]
        _, there = self._tree.query(_with_normals(here, normals))
        whole = ~(self.controls.cut | self.moving.cut[there])
        total = np.where(whole[:, None], self.moving.points[there] - here, 0.0)
        count = whole.astype(float)
        _, back = cKDTree(_with_normals(moved, self.dense.normals)).query(
            _with_normals(self._back.points, self._back.normals)
        )
        free = ~(self._back.cut | self.dense.cut[back])
        owner = self._owner[back[free]]
        np.add.at(total, owner, (self._back.points - moved[back])[free])
        np.add.at(count, owner, 1.0)
        known = (count > 0) & ~self.controls.cut
        so_far = here - self.dense.points[self._own]
        step = total / np.maximum(count, 1)[:, None]
        return self.controls.points + so_far + step, known


def _with_normals(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Join points (N, 3) and normals in mm, so that the distances of a search tree are those of both: (N, 6)."""
    return np.hstack([points, NORMAL_MM * normals])
