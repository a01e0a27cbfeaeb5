"""The table of structures below the verdict: what it lists, where a click leads, and that a scene brings it back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers import clicks, samples
from helpers import mrml_geometry as mrml
from helpers.mrml_geometry import RAS, slicer
from pddnet.evaluation.report import structure_section

if TYPE_CHECKING:
    from host.host import Host

REPORT = {
    "verdict": {"status": "doubtful", "reasons": ["structures lie astray: left kidney by 30 mm"]},
    "jacobian": {"folding_percent": 0.0},
    "seconds": {"total": 9.0},
    "device": "cpu",
    "preset": "default",
    "warnings": [],
}


@pytest.fixture(scope="module")
def widget(running_host: Host) -> Iterator[Any]:
    running_host.setTesting(True)
    running_host.clear()
    yield running_host.loadModule(clicks.MODULE)
    running_host.unloadModule("PDDRegistration")
    running_host.clear()


@pytest.fixture
def table(running_host: Host, widget: Any) -> Any:
    """The table, with the two volumes of a result chosen."""
    running_host.closeScene()
    for name, grid in (("fixed", samples.FIXED), ("moving", samples.MOVING)):
        volume = mrml.add_volume(slicer.mrmlScene, samples.ramp(grid).array, grid, name)
        setattr(widget.logic.getParameterNode(), f"{name}Volume", volume)
    return widget.ui.structuresTable


def choose(widget: Any, report: dict[str, Any]) -> Any:
    """Choose a transform that carries a report."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "result")
    node.SetAttribute("PDDRegistration.Report", json.dumps(report))
    widget.logic.getParameterNode().outputTransform = node
    return node


def reported(**more: Any) -> dict[str, Any]:
    return REPORT | {"structures": structure_section(samples.FITS)} | more


def texts(table: Any) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount)]


def middle(colour: str) -> np.ndarray:
    """LPS mm of the centre of a slice view, by its node's own matrix."""
    node = slicer.mrmlScene.GetSingletonNode(colour, "vtkMRMLSliceNode")
    return np.array([node.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]) * RAS


def press(table: Any, row: int) -> None:
    """Click the second cell of a row."""
    import qt
    from PySide6.QtTest import QTest

    place = table.visualItemRect(table.item(row, 1)).center()
    QTest.mouseClick(table.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, place)


def test_it_lists_the_worst_first_and_says_why(widget: Any, table: Any) -> None:
    choose(widget, reported())
    assert table.visible
    assert texts(table) == [
        ["left kidney", "0.41", "30", "14.5", "astray"],
        ["colon", "0.40", "9", "-", "doubtful"],
        ["liver", "0.93", "3", "-", "ok"],
        ["bladder", "-", "-", "-", "not compared"],
    ]
    why = (
        "lies 3 cm away from its counterpart; 160 ml in the fixed scan, 170 ml in the moving one; surfaces 9.5 mm apart"
    )
    assert table.item(0, 4).toolTip() == why
    assert "not seen in the moving scan" in table.item(3, 0).toolTip()
    assert "Structures: left kidney astray by 3 cm; colon doubtful; 1 of 3 ok" in widget.ui.verdictLabel.text


def test_in_a_narrow_panel_the_names_give_way_and_nothing_scrolls_sideways(widget: Any, table: Any) -> None:
    import qt

    choose(widget, reported())
    known = table.width
    try:
        for width in (300, 420, 600):
            table.resize(width, table.height)
            slicer.app.processEvents()
            columns = [table.columnWidth(column) for column in range(5)]
            assert sum(columns) <= table.viewport().width
            assert columns[1:] >= [table.sizeHintForColumn(column) for column in range(1, 5)]
            assert columns[0] > 20
        assert table.horizontalScrollBarPolicy == qt.Qt.ScrollBarAlwaysOff
    finally:
        table.resize(known, table.height)


def test_it_is_hidden_where_no_network_was_used(widget: Any, table: Any) -> None:
    for report in (REPORT, reported(structures=None)):  # a report of an earlier version, and one of the preset mind
        choose(widget, reported())
        assert table.visible
        choose(widget, report)
        assert (table.visible, table.rowCount) == (False, 0)
        assert "Folding in" in widget.ui.verdictLabel.text
    choose(widget, reported())
    widget.logic.getParameterNode().outputTransform = None
    assert (table.visible, table.rowCount) == (False, 0)


def test_a_table_that_is_damaged_is_not_shown(widget: Any, table: Any) -> None:
    for section in ({"summary": ""}, {"summary": "", "table": [{}]}, {"summary": "", "table": [{"name": "liver"}]}):
        choose(widget, reported(structures=section))
        assert (table.visible, table.rowCount, widget.ui.verdictLabel.text) == (False, 0, "")


def test_a_click_centres_the_slice_views_on_the_structure(running_host: Host, widget: Any, table: Any) -> None:
    choose(widget, reported())
    running_host.processEvents(0.1)
    for row, fit in ((0, samples.FITS[2]), (2, samples.FITS[0])):
        running_host.runInEventLoop(lambda row=row: press(table, row))
        for colour in ("Red", "Yellow", "Green"):
            assert np.allclose(middle(colour), fit.centre_lps_mm, atol=0.01), colour
    running_host.runInEventLoop(lambda: press(table, 3))  # nobody knows where it is
    assert np.allclose(middle("Red"), samples.FITS[0].centre_lps_mm, atol=0.01)


def test_it_comes_back_with_a_scene(running_host: Host, widget: Any, table: Any, tmp_path: Path) -> None:
    odd = dataclasses.replace(samples.FITS[0], name='liver & "spleen" <s>')
    choose(widget, reported(structures=structure_section((odd, samples.FITS[2]))))
    before = texts(table)
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    running_host.closeScene()
    assert (table.visible, table.rowCount) == (False, 0)
    slicer.util.loadScene(str(path))
    running_host.processEvents()
    assert texts(table) == before
    assert before[1][0] == odd.name
    running_host.runInEventLoop(lambda: press(table, 0))
    assert np.allclose(middle("Green"), samples.FITS[2].centre_lps_mm, atol=0.01)
