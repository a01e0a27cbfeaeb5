"""The module is left for another one: layout and mouse mode are as they were, the views go on showing the result."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from helpers import clicks
from helpers.compare_scene import make_pair
from helpers.mrml_geometry import slicer

if TYPE_CHECKING:
    from host.host import Host

FOUR_UP, WITH_PLOT = 3, 29  # the host's layout side by side stands in for one with a plot


@pytest.fixture
def widget(host: Host) -> Any:
    widget = host.loadModule(clicks.MODULE)
    widget.ui.startCollapsibleButton.collapsed = False
    host.processEvents()
    return widget


@pytest.fixture
def plots(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The charts that Slicer's module Plots was asked to show; it changes the layout for that."""
    shown: list[Any] = []

    def show(chart: Any) -> None:
        shown.append(chart)
        host.layout.setLayout(WITH_PLOT)

    module = SimpleNamespace(logic=lambda: SimpleNamespace(ShowChartInLayout=show))
    monkeypatch.setattr(slicer.modules, "plots", module, raising=False)
    return shown


def again(widget: Any) -> None:
    widget.parent.exit()
    widget.parent.enter()


def test_side_by_side_ends_and_the_comparison_goes_on(host: Host, widget: Any):
    pair = make_pair(host)
    panel = widget._comparePanel
    panel.show(pair.transform, *pair.nodes[:4])
    clicks.click(panel.ui.beforeButton)
    clicks.click(panel.ui.sideBySideButton)
    assert host.layout.layout != FOUR_UP
    widget.parent.exit()
    assert host.layout.layout == FOUR_UP
    assert (panel.ui.beforeButton.checked, panel.ui.sideBySideButton.checked) == (True, False)
    assert panel._session.comparison.isRunning


def mode() -> tuple[bool, bool]:
    """Whether clicks in the views place points, and whether they go on doing so."""
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    return interaction.GetCurrentInteractionMode() == interaction.Place, bool(interaction.GetPlaceModePersistence())


def test_clicks_place_no_points_afterwards(host: Host, widget: Any):
    for side in ("fixed", "moving"):
        clicks.click(getattr(widget.ui, f"{side}PlaceButton"))
        assert mode() == (True, True)
    again(widget)
    assert mode() == (False, False)
    clicks.click(widget.ui.movingPlaceButton)
    assert mode() == (True, True)
    host.unloadModule("PDDRegistration")
    assert mode() == (False, False)


def test_what_the_user_places_elsewhere_meanwhile_is_left_alone(host: Host, widget: Any):
    clicks.click(widget.ui.fixedPlaceButton)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "a length")
    slicer.app.applicationLogic().GetSelectionNode().SetActivePlaceNodeID(other.GetID())
    widget.parent.exit()
    assert mode()[0]
    slicer.app.applicationLogic().GetInteractionNode().SwitchToViewTransformMode()


@pytest.fixture
def measured(widget: Any) -> Any:
    """The widgets of the section Measure, with a transform that has tables."""
    from PDDRegistrationLib.measure.tables import measureTablesOf
    from PDDRegistrationLib.ui import measure_panel

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "a result")
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "segments")
    tables = SimpleNamespace(segments=table, transform=transform)
    assert measureTablesOf(transform) is None
    panel = widget._measurePanel
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_panel.MeasurePanel, "_tables", lambda self: tables)
        panel.ui.measurePlotButton.enabled = True
        yield panel.ui


def test_the_chart_is_pressed_for_a_layout_of_its_own(host: Host, widget: Any, plots: list[Any], measured: Any):
    button = measured.measurePlotButton
    for count in (1, 2):
        clicks.click(button)
        assert (len(plots), button.checked, host.layout.layout) == (count, True, WITH_PLOT)
        clicks.click(button)
        assert (len(plots), button.checked, host.layout.layout) == (count, False, FOUR_UP)
    clicks.click(button)
    again(widget)
    assert (button.checked, host.layout.layout) == (False, FOUR_UP)


def test_a_closed_scene_ends_the_chart(host: Host, widget: Any, plots: list[Any], measured: Any):
    clicks.click(measured.measurePlotButton)
    bars = widget._measurePanel._bars
    assert len(bars._observers) >= 2  # of the chart and its table
    host.closeScene()
    assert (bars._observers, widget._measurePanel._bars) == ([], None)


def test_a_layout_chosen_after_the_chart_stays(host: Host, widget: Any, plots: list[Any], measured: Any):
    button = measured.measurePlotButton
    host.layout.setLayout(WITH_PLOT)
    clicks.click(button)
    assert (len(plots), button.checked) == (1, False)  # there was room for it
    host.layout.setLayout(FOUR_UP)
    clicks.click(button)
    host.layout.setLayout(FOUR_UP)
    host.layout.setLayout(WITH_PLOT)
    widget.parent.exit()
    assert host.layout.layout == FOUR_UP
    host.layout.setLayout(WITH_PLOT)
    again(widget)
    assert host.layout.layout == WITH_PLOT
    host.layout.setLayout(FOUR_UP)
