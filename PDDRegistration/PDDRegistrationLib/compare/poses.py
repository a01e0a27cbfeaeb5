"""Fit, zoom and restore slice views (`Pose`, `fit`, `showInOneScale`)."""

from __future__ import annotations

import slicer
import vtk


def sliceLogics() -> dict[str, slicer.vtkMRMLSliceLogic]:
    """Return the logics of the slice views by name."""
    manager = slicer.app.layoutManager()
    return {name: manager.sliceWidget(name).sliceLogic() for name in manager.sliceViewNames()}


class Pose:
    """Plane, origin and field of view of a slice view, to be restored later."""

    def __init__(self, node: slicer.vtkMRMLSliceNode) -> None:
        self._node = node
        self._matrix = vtk.vtkMatrix4x4()
        self._matrix.DeepCopy(node.GetSliceToRAS())
        self._origin, self._field = node.GetXYZOrigin(), node.GetFieldOfView()

    def restore(self, node: slicer.vtkMRMLSliceNode | None = None) -> None:
        """Apply the pose to the same view or to another one."""
        node = node or self._node
        if node.GetScene() is None:
            return
        modifying = node.StartModify()
        node.GetSliceToRAS().DeepCopy(self._matrix)
        node.SetXYZOrigin(*self._origin)
        width, _height, depth = self._field
        columns, rows, _slices = node.GetDimensions()
        node.SetFieldOfView(width, width * rows / max(columns, 1), depth)
        node.UpdateMatrices()
        node.EndModify(modifying)


def fit(logic: slicer.vtkMRMLSliceLogic) -> None:
    """Fit a view to its background; its plane stays."""
    offset = logic.GetSliceOffset()
    logic.FitSliceToBackground()
    logic.SetSliceOffset(offset)


def showInOneScale(*nodes: slicer.vtkMRMLSliceNode) -> None:
    """Zoom views out to the millimetres per pixel of the one that shows most."""
    scale = max(node.GetFieldOfView()[0] / max(node.GetDimensions()[0], 1) for node in nodes)
    for node in nodes:
        columns, rows, _slices = node.GetDimensions()
        node.SetFieldOfView(scale * columns, scale * rows, node.GetFieldOfView()[2])
