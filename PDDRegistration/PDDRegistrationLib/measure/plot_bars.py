"""Lay the bars of a chart in Slicer's plot views, and write the segments' names beside them (`NamedBars`)."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..scene.nodes import isSame
from .columns import SEGMENT_COLUMNS
from .plot import fitRanges

LAST = -1.0  # priority of the observers: the views draw first


class NamedBars:
    """Horizontal bars with names, for as long as a plot view shows the chart; `close` ends it before.

    A chart node has neither: its bars stand upright over the numbers of the rows, among which names would not fit.
    VTK's chart in the view can do both, and keeps them until the view shows another chart.
    """

    def __init__(self, chart: slicer.vtkMRMLPlotChartNode, segments: slicer.vtkMRMLTableNode) -> None:
        """Change the views that show the chart now, and follow them; segments: the table that the chart shows."""
        self._chart, self._segments = chart, segments
        self._changed: list[Any] = []  # views
        self._views = _plotViews()
        viewNodes = [view.mrmlPlotViewNode() for view in self._views]
        modified, another = vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLPlotViewNode.PlotChartNodeChangedEvent
        watched = [(node, event) for node in viewNodes for event in (modified, another)] + [(chart, modified)]
        self._observers = [(node, node.AddObserver(event, self._update, LAST)) for node, event in watched]
        self._observers.append((segments, segments.AddObserver(modified, self._onMeasuredAgain)))
        self._update()

    def close(self) -> None:
        """Leave the views as Slicer has them."""
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        self._observers = []
        if slicer.app.layoutManager() is not None:  # while the application closes, the views go first
            for view in self._changed:
                _layUpright(view)
        self._changed, self._views = [], []

    def _update(self, caller: object = None, event: object = None) -> None:
        for view in self._views:
            if isSame(view.mrmlPlotViewNode().GetPlotChartNode(), self._chart):
                _layDown(view, _names(self._segments))
                if view not in self._changed:
                    self._changed.append(view)
            elif view in self._changed:
                self._changed.remove(view)
                _layUpright(view)

    def _onMeasuredAgain(self, caller: object, event: object) -> None:
        fitRanges(self._chart, self._segments)
        self._update()


def _plotViews() -> list[Any]:
    layout = slicer.app.layoutManager()
    return [layout.plotWidget(number).plotView() for number in range(layout.plotViewCount)]


def _names(segments: slicer.vtkMRMLTableNode) -> list[str]:
    column = segments.GetTable().GetColumnByName(SEGMENT_COLUMNS[0].name)
    return [column.GetValue(row) for row in range(segments.GetNumberOfRows())] if column is not None else []


def _layDown(view: Any, names: list[str]) -> None:
    chart = view.chart()
    _orient(chart, vtk.vtkPlotBar.HORIZONTAL)
    places, labels = vtk.vtkDoubleArray(), vtk.vtkStringArray()
    for place, name in enumerate(names):
        places.InsertNextValue(place)
        labels.InsertNextValue(name)
    chart.GetAxis(vtk.vtkAxis.LEFT).SetCustomTickPositions(places, labels)
    chart.GetLegend().SetInline(False)  # beside the bars, not over them
    _draw(view)


def _layUpright(view: Any) -> None:
    chart = view.chart()
    _orient(chart, vtk.vtkPlotBar.VERTICAL)
    chart.GetAxis(vtk.vtkAxis.LEFT).SetCustomTickPositions(None, None)
    chart.GetLegend().SetInline(True)
    _draw(view)


def _orient(chart: vtk.vtkChartXY, orientation: int) -> None:
    plots = (chart.GetPlot(number) for number in range(chart.GetNumberOfPlots()))
    for plot in plots:
        if plot.IsA("vtkPlotBar"):
            plot.SetOrientation(orientation)


def _draw(view: Any) -> None:
    view.scene().SetDirty(True)
    view.update()
