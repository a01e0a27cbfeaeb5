"""Refine a linear map to below a voxel: a robust least-squares fit of the local contrast of two scans.

Gauss-Newton steps with the damping of Levenberg and Marquardt reduce the differences of the local contrast at some ten
thousand points. Large differences get little weight (Geman and McClure 1987), so that what moved otherwise, such as
organs that breathe, does not drag the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.linear import AFFINE, RIGID, SIMILARITY, projected
from ..features.local_contrast import local_contrast
from ..tensor.convert import to_array, to_tensor
from ..tensor.execution import ALONE, Work
from ..tensor.gather import Lookup
from ..tensor.lattice import HALF
from ..tensor.pools import dilated
from ..tensor.scan import Scan
from .affine_search import OVERLAP_POWER

SAMPLES = 40_000  # points that are compared
# Multiples of these numbers, without their whole part, fill a cube evenly (R3 sequence, Roberts 2018).
SPREAD = 1.2207440846057596 ** -np.arange(1.0, 4.0)
ITERATIONS = 40
DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-6, 1e3  # relative to the diagonal of the normal equations
LEAST_SHARE = 0.01  # of the points in view: with less, the cost would be arbitrarily large


def _unit(row: int, column: int) -> np.ndarray:
    matrix = np.zeros((3, 3))
    matrix[row, column] = 1.0
    return matrix


_TURNS = [_unit(2, 1) - _unit(1, 2), _unit(0, 2) - _unit(2, 0), _unit(1, 0) - _unit(0, 1)]
GENERATORS = {
    RIGID: np.array(_TURNS),
    SIMILARITY: np.array([*_TURNS, np.eye(3)]),
    AFFINE: np.array([_unit(row, column) for row in range(3) for column in range(3)]),
}
"""Changes of the matrix, (P, 3, 3) each, that make up a small step of a map of this kind."""


@dataclass(frozen=True)
class Level:
    """Settings of one level of the fit."""

    spacing_mm: float  # of the voxels
    blur_mm: float  # standard deviation: blurred intensities lead from farther off
    window_mm: float  # standard deviation of the window of the local contrast
    tolerance: float  # difference of local contrast at which a voxel's weight is a quarter
    smallest_step_mm: float  # the fit ends where a step moves the voxels by less


LEVELS = (
    Level(4.0, blur_mm=6.0, window_mm=16.0, tolerance=1.0, smallest_step_mm=0.1),
    Level(4.0, blur_mm=0.0, window_mm=8.0, tolerance=0.7, smallest_step_mm=0.02),
    Level(2.0, blur_mm=0.0, window_mm=6.0, tolerance=0.35, smallest_step_mm=0.005),
)


@dataclass(frozen=True)
class MaskedScan:
    """Scan whose contrast is computed within its whole view, and the part of the view that is compared."""

    scan: Scan
    compared: Tensor  # (D, H, W) 0..1 on the scan's grid


def refine_linear(
    scans: Mapping[float, tuple[MaskedScan, MaskedScan]], starts: Sequence[Affine], transform_type: str, work: Work
) -> Affine:
    """Refine the starts, and return what fits best; never a map that fits worse than a start.

    Where there is nothing to compare it is the first start.

    Args:
        scans: the fixed and the moving scan, by the spacing of `LEVELS`.
        starts: one or more maps of the kind `transform_type`, fixed to moving points, LPS mm, as is the result.
    """
    found = list(starts)
    for level in LEVELS:
        fit = ContrastFit(*scans[level.spacing_mm], transform_type, level)
        if not fit.count:
            return starts[0]
        found = [fit.fit(affine, work) for affine in found]
        if level.blur_mm:  # blurred, a wrong place may fit best, and a good start may be left
            found += starts
        else:
            found = [max(found, key=fit.score)]
    return max([*found, *starts], key=fit.score)


class ContrastFit:
    """Fit of linear maps of one kind to the local contrast of two scans, at one level."""

    def __init__(self, fixed: MaskedScan, moving: MaskedScan, transform_type: str, level: Level) -> None:
        """Describe both scans, and pick the points of the fixed one."""
        self._type, self._level, self._grid = transform_type, level, moving.scan.grid
        contrast = [
            local_contrast(each.scan.hu, each.scan.view, each.scan.grid, level.window_mm, blur_mm=level.blur_mm)
            for each in (fixed, moving)
        ]
        self._moving = Lookup(contrast[1][None], moving.compared[None])
        # with the air at the skin: the skin's inner side alone would draw the map inwards, as interpolation blurs it
        shown = dilated(dilated(fixed.scan.body)) * fixed.compared > HALF
        points, self._fixed = _picked(contrast[0], shown, fixed.scan.grid)
        self.count = len(points)
        self._middle = points.mean(0) if self.count else fixed.scan.box.centre
        self._offsets = to_tensor(points - self._middle, contrast[0].device)  # (N, 3) mm in LPS
        self._reach_mm = max(float(np.sqrt(np.square(points - self._middle).sum() / max(self.count, 1))), 1.0)
        self._generators = to_tensor(GENERATORS[transform_type], contrast[0].device)
        self._to_index = np.linalg.inv(self._grid.axes)

    def score(self, affine: Affine) -> float:
        """Return the correlation of the local contrast, times the share of voxels in view to OVERLAP_POWER."""
        moving, _, weight = self._sampled(affine)
        scale = ((weight * moving.square()).sum() * (weight * self._fixed.square()).sum()).clamp(min=1e-6).sqrt()
        share = float(weight.mean())
        return float((weight * moving * self._fixed).sum() / scale) * share**OVERLAP_POWER

    def fit(self, affine: Affine, work: Work = ALONE) -> Affine:
        """Return the map that fits best near `affine`, which is of the same kind."""
        damping = DAMPING
        cost, normal, right = self._equations(affine)
        for _ in range(ITERATIONS):
            work.tick()
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -right)
            tried = self._moved(affine, step)
            found = self._equations(tried)
            if found[0] < cost:
                affine, (cost, normal, right) = tried, found
                damping = max(damping / 5, LEAST_DAMPING)
            else:
                damping *= 5
            if np.abs(step).max() * self._reach_mm < self._level.smallest_step_mm or damping > MOST_DAMPING:
                break
        return affine

    def _sampled(self, affine: Affine) -> tuple[Tensor, Tensor, Tensor]:
        """Return the moving contrast (N,) at the mapped voxels, its slopes (N, 3) per mm in LPS, and weights (N,)."""
        device = self._offsets.device
        matrix = to_tensor((self._to_index @ affine.matrix)[::-1], device)
        start = self._to_index @ (affine.points(self._middle) - self._grid.origin)
        index = matrix @ self._offsets.T + to_tensor(start[::-1], device)[:, None]
        found, inside = self._moving.values_and_slopes(index)
        slopes = found[:, 1:, 0] @ to_tensor(self._to_index[::-1], device)
        return found[:, 0, 0], slopes, found[:, 0, 1] * inside.all(0)

    def _equations(self, affine: Affine) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the robust cost, and the normal equations (P, P), (P,) of a step, see `_moved`."""
        moving, slopes, weight = self._sampled(affine)
        difference, total = moving - self._fixed, weight.sum().clamp(min=1.0)
        squares = (difference / self._level.tolerance).square()
        share = max(float(total) / self.count, LEAST_SHARE)
        cost = float((weight * squares / (1 + squares)).sum() / total) / share**OVERLAP_POWER
        robust = weight / (1 + squares).square() / total
        arms = self._offsets @ to_tensor(affine.matrix.T, slopes.device)
        turned = (slopes[:, :, None] * arms[:, None]).flatten(1) @ self._generators.flatten(1).T
        columns = torch.cat([slopes * self._reach_mm, turned], 1)
        weighted = columns * robust[:, None]
        return cost, to_array(weighted.T @ columns).astype(float), to_array(weighted.T @ difference).astype(float)

    def _moved(self, affine: Affine, step: np.ndarray) -> Affine:
        """Return `step` after `affine`: a shift (3,) in units of the reach, and factors of the generators (P - 3,)."""
        centre = affine.points(self._middle)
        change = np.eye(3) + np.einsum("p,pij->ij", step[3:], GENERATORS[self._type])
        moved = Affine(change, centre + step[:3] * self._reach_mm - change @ centre) @ affine
        return projected(moved, self._type, self._middle)


def _picked(values: Tensor, shown: Tensor, grid: Grid) -> tuple[np.ndarray, Tensor]:
    """Pick about SAMPLES evenly spread points where `shown`: (N, 3) in LPS mm, and their interpolated values (N,).

    They lie between the voxels' centres, as the points that they are mapped to: interpolation blurs both alike.
    """
    voxels = torch.nonzero(shown)
    count = min(len(voxels), SAMPLES)
    if not count:
        return np.zeros((0, 3)), values.new_zeros(0)
    voxels = voxels[torch.linspace(0, len(voxels) - 1, count, device=voxels.device).round().long()]
    places = to_array(voxels.float()).astype(float) + np.outer(np.arange(count), SPREAD) % 1.0 - 0.5
    found = Lookup(values[None]).values_and_slopes(to_tensor(places.T, values.device))[0]
    return grid.index_to_point(places[:, ::-1]), found[:, 0, 0]
