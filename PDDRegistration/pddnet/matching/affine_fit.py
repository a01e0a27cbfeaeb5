"""Fit an affine map to the displacements of a coarse matching: the last step of the alignment."""

from __future__ import annotations

import numpy as np

from ..core.affine import Affine
from ..core.presets import Preset, Stage
from ..tensor.execution import ALONE, Work
from ..tensor.scan import Scan
from .stage import coarse_displacements

COARSE_MATCHING = Stage(
    control_spacing_mm=32.0,
    capture_range_mm=32.0,
    displacements_per_axis=9,
    feature_spacing_mm=8.0,
    smoothness=0.0,
    iterations=0,
)
FIT_TOLERANCE_MM = 15.0  # displacements whose residual is larger get little weight
PRIOR_EXTENT_MM = 40.0  # the body must extend further than this along an axis to be scaled or sheared along it
ROUNDS = 10  # of the iteratively reweighted least squares


def refit_affine(fixed: Scan, moving: Scan, affine: Affine, preset: Preset, work: Work = ALONE) -> Affine:
    """Compose `affine` with the least-squares affine fit to the residual displacements of a coarse matching.

    Control points are weighted by the certainty of their displacement, and by the share of their surroundings that lies
    within the views of both scans.

    Args:
        affine: fixed to moving points, LPS mm, as is the result.
    """
    control, displacement, weight = coarse_displacements(fixed, moving, affine, COARSE_MATCHING, preset, work)
    points = control.points().reshape(-1, 3)
    return affine @ fit_affine(points, points + displacement.reshape(-1, 3), weight.ravel())


def fit_affine(points: np.ndarray, moved: np.ndarray, weight: np.ndarray) -> Affine:
    """Fit the affine map from points (N, 3) to moved (N, 3), LPS mm, by weighted least squares with weights (N).

    The fit is robust: the weights are updated iteratively (Geman and McClure 1987). It is regularised towards a pure
    translation along axes on which the points extend little.
    """
    weight = weight + 1e-9
    w = weight / weight.sum()
    for _ in range(ROUNDS):
        centre, moved_centre = w @ points, w @ moved
        x, y = points - centre, moved - moved_centre
        covariance = np.einsum("n,ni,nj->ij", w, x, x)
        cross = np.einsum("n,ni,nj->ij", w, x, y - x)
        matrix = np.eye(3) + np.linalg.solve(covariance + PRIOR_EXTENT_MM**2 * np.eye(3), cross).T
        fit = Affine(matrix, moved_centre - matrix @ centre)
        residual = np.linalg.norm(fit.points(points) - moved, axis=-1)
        w = weight / (1.0 + (residual / FIT_TOLERANCE_MM) ** 2) ** 2
        w = w / w.sum()
    return fit
