"""Plot views: a chart node drawn by VTK as Slicer draws it, without a screen."""

from __future__ import annotations

import math

import numpy as np
import qt
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

AXES = {"X": (vtk.vtkAxis.BOTTOM, vtk.vtkAxis.TOP), "Y": (vtk.vtkAxis.LEFT, vtk.vtkAxis.RIGHT)}
BARS = (slicer.vtkMRMLPlotSeriesNode.PlotTypeBar, slicer.vtkMRMLPlotSeriesNode.PlotTypeScatterBar)


class PlotView(qt.QLabel):
    """qMRMLPlotView: follows the chart of its view node. What a module changes in `chart()` stays, but for what the
    chart node sets: titles, ranges and fonts."""

    _node: slicer.vtkMRMLPlotViewNode | None = None
    _shown: slicer.vtkMRMLPlotChartNode | None = None
    _tag: int = 0
    _view: vtk.vtkContextView | None = None
    _chart: vtk.vtkChartXY | None = None
    _plots: dict[str, vtk.vtkPlot] = {}  # noqa: RUF012  each object gets its own

    def __init__(self, node: slicer.vtkMRMLPlotViewNode, parent: qt.QWidget) -> None:
        super().__init__(parent)
        self._node, self._plots = node, {}
        self.setMinimumSize(80, 80)
        self.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Ignored)
        self._view, self._chart = vtk.vtkContextView(), vtk.vtkChartXY()
        self._view.GetRenderWindow().SetOffScreenRendering(1)
        self._view.GetRenderer().SetBackground(1, 1, 1)
        self._view.GetScene().AddItem(self._chart)
        for event in (node.PlotChartNodeChangedEvent, vtk.vtkCommand.ModifiedEvent):
            node.AddObserver(event, self._follow)

    def mrmlPlotViewNode(self) -> slicer.vtkMRMLPlotViewNode:
        return self._node

    def chart(self) -> vtk.vtkChartXY:
        return self._chart

    def scene(self) -> vtk.vtkContextScene:
        return self._view.GetScene()

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._view.GetRenderWindow()

    def image(self) -> np.ndarray:
        """What the view shows: (height, width, 3), uint8, top row first."""
        window = self.renderWindow()
        window.SetSize(max(80, self.width), max(80, self.height))
        window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(window)
        grab.Update()
        width, height, _ = grab.GetOutput().GetDimensions()
        pixels = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
        return np.ascontiguousarray(pixels.reshape(height, width, -1)[::-1, :, :3])

    def forceRender(self) -> None:
        pixels = self.image()
        height, width, _ = pixels.shape
        self.setPixmap(qt.QPixmap.fromImage(qt.QImage(pixels.data, width, height, 3 * width, qt.QImage.Format_RGB888)))

    def _follow(self, *_: object) -> None:
        node = self._node.GetPlotChartNode()
        if node is not self._shown:
            if self._shown is not None:
                self._shown.RemoveObserver(self._tag)
            self._shown = node
            if node is not None:
                self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update)
        self._update()

    def _update(self, *_: object) -> None:
        node = self._shown
        series = [node.GetNthPlotSeriesNode(n) for n in range(node.GetNumberOfPlotSeriesNodes())] if node else []
        wanted = {one.GetID(): one for one in series if one is not None and one.GetTableNode() is not None}
        for key in [key for key in self._plots if key not in wanted]:
            self._chart.RemovePlotInstance(self._plots.pop(key))
        for key, one in wanted.items():
            if key not in self._plots:
                self._plots[key] = vtk.vtkPlotBar() if one.GetPlotType() in BARS else vtk.vtkPlotLine()
                self._chart.AddPlot(self._plots[key])
            _fill(self._plots[key], one)
        if node is not None:
            _decorate(self._chart, node)


def _fill(plot: vtk.vtkPlot, series: slicer.vtkMRMLPlotSeriesNode) -> None:
    x = series.GetXColumnName() if series.IsXColumnRequired() else series.GetYColumnName()
    plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
    plot.SetInputData(series.GetTableNode().GetTable(), x, series.GetYColumnName())
    plot.SetColorF(*series.GetColor())
    plot.SetLabel(series.GetName())


def _decorate(chart: vtk.vtkChartXY, node: slicer.vtkMRMLPlotChartNode) -> None:
    chart.SetTitle(node.GetTitle() or "")
    chart.SetShowLegend(node.GetLegendVisibility())
    for letter, places in AXES.items():
        title = getattr(node, f"Get{letter}AxisTitle")() or ""
        visible = getattr(node, f"Get{letter}AxisTitleVisibility")()
        low, high = getattr(node, f"Get{letter}AxisRange")()
        for axis in map(chart.GetAxis, places):
            axis.SetTitle(title if visible else "")
            axis.GetLabelProperties().SetFontSize(node.GetAxisLabelFontSize())
            if getattr(node, f"Get{letter}AxisRangeAuto")():
                axis.SetBehavior(vtk.vtkAxis.AUTO)
                continue
            axis.SetBehavior(vtk.vtkAxis.FIXED)
            axis.SetUnscaledMinimumLimit(-math.inf)
            axis.SetUnscaledMaximumLimit(math.inf)
            axis.SetUnscaledRange(low, high)


class PlotWidget(qt.QWidget):
    """qMRMLPlotWidget: a plot view in a layout."""

    _view: PlotView | None = None

    def __init__(self, node: slicer.vtkMRMLPlotViewNode) -> None:
        super().__init__()
        self._view = PlotView(node, self)
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view)

    def plotView(self) -> PlotView:
        return self._view

    def mrmlPlotViewNode(self) -> slicer.vtkMRMLPlotViewNode:
        return self._view.mrmlPlotViewNode()
