"""Carry displacements of scattered points to all of space by an approximating thin-plate spline.

In three dimensions its kernel is the distance (Rohr et al. 2001, doi:10.1109/42.929618). SciPy fits it: VTK's
passes through every point and takes minutes for as many as are used here, and SimpleITK has none.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import RBFInterpolator

from ..errors import InputError

_KERNEL = "linear"  # minus the distance, which is the fundamental solution of the biharmonic equation in 3-D


class Spline:
    """Displacements (..., 3) in mm at any LPS points (..., 3), linear far away from what it was fitted to."""

    def __init__(self, points: np.ndarray, displacements: np.ndarray, smoothing: float | np.ndarray = 0.0) -> None:
        """Fit displacements (N, 3) at points (N, 3): exactly, or the smoother the more `smoothing` (mm).

        Raises:
            InputError: the points are fewer than four, or lie in one plane, which does not determine a spline.
        """
        self._centre = points.mean(axis=0)
        try:
            self._fitted = RBFInterpolator(
                points - self._centre, displacements, kernel=_KERNEL, degree=1, smoothing=smoothing
            )
        except (np.linalg.LinAlgError, ValueError):  # of the one in a plane, of the other too few
            raise InputError(
                "what both label maps show whole of their shared labels lies in one plane; add labels, or give maps "
                "that cut less of them"
            ) from None

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Evaluate the spline at points (..., 3)."""
        flat = np.asarray(points, float).reshape(-1, 3) - self._centre
        found: np.ndarray = self._fitted(flat)
        return found.reshape(points.shape)
