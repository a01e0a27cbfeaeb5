"""Chart the Dice of every segment before and after as bars, from the table of a measurement (`diceChart`)."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from .columns import SEGMENT_COLUMNS
from .metrics import DICE

SERIES = (("Before", DICE.column("before"), (0.62, 0.62, 0.62)), ("After", DICE.column("after"), (0.12, 0.47, 0.71)))
"""Name, column and colour (also told apart by who sees no colours)."""
CHART = "PDDRegistration.QA.Chart"
"""Reference role of a table: its chart."""
MOST_LABELS = 25  # names of 12 points that stand below one another in a view


def diceChart(segments: slicer.vtkMRMLTableNode, title: str) -> slicer.vtkMRMLPlotChartNode:
    """Return the bar chart of a table of segments: Dice, 0 to 1, before and after; made once for each table.

    Dice runs along the X axis and the first segment is the uppermost, for `plot_bars.NamedBars`, which lays the bars
    down. The chart follows the table when the transform is measured again.
    """
    scene = segments.GetScene()
    chart = segments.GetNodeReference(CHART)
    if chart is None:
        chart = scene.AddNewNodeByClass(
            "vtkMRMLPlotChartNode", scene.GenerateUniqueName(_("Dice of {title}").format(title=title))
        )
        segments.SetNodeReferenceID(CHART, chart.GetID())
    if chart.GetNumberOfPlotSeriesNodes() != len(SERIES):
        chart.RemoveAllPlotSeriesNodeIDs()
        for name, column, colour in SERIES:
            chart.AddAndObservePlotSeriesNodeID(_series(segments, name, column, colour).GetID())
    modifying = chart.StartModify()
    chart.SetTitle(title)
    chart.SetXAxisTitle(_("Dice, 0 to 1"))
    chart.SetYAxisTitleVisibility(False)
    fitRanges(chart, segments)
    chart.EndModify(modifying)
    return chart


def fitRanges(chart: slicer.vtkMRMLPlotChartNode, segments: slicer.vtkMRMLTableNode) -> None:
    """Show all Dice and all rows of the table, the first one at the top, with room for their names."""
    rows = max(segments.GetNumberOfRows(), 1)
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0.0, 1.0)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(rows - 0.5, -0.5)
    chart.SetAxisLabelFontSize(max(6, min(12, 12 * MOST_LABELS // rows)))


def showChart(chart: slicer.vtkMRMLPlotChartNode) -> bool:
    """Show a chart beside the views; return False where the application has no plots."""
    plots = getattr(slicer.modules, "plots", None)
    if plots is None or slicer.app.layoutManager() is None:
        return False
    plots.logic().ShowChartInLayout(chart)
    return True


def _series(
    segments: slicer.vtkMRMLTableNode, name: str, column: str, colour: tuple[float, float, float]
) -> slicer.vtkMRMLPlotSeriesNode:
    titles = {"Before": _("Before"), "After": _("After")}
    series = segments.GetScene().AddNewNodeByClass("vtkMRMLPlotSeriesNode", titles[name])
    series.SetAndObserveTableNodeID(segments.GetID())
    series.SetPlotType(series.PlotTypeBar)
    series.SetXColumnName("")
    series.SetYColumnName(column)
    series.SetLabelColumnName(SEGMENT_COLUMNS[0].name)
    series.SetColor(*colour)
    return series
