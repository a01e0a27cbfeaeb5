"""Right click in the subject hierarchy: "Register this to..." opens the module with the clicked volume as moving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from helpers import runs, samples
from helpers.paths import HOST_EXAMPLE, MODULE
from helpers.runs import add_segmentation, add_volume

if TYPE_CHECKING:
    from host.host import Host


@pytest.fixture
def widget(host: Host) -> Any:
    """The module's widget, in a scene with two CTs and a segmentation of each."""
    fixed, moving = samples.small_pair()
    add_volume(fixed, "First")
    add_volume(moving, "Second")
    add_segmentation(samples.labels(fixed.grid, samples.FIXED.centre), "First organs")
    add_segmentation(samples.labels(moving.grid, samples.FIXED.centre + samples.SHIFT), "Second organs")
    return host.loadModule(MODULE)


def node(name: str) -> Any:
    import slicer

    return slicer.util.getNode(name)


def menu(clicked: Any) -> list[Any]:
    """What a right click on a node's item offers."""
    import slicer

    from host.subject_hierarchy import contextMenu

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return contextMenu(
        hierarchy.GetItemByDataNode(clicked) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), clicked)
    )


def chosen(widget: Any) -> dict[str, str]:
    parameters = widget.logic.getParameterNode()
    names = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation", "outputTransform", "fixedPoints")
    nodes = {name: getattr(parameters, name) for name in names}
    return {name: found.GetName() for name, found in nodes.items() if found is not None}


def test_the_action_shows_for_volumes_alone(widget: Any) -> None:
    import slicer

    from host.subject_hierarchy import contextMenu

    assert [action.text for action in menu(node("Second"))] == ["Register this to..."]
    for kind in ("vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode", "vtkMRMLLinearTransformNode"):
        assert menu(slicer.mrmlScene.AddNewNodeByClass(kind)) == [], kind
    assert menu(node("First organs")) == []
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert contextMenu(hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "folder")) == []
    assert contextMenu(hierarchy.GetSceneItemID()) == contextMenu(0) == []


def test_the_clicked_volume_becomes_the_moving_one(host: Host, widget: Any) -> None:
    import slicer

    pair = {"fixedVolume": "First", "movingVolume": "Second"}
    assert chosen(widget) == pair | {"fixedSegmentation": "First organs", "movingSegmentation": "Second organs"}
    parameters = widget.logic.getParameterNode()
    parameters.guide = True
    parameters.outputTransform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "of the former pair")
    parameters.fixedPoints = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    host.loadModule(HOST_EXAMPLE)
    assert slicer.util.selectedModule() == "HostExample"
    (action,) = menu(node("First"))
    action.trigger()
    assert slicer.util.selectedModule() == "PDDRegistration"
    swapped = {"fixedVolume": "Second", "movingVolume": "First"}
    assert chosen(widget) == swapped | {"fixedSegmentation": "Second organs", "movingSegmentation": "First organs"}
    assert not parameters.guide
    assert widget.ui.movingVolumeSelector.currentNode() is node("First")
    assert widget.ui.applyButton.enabled


def test_a_fixed_volume_stays_and_the_same_choice_changes_nothing(widget: Any) -> None:
    import slicer

    add_volume(samples.small_pair()[1], "Third")
    parameters = widget.logic.getParameterNode()
    parameters.fixedPoints = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    menu(node("Third"))[0].trigger()
    expected = {"fixedVolume": "First", "movingVolume": "Third", "fixedSegmentation": "First organs"}
    assert chosen(widget) == expected | {"fixedPoints": "points"}
    parameters.outputTransform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "result")
    menu(node("Third"))[0].trigger()
    assert chosen(widget) == expected | {"fixedPoints": "points", "outputTransform": "result"}


def test_where_several_could_be_fixed_the_user_chooses(host: Host, widget: Any) -> None:
    add_volume(samples.small_pair()[1], "Third")
    menu(node("First"))[0].trigger()
    assert chosen(widget) == {"movingVolume": "First", "movingSegmentation": "First organs"}
    assert widget.ui.reasonLabel.text == "Choose a fixed volume."
    assert not widget.ui.applyButton.enabled


def test_the_menu_works_after_a_reload_and_without_a_second_entry(host: Host, widget: Any) -> None:
    with runs.fresh_library():
        widget = host.reloadModule("PDDRegistration")
        (action,) = menu(node("First"))
        action.trigger()
        assert chosen(widget)["movingVolume"] == "First"
        host.unloadModule("PDDRegistration")


def test_an_application_without_the_subject_hierarchy_loads_the_module(host: Host, monkeypatch) -> None:
    import slicer

    monkeypatch.delattr(slicer, "qSlicerSubjectHierarchyScriptedPlugin")
    assert host.loadModule(MODULE).ui.applyButton is not None
