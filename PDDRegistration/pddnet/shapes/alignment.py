"""Find the affine map that lays the surfaces of a fixed patient on those of a moving one: moments, then ICP.

Iterated closest points (Besl and McKay 1992, doi:10.1109/34.121791) of each label by itself, both ways.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from ..core.affine import Affine
from ..errors import InputError
from .surfaces import Surface

ROUNDS, SETTLED_MM = 40, 0.02  # mean step of the points, below which it has settled
SPACING_MM, DENSE_MM = 4.0, 2.0  # of the points that are matched, and of those that they are matched to
TRIMMED = 3.0  # times the median distance, above which a pair of points does not count
FEWEST_LABELS = 4  # whose centres tell how the patients lie to each other
LEAST_SPREAD = 0.1  # of the centres across their longest axis, for a turn about it to be known
MOST_DEGREES = 60.0  # that patients may be turned against each other
MIRRORED_MM, MIRRORED_GAIN = 20.0, 0.5  # centres that fit a mirror image so much better are one's

Surfaces = Mapping[int, Surface]


def align(fixed: Surfaces, moving: Surfaces) -> Affine:
    """Return the affine map of fixed to moving points, LPS mm; both mappings hold the same labels.

    Raises:
        InputError: the scans seem to have different axes: one is mirrored, or turned by more than MOST_DEGREES.
    """
    thin = {label: surface.thinned(SPACING_MM) for label, surface in fixed.items()}
    dense = {label: surface.thinned(DENSE_MM) for label, surface in moving.items()}
    affine = _start(thin, dense)
    nodes = np.vstack([surface.points for surface in thin.values()])
    trees = {label: cKDTree(surface.points) for label, surface in dense.items()}
    for _ in range(ROUNDS):
        refined = _step(affine, thin, dense, trees)
        moved = np.linalg.norm(refined.points(nodes) - affine.points(nodes), axis=1).mean()
        affine = refined
        if moved < SETTLED_MM:
            break
    return affine


def _start(fixed: Surfaces, moving: Surfaces) -> Affine:
    """Align by moments: the labels' centres and sizes, and where these are enough, the rotation between them."""
    centres, targets = (np.array([s.points.mean(axis=0) for s in side.values()]) for side in (fixed, moving))
    fixed_size, moving_size = (np.mean([_size(s.points) for s in side.values()]) for side in (fixed, moving))
    scale = float(moving_size / fixed_size)
    turn = np.eye(3)
    if len(fixed) >= FEWEST_LABELS and not (_on_a_line(centres) or _on_a_line(targets)):
        turn, scale = _rotation(centres, targets)
    return Affine(scale * turn, targets.mean(axis=0) - scale * turn @ centres.mean(axis=0))


def _size(points: np.ndarray) -> float:
    """Return the root mean square distance of points (N, 3) from their centre, mm."""
    return float(np.sqrt(points.var(axis=0).sum()))


def _on_a_line(centres: np.ndarray) -> bool:
    """Tell whether points (N, 3) lie so nearly on a line, as vertebrae do, that their turn about it is noise."""
    longest, second, _ = np.linalg.svd(centres - centres.mean(axis=0), compute_uv=False)
    return bool(second < LEAST_SPREAD * longest)


def _rotation(centres: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the rotation and the scale that fit centres (N, 3) to targets (Umeyama 1991, doi:10.1109/34.88573).

    Raises:
        InputError: see `align`.
    """
    a, b = centres - centres.mean(axis=0), targets - targets.mean(axis=0)
    u, weights, v = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])

    def fit(signs: np.ndarray) -> tuple[np.ndarray, float, float]:
        turn = (u * signs) @ v
        scale = float((weights * signs).sum() / (a**2).sum())
        return turn, scale, float(np.linalg.norm(b - scale * a @ turn.T, axis=1).mean())

    turn, scale, error = fit(sign)
    if sign[2] < 0 and error > MIRRORED_MM and fit(np.ones(3))[2] < MIRRORED_GAIN * error:
        raise InputError(
            "the labels of the one scan lie as in a mirror image of the other; correct the axes in its header"
        )
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    if angle > MOST_DEGREES:
        raise InputError(
            f"the labels of the one scan are turned by {angle:.0f} degrees against the other's; correct the axes in "
            "its header, or turn it first"
        )
    return turn, scale


def _step(affine: Affine, fixed: Surfaces, moving: Surfaces, trees: Mapping[int, cKDTree]) -> Affine:
    """Match the closest points of every label, both ways, and fit the affine map to them by least squares."""
    sources, targets, weights = [], [], []
    for label, surface in fixed.items():
        other, mapped = moving[label], affine.points(surface.points)
        _, there = trees[label].query(mapped)
        _, back = cKDTree(mapped).query(other.points)
        source = np.vstack([surface.points, surface.points[back]])
        target = np.vstack([other.points[there], other.points])
        whole = ~np.concatenate([surface.cut | other.cut[there], surface.cut[back] | other.cut])
        distance = np.linalg.norm(affine.points(source) - target, axis=1)
        if whole.any():
            whole &= distance <= TRIMMED * np.median(distance[whole])
        sources.append(source[whole])
        targets.append(target[whole])
        weights.append(np.full(whole.sum(), 1 / max(np.sqrt(whole.sum()), 1)))  # large organs count more, but not all
    return _fit(np.vstack(sources), np.vstack(targets), np.concatenate(weights), affine)


def _fit(source: np.ndarray, target: np.ndarray, weight: np.ndarray, otherwise: Affine) -> Affine:
    """Fit the affine map to pairs of points (N, 3) with weights (N,); `otherwise` where they do not determine one."""
    if len(source) < FEWEST_LABELS:
        return otherwise
    centre = np.average(source, axis=0, weights=weight)
    rows = np.c_[source - centre, np.ones(len(source))] * np.sqrt(weight)[:, None]
    solution, _, rank, _ = np.linalg.lstsq(rows, target * np.sqrt(weight)[:, None], rcond=None)
    matrix = solution[:3].T
    if rank < 4 or np.linalg.det(matrix) <= 0:
        return otherwise
    return Affine(matrix, solution[3] - matrix @ centre)
