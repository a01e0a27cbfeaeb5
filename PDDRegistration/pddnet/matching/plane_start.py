"""Find where the matching of two 2-D images starts: a turn and shift by discrete search, rigid and affine fits.

Lengths are in units, see `plane_scan.py`. Maps are fixed to moving points at z = 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..core.affine import Affine
from ..core.grid import Grid
from ..tensor.convert import to_array
from ..tensor.execution import Work
from ..tensor.lattice import resample, to_lps
from .discrete import match
from .plane_likeness import likeness
from .plane_scan import COARSEST, PlanePair, PlaneScan, lattice_over

ANGLES_DEGREES = (0.0, -15.0, 15.0, -30.0, 30.0)  # first turns; the fits find what lies between
FACTOR = 2  # nodes of COARSEST per node of the features, along each axis
SEARCH, SEARCH_STEP = 160.0, 10.0  # units: the largest shift that is searched, and its steps
SEARCH_CONTROL = 25.0  # units between its control points
FIT_RANGES, FIT_COUNT = (32.0, 32.0, 8.0, 3.2), 9  # units, of each round of fitting; displacements per axis
CONTROL = 16.0  # units between control points
TEMPERATURE = 300.0  # inverse, as in the presets
CERTAIN = 25.0  # units^2, added to the variance of a displacement that weighs it in a fit
LEAST_GAIN = 0.005  # of likeness: a map with more freedom must gain as much
MOST_STRETCH = 1.4  # an affine fit beyond it is none of two slices of the same anatomy


def find_start(scans: tuple[PlaneScan, PlaneScan], work: Work) -> tuple[Affine, str]:
    """Return the map that makes the images most alike, and its kind: identity, rigid or affine."""
    lattice = lattice_over(scans[0].grid, COARSEST, whole=FACTOR)
    found, kind = Affine.identity(), "identity"
    best = likeness(PlanePair.of(scans, lattice, found, FACTOR)).value
    for name, candidate in _candidates(scans, lattice, work):
        value = likeness(PlanePair.of(scans, lattice, candidate, FACTOR)).value
        if value > best + (LEAST_GAIN if name != kind else 0.0):
            found, kind, best = candidate, name, value
    return found, kind


def _candidates(scans: tuple[PlaneScan, PlaneScan], lattice: Grid, work: Work) -> Iterator[tuple[str, Affine]]:
    """Try what the search finds, then rigid fits from it, then affine ones."""
    fixed, moving = scans
    middle = Affine(np.eye(3), moving.grid.centre - fixed.grid.centre)
    starts = [Affine.identity(), _searched(scans, lattice, middle, work)]
    fitted = []
    for start in starts:
        rigid = start
        for reach in FIT_RANGES:
            rigid = rigid @ _fit(scans, rigid, reach, work, rigid=True)
        yield "rigid", start
        yield "rigid", rigid
        fitted.append(rigid)
    for rigid in fitted:
        affine = rigid
        for reach in FIT_RANGES:
            affine = affine @ _fit(scans, affine, reach, work, rigid=False)
        if _plausible(affine):
            yield "affine", affine


def _searched(scans: tuple[PlaneScan, PlaneScan], lattice: Grid, middle: Affine, work: Work) -> Affine:
    """Search all shifts at several angles about the fixed image's centre: one displacement for all control points."""
    centre = scans[0].grid.centre
    control = lattice_over(scans[0].grid, SEARCH_CONTROL)
    around = lattice_over(scans[0].grid, COARSEST, SEARCH, whole=FACTOR)
    steps = torch.arange(-SEARCH, SEARCH + 1, SEARCH_STEP)
    found: list[tuple[float, Affine]] = []
    for degrees in ANGLES_DEGREES:
        turned = middle @ _turn(np.radians(degrees), centre)
        fixed = PlanePair.of(scans, lattice, turned, FACTOR).maps[0]
        moving = PlanePair.of(scans, around, turned, FACTOR).maps[1]
        cost = match(fixed, moving, control, steps, 1.0, None, work).cost.mean((0, 1, 2, 5))  # (LH, LW)
        least = int(cost.argmin())
        u = torch.stack([0 * steps[0], steps[least // len(steps)], steps[least % len(steps)]])
        shift = to_lps(u.view(3, 1, 1, 1), lattice)[0, 0, 0]
        found.append((float(cost.min()), turned @ Affine(np.eye(3), shift.astype(np.float64))))
        work.tick()
    return min(found, key=lambda each: each[0])[1]


def _fit(scans: tuple[PlaneScan, PlaneScan], start: Affine, reach: float, work: Work, *, rigid: bool) -> Affine:
    """Fit a map to the displacements expected under `start`, of up to `reach`; it is applied before `start`."""
    factor = FACTOR if reach > FACTOR * COARSEST else 1
    around = lattice_over(scans[0].grid, COARSEST, reach, whole=factor)
    control = lattice_over(scans[0].grid, CONTROL)
    fixed, moving = PlanePair.of(scans, around, start, factor).maps
    steps = torch.linspace(-reach, reach, FIT_COUNT)
    mean, uncertainty = match(fixed, moving, control, steps, TEMPERATURE, (1.0, 1.0), work).moments(work)
    weight = resample(moving.weight[None], moving.lattice, control)[0] / (uncertainty.square() + CERTAIN)
    points = control.points()
    moved = points + to_lps(mean, control)
    work.tick()
    return fitted(points[0, ..., :2], moved[0, ..., :2], to_array(weight)[0], rigid=rigid)


def fitted(points: np.ndarray, moved: np.ndarray, weight: np.ndarray, *, rigid: bool) -> Affine:
    """Fit x -> A x + t to points (H, W, 2) that move, by weighted least squares (rigid: Kabsch 1976)."""
    x, y, w = points.reshape(-1, 2), moved.reshape(-1, 2), weight.reshape(-1, 1)
    if not w.sum() > 0:
        return Affine.identity()
    x_mean, y_mean = (w * x).sum(0) / w.sum(), (w * y).sum(0) / w.sum()
    covariance = (w * (y - y_mean)).T @ (x - x_mean)
    if rigid:
        u, _, vt = np.linalg.svd(covariance)
        a = u @ np.diag([1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    else:
        a = covariance @ np.linalg.pinv((w * (x - x_mean)).T @ (x - x_mean))
    matrix, shift = np.eye(3), np.zeros(3)
    matrix[:2, :2], shift[:2] = a, y_mean - a @ x_mean
    return Affine(matrix, shift)


def _turn(radians: float, centre: np.ndarray) -> Affine:
    matrix = np.eye(3)
    matrix[:2, :2] = [[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]
    return Affine(matrix, centre - matrix @ centre)


def _plausible(affine: Affine) -> bool:
    stretches = np.linalg.svd(affine.matrix[:2, :2])[1]
    return bool(stretches.max() < MOST_STRETCH and stretches.min() > 1 / MOST_STRETCH)
