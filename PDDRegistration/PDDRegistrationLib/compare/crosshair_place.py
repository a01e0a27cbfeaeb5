"""Remember where the user put Slicer's crosshair (`CrosshairPlace`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
import vtk

ToFixed = Callable[[np.ndarray, "slicer.vtkMRMLSliceNode | None"], "np.ndarray | None"]


class CrosshairPlace:
    """Last place of the crosshair, which Shift and the mouse move, until `close`.

    The mouse itself would not do: on its way to a button it leaves its place.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, toFixed: ToFixed) -> None:
        """Take the scene; toFixed: turns a RAS point of a view into one of fixed space, None where there is none."""
        self._toFixed = toFixed
        self._crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        self._observer: int | None = None
        self._ras = np.zeros(3)
        self._place: np.ndarray | None = None
        if self._crosshair is not None:
            self._observer = self._crosshair.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)
            self._read()

    @property
    def place(self) -> np.ndarray | None:
        """Return the place (3,) in fixed space, RAS mm; None where it was never put anywhere."""
        return self._place

    def close(self) -> None:
        """Stop observing."""
        if self._observer is not None:
            self._crosshair.RemoveObserver(self._observer)
            self._observer = None

    def _onModified(self, caller: object, event: object) -> None:
        self._read()

    def _read(self) -> None:
        ras = np.array(self._crosshair.GetCrosshairRAS())
        if np.array_equal(ras, self._ras):  # as in a scene in which it was never moved
            return
        self._ras = ras
        self._place = self._toFixed(ras, self._crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]))
