"""Find the corresponding point of the other scan through a transform, and back (`movingPoint`, `fixedPoint`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import slicer
import vtk

from ..scene.geometry import movedPoints, transformBetween

SAME_PLACE = 0.5  # mm between a point and the same point there and back; more, and there is no inverse


def movingPoint(transform: slicer.vtkMRMLTransformNode, point: np.ndarray) -> np.ndarray:
    """Return the point (3,) of moving space that corresponds to a point of fixed space, RAS mm of the world.

    Moving space is that of the scan without the transform: where it stands undistorted.
    """
    return movedPoints(transformBetween(None, transform), point)


def fixedPoint(transform: slicer.vtkMRMLTransformNode, point: np.ndarray) -> np.ndarray | None:
    """Return the point (3,) of fixed space that corresponds to a point of moving space, RAS mm of the world.

    Returns:
        None where the transform has no inverse, as in a fold.
    """
    with _withoutWarnings():  # VTK would write one for every move of the mouse
        found = movedPoints(transformBetween(transform, None), point)
    return found if np.linalg.norm(movingPoint(transform, found) - point) <= SAME_PLACE else None


@contextmanager
def _withoutWarnings() -> Iterator[None]:
    shown = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(shown)
