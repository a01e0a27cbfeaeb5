"""qMRMLWidget and what Slicer derives from it: widgets that know a MRML scene."""

from __future__ import annotations

import qt
import slicer
from PySide6.QtCore import Signal


class qMRMLWidget(qt.QWidget):
    """A widget with a scene; .ui files connect `mrmlSceneChanged` to their node selectors."""

    mrmlSceneChanged = Signal(object)
    cppSignals = ("mrmlSceneChanged(vtkMRMLScene*)",)

    _scene: slicer.vtkMRMLScene | None = None

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene


class qSlicerWidget(qMRMLWidget):
    """The same in Slicer's own library."""
