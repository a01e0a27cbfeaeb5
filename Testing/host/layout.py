"""slicer.app.layoutManager(): three slice views and a 3-D view, four up, with a plot if wanted; or two side by side."""

from __future__ import annotations

import qt
import slicer
import vtk
from PySide6.QtCore import Signal

from host.plots import PlotWidget
from host.view_widgets import SliceWidget, ThreeDWidget, ViewCanvas
from host.views import SliceView, ThreeDView

# name, orientation, colour (as Slicer's layouts have it), row, column
SLICES = (
    ("Red", "Axial", (0.95, 0.29, 0.20), 0, 0),
    ("Green", "Coronal", (0.43, 0.69, 0.29), 1, 0),
    ("Yellow", "Sagittal", (0.93, 0.84, 0.30), 1, 1),
)
FOUR_UP = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
FOUR_UP_PLOT = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView
SIDE_BY_SIDE = slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
LAYOUTS = (FOUR_UP, FOUR_UP_PLOT, SIDE_BY_SIDE)


class LayoutManager(qt.QObject):
    """Owns the views, and shows all of them (four up) or Red beside Yellow; other layouts are a ValueError.

    The scene's layout node says which, as in Slicer: who changes it changes the layout.
    """

    layoutChanged = Signal(int)
    cppSignals = ("layoutChanged(int)",)

    threeDViewCount = property(lambda self: 1)
    tableViewCount = property(lambda self: 0)
    plotViewCount = property(lambda self: 0 if self._plot is None else 1)
    layout = property(lambda self: self._layout)

    _viewport: qt.QWidget | None = None
    _slices: dict[str, SliceWidget] = {}  # noqa: RUF012  set for each object
    _threeD: ThreeDWidget | None = None
    _grid: qt.QGridLayout | None = None
    _plot: PlotWidget | None = None  # from the first layout with a plot on
    _node: slicer.vtkMRMLLayoutNode | None = None
    _layout: int = FOUR_UP

    def __init__(self, application: slicer.vtkSlicerApplicationLogic) -> None:
        super().__init__()
        self._viewport = qt.QWidget()
        self._grid = qt.QGridLayout(self._viewport)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        self._slices = {}
        for name, orientation, colour, row, column in SLICES:
            self._slices[name] = SliceWidget(SliceView(application, name, orientation, colour))
            self._grid.addWidget(self._slices[name], row, column)
        self._threeD = ThreeDWidget(ThreeDView(application, "1"))
        self._grid.addWidget(self._threeD, 0, 1)
        for index in (0, 1):
            self._grid.setRowStretch(index, 1)
            self._grid.setColumnStretch(index, 1)
        self._node = _layout_node(application.GetMRMLScene())
        self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onArranged)

    def viewport(self) -> qt.QWidget:
        return self._viewport

    def setLayout(self, layout: int) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout {layout} is not one of the host's")
        self._node.SetViewArrangement(layout)

    def _onArranged(self, *_: object) -> None:
        layout = self._node.GetViewArrangement()
        if layout not in LAYOUTS or layout == self._layout:
            return
        self._layout = layout
        alone = layout == SIDE_BY_SIDE
        self._grid.addWidget(self._slices["Yellow"], 0 if alone else 1, 1)
        for widget in (self._slices["Green"], self._threeD):
            widget.setVisible(not alone)
        self._grid.setRowStretch(1, 0 if alone else 1)
        self._show_plot(layout == FOUR_UP_PLOT)
        self.layoutChanged.emit(layout)

    def _show_plot(self, shown: bool) -> None:
        """Slicer makes the view, and its node, when a layout first needs them."""
        if shown and self._plot is None:
            node = slicer.vtkMRMLPlotViewNode()
            node.SetLayoutName("PlotView1")
            node.SetSingletonTag("PlotView1")
            self._plot = PlotWidget(self._node.GetScene().AddNode(node))
            self._grid.addWidget(self._plot, 0, 2, 2, 1)
        if self._plot is not None:
            self._plot.setVisible(shown)
        self._grid.setColumnStretch(2, 1 if shown else 0)

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        return self._slices.get(name)

    def threeDWidget(self, index: int) -> ThreeDWidget | None:
        return self._threeD if index == 0 else None

    def plotWidget(self, index: int) -> PlotWidget | None:
        return self._plot if index == 0 else None

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

    def reset(self) -> None:
        """The layout and the planes of the start; a closed scene keeps them."""
        self.setLayout(FOUR_UP)
        for widget in self._slices.values():
            widget.view().reset()

    def leave(self) -> None:
        """Take the mouse out of all views: its place is kept by the crosshair, which outlives a closed scene."""
        for canvas in self.canvases():
            canvas.leave()

    def canvases(self) -> tuple[ViewCanvas, ...]:
        return tuple(widget.canvas() for widget in (*self._slices.values(), self._threeD))

    def pause(self, paused: bool) -> None:
        for canvas in self.canvases():
            canvas.pause(paused)


def _layout_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLLayoutNode:
    node = slicer.vtkMRMLLayoutNode()
    node.SetSingletonTag("vtkMRMLLayoutNode")
    node = scene.AddNode(node)
    for layout in LAYOUTS:
        node.AddLayoutDescription(layout, "<viewport/>")
    node.SetViewArrangement(FOUR_UP)
    return node
