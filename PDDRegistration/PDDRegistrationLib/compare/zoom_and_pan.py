"""Let one slice view take the zoom and the pan of another one (`ZoomAndPan`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from ..scene.geometry import arrayFromMatrix

Mapping = Callable[[np.ndarray], "np.ndarray | None"]


class ZoomAndPan:
    """Memory of how far views are panned, so that another one can pan by as much; nothing jumps where they differ."""

    def __init__(self) -> None:
        self._origins: dict[str, np.ndarray] = {}

    def remember(self, view: slicer.vtkMRMLSliceNode) -> np.ndarray:
        """Note the pan of a view, in mm along its axes, and return what was noted before."""
        now = np.array(view.GetXYZOrigin())
        before = self._origins.get(view.GetID(), now)
        self._origins[view.GetID()] = now
        return before

    def follow(self, view: slicer.vtkMRMLSliceNode, other: slicer.vtkMRMLSliceNode, find: Mapping) -> None:
        """Show in the other view as many mm per pixel, and pan it as far as the point in the middle of `view` moved.

        find: maps a RAS point (3,) of `view` to the corresponding one of the other; None where there is none.
        """
        moved = self._moved(view, find)
        modifying = other.StartModify()
        _zoomLike(other, view)
        if moved is not None:
            across, up = arrayFromMatrix(other.GetSliceToRAS())[:3, :2].T
            x, y, z = other.GetXYZOrigin()
            other.SetXYZOrigin(x + float(across @ moved), y + float(up @ moved), z)
        other.UpdateMatrices()
        other.EndModify(modifying)

    def _moved(self, view: slicer.vtkMRMLSliceNode, find: Mapping) -> np.ndarray | None:
        """Return by how much, (3,) mm, the point moved that corresponds to the middle of the view; None if it did not.

        Both points lie in the view's present plane: moving the plane is no pan.
        """
        before, now = self.remember(view), np.array(view.GetXYZOrigin())
        if np.array_equal(before, now):
            return None
        plane = arrayFromMatrix(view.GetSliceToRAS())
        points = [find((plane @ [*origin[:2], 0.0, 1.0])[:3]) for origin in (before, now)]
        return None if points[0] is None or points[1] is None else points[1] - points[0]


def _zoomLike(view: slicer.vtkMRMLSliceNode, leading: slicer.vtkMRMLSliceNode) -> None:
    """Show as many millimetres per pixel as the leading view."""
    scale = leading.GetFieldOfView()[0] / max(leading.GetDimensions()[0], 1)
    columns, rows, _slices = view.GetDimensions()
    width, _height, depth = view.GetFieldOfView()
    if not np.isclose(width, scale * columns, rtol=1e-9):
        view.SetFieldOfView(scale * columns, scale * rows, depth)
