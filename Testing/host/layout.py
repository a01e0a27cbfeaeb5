"""slicer.app.layoutManager(): three slice views and a 3-D view, four up."""

from __future__ import annotations

import qt
import slicer
import vtk
from PySide6.QtCore import Signal

from host.view_widgets import SliceWidget, ThreeDWidget, ViewCanvas
from host.views import SliceView, ThreeDView

# name, orientation, colour (as Slicer's layouts have it), row, column
SLICES = (
    ("Red", "Axial", (0.95, 0.29, 0.20), 0, 0),
    ("Green", "Coronal", (0.43, 0.69, 0.29), 1, 0),
    ("Yellow", "Sagittal", (0.93, 0.84, 0.30), 1, 1),
)


class LayoutManager(qt.QObject):
    """Owns the views; there is one layout, and `setLayout` is not offered."""

    layoutChanged = Signal(int)
    cppSignals = ("layoutChanged(int)",)

    threeDViewCount = property(lambda self: 1)
    tableViewCount = property(lambda self: 0)
    plotViewCount = property(lambda self: 0)

    _viewport: qt.QWidget | None = None
    _slices: dict[str, SliceWidget] = {}  # noqa: RUF012  set for each object
    _threeD: ThreeDWidget | None = None

    def __init__(self, application: slicer.vtkSlicerApplicationLogic) -> None:
        super().__init__()
        self._viewport = qt.QWidget()
        grid = qt.QGridLayout(self._viewport)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        self._slices = {}
        for name, orientation, colour, row, column in SLICES:
            self._slices[name] = SliceWidget(SliceView(application, name, orientation, colour))
            grid.addWidget(self._slices[name], row, column)
        self._threeD = ThreeDWidget(ThreeDView(application, "1"))
        grid.addWidget(self._threeD, 0, 1)
        for index in (0, 1):
            grid.setRowStretch(index, 1)
            grid.setColumnStretch(index, 1)

    def viewport(self) -> qt.QWidget:
        return self._viewport

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        return self._slices.get(name)

    def threeDWidget(self, index: int) -> ThreeDWidget | None:
        return self._threeD if index == 0 else None

    def mrmlSliceLogics(self) -> vtk.vtkCollection:
        logics = vtk.vtkCollection()
        for widget in self._slices.values():
            logics.AddItem(widget.sliceLogic())
        return logics

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.view().fit()

    def resetThreeDViews(self) -> None:
        self._threeD.resetFocalPoint()

    def canvases(self) -> tuple[ViewCanvas, ...]:
        return tuple(widget.canvas() for widget in (*self._slices.values(), self._threeD))

    def pause(self, paused: bool) -> None:
        for canvas in self.canvases():
            canvas.pause(paused)
