"""A scene that was saved when the code still said QA: its choices, tables and chart are found again.

saved_by_0.1.mrb: a transform, two segmentations and two point lists, measured and plotted by version 0.1 in its panel.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.mrml_geometry import slicer
from helpers.paths import UI

SCENE = Path(__file__).parent / "saved_by_0.1.mrb"
CHOSEN = {
    "transform": "Größe, a",
    "fixedVolume": None,
    "movingVolume": None,
    "fixedSegmentation": "Fixed organs",
    "movingSegmentation": "Moving organs",
    "fixedPoints": "F",
    "movingPoints": "M",
    "inverse": None,
}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="as the other tests of the panel")


@pytest.fixture
def ui(host: Any) -> Iterator[Any]:
    """The widgets of the Measure panel, shown after the scene was loaded."""
    from PDDRegistrationLib.ui.measure_panel import MeasurePanel

    slicer.util.loadScene(str(SCENE))
    widget = slicer.util.loadUI(str(UI / "Measure.ui"))
    widget.setMRMLScene(slicer.mrmlScene)
    panel = MeasurePanel(slicer.util.childWidgetVariables(widget), SimpleNamespace(worker=None))
    widget.show()
    host.processEvents()
    panel.show(SimpleNamespace(outputTransform=None))
    yield panel.ui
    panel.close()
    widget.close()


def test_the_panel_shows_what_was_chosen_and_measured(ui: Any) -> None:
    selectors = {name: getattr(ui, f"measure{name[0].upper()}{name[1:]}Selector") for name in CHOSEN}
    nodes = {name: selector.currentNode() for name, selector in selectors.items()}
    assert {name: node and node.GetName() for name, node in nodes.items()} == CHOSEN
    own = [node.GetModuleName() for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")]
    assert own.count("PDDRegistrationQA") == 1  # the panel takes the scene's, and makes no other
    assert ui.measureButton.enabled
    tabs = ui.measureTabs
    for tab in (ui.measureSegmentsTab, ui.measurePointsTab):
        assert tabs.isTabEnabled(tabs.indexOf(tab))
    assert ui.measureExportButton.enabled
    assert ui.measurePlotButton.enabled


def test_the_tables_are_exported(ui: Any, tmp_path: Path) -> None:
    from PDDRegistrationLib.measure.csv_export import exportCsv
    from PDDRegistrationLib.measure.tables import jacobianOf, measureTablesOf

    tables = measureTablesOf(ui.measureTransformSelector.currentNode())
    assert set(tables.nodes) == {"summary", "segments", "points"}
    assert jacobianOf(tables) is None  # there was no fixed volume
    exportCsv(tables, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = {(row["part"], row["name"], row["measure"]): row for row in csv.DictReader(stream)}
    assert len(rows) == 15
    dice = rows["segments", "liver", "Dice"]
    assert (dice["before"], dice["after"], dice["unit"]) == ("0.2991", "0.963", "")
    distance = rows["points", "b", "TRE"]
    assert (distance["before"], distance["after"], distance["unit"]) == ("16.186", "5", "mm")
    assert rows["summary", "", "Mean HD95 of 2 segments"]["after"] == "2.8"


def test_its_chart_is_used_again(ui: Any) -> None:
    from PDDRegistrationLib.measure.plot import diceChart
    from PDDRegistrationLib.measure.tables import measureTablesOf

    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    tables = measureTablesOf(ui.measureTransformSelector.currentNode())
    assert [diceChart(tables.segments, "again")] == charts
    assert charts[0].GetNumberOfPlotSeriesNodes() == 2
