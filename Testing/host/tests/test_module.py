"""A scripted module in the host: parameters, clicks, scenes, reloading, closing. The module is host/example."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helpers.paths import HOST_EXAMPLE

if TYPE_CHECKING:
    from host.host import Host

NAME = "HostExample"


def add_volume(name: str = "scan", size: int = 20):
    import slicer

    return slicer.util.addVolumeFromArray(np.zeros((size, size, size), np.int16), name=name)


def click(button: object) -> None:
    import qt
    from PySide6.QtTest import QTest

    QTest.mouseClick(button, qt.Qt.LeftButton)


def test_the_panel_shows_the_parameters_defaults(example):
    assert (example.ui.amplitudeSlider.value, example.ui.wavesBox.value, example.ui.axisBox.currentText) == (12, 2, "x")
    assert (example.ui.titleEdit.text, example.ui.segmentationBox.checked) == ("a wave", True)
    assert (example.ui.amplitudeSlider.maximum, example.ui.wavesBox.maximum) == (50, 9)
    assert example.ui.movingVolumeSelector.currentNode() is None


def test_the_panel_follows_the_parameters(example):
    volume = add_volume()
    for name, value in {"movingVolume": volume, "amplitude": 7.5, "waves": 4, "axis": "z", "title": "b"}.items():
        setattr(example.parameters, name, value)
    example.parameters.applyToSegmentation = False
    ui = example.ui
    assert ui.movingVolumeSelector.currentNode() is volume
    assert (ui.amplitudeSlider.value, ui.wavesBox.value, ui.axisBox.currentText) == (7.5, 4, "z")
    assert (ui.titleEdit.text, ui.segmentationBox.checked) == ("b", False)


def test_the_parameters_follow_the_panel(example):
    volume, ui = add_volume(), example.ui
    ui.movingVolumeSelector.setCurrentNode(volume)
    ui.amplitudeSlider.value, ui.wavesBox.value, ui.axisBox.currentIndex = 3.5, 5, 1
    ui.titleEdit.text, ui.segmentationBox.checked = "c", False
    parameters = example.parameters
    assert parameters.movingVolume is volume
    assert (parameters.amplitude, parameters.waves, parameters.axis) == (3.5, 5, "y")
    assert (parameters.title, parameters.applyToSegmentation) == ("c", False)


def test_a_disconnected_panel_no_longer_follows(example):
    parameters = example.parameters
    example.setParameters(None)
    example.ui.wavesBox.value = 7
    parameters.amplitude = 1.0
    assert (parameters.waves, example.ui.amplitudeSlider.value) == (2, 12)


def test_the_scene_holds_parameters_as_slicer_stores_them(example):
    """Names and texts that Slicer's parameterNodeWrapper writes: a union's value stands under its member's number."""
    volume, node = add_volume(), example.logic.getParameterNode()
    assert node.GetParameter("movingVolume.1") == "True"
    example.parameters.movingVolume = volume
    stored = {name: node.GetParameter(name) for name in node.GetParameterNames()}
    assert stored == {
        "movingVolume.0": "",
        "segmentation.1": "True",
        "outputTransform.1": "True",
        "amplitude": "12.0",
        "waves": "2",
        "axis": "x",
        "title": "a wave",
        "applyToSegmentation": "True",
    }
    assert node.GetNodeReference("movingVolume.0") is volume
    assert (node.GetAttribute("ModuleName"), node.GetSingletonTag()) == (NAME, NAME)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("amplitude", 51.0, ValueError),
        ("amplitude", None, ValueError),
        ("waves", 2.5, TypeError),
        ("axis", "w", ValueError),
        ("title", 3, TypeError),
        ("movingVolume", "scan", TypeError),
    ],
)
def test_a_parameter_refuses_what_it_must_not_be(example, name, value, error):
    before = getattr(example.parameters, name)
    with pytest.raises(error):
        setattr(example.parameters, name, value)
    assert getattr(example.parameters, name) == before


def test_apply_is_disabled_until_it_can_run_and_says_why(host: Host, example):
    assert not example.ui.applyButton.enabled
    assert example.ui.applyButton.toolTip == "Select a moving volume"
    example.ui.movingVolumeSelector.setCurrentNode(add_volume())
    assert example.ui.applyButton.enabled
    assert example.ui.applyButton.toolTip == "Lay the wave over the volume"


def test_a_click_runs_the_module(host: Host, example):
    """The transform moves points along x by the sine of its formula; a click on a disabled button does nothing."""

    def body():
        click(example.ui.applyButton)
        assert example.parameters.outputTransform is None
        volume = add_volume(size=24)
        example.ui.movingVolumeSelector.setCurrentNode(volume)
        click(example.ui.applyButton)
        return volume, example.parameters.outputTransform

    volume, transform = host.runInEventLoop(body)
    assert (transform.GetName(), transform.GetClassName()) == ("Wave", "vtkMRMLGridTransformNode")
    assert volume.GetParentTransformNode() is transform
    moved = transform.GetTransformFromParent().TransformPoint(5.0, 6.0, 3.5 - 0.5)
    assert moved == pytest.approx((5.0 + 12.0 * np.sin(2 * np.pi * 2 * 3.5 / 24), 6.0, 3.0), abs=0.5)


def test_a_failure_is_raised_in_testing_mode_and_shown_otherwise(host: Host, example, monkeypatch, caplog):
    monkeypatch.setattr(example.logic, "process", lambda *_: 1 / 0)
    example.ui.movingVolumeSelector.setCurrentNode(add_volume())
    with pytest.raises(ZeroDivisionError):
        host.runInEventLoop(lambda: click(example.ui.applyButton))
    host.setTesting(False)
    with (
        host.answerDialogs() as texts,
        caplog.at_level(logging.CRITICAL),
        pytest.raises(ZeroDivisionError),
    ):
        host.runInEventLoop(lambda: click(example.ui.applyButton))
    assert texts == ["The wave failed.\n\ndivision by zero"]


@pytest.mark.parametrize("accept", [True, False])
def test_a_confirmation_can_be_answered(host: Host, accept: bool):
    import slicer

    host.setTesting(False)
    with host.answerDialogs(accept) as texts:
        assert host.runInEventLoop(lambda: slicer.util.confirmOkCancelDisplay("Install?")) is accept
    assert texts == ["Install?"]


@pytest.mark.parametrize("ending", ["mrb", "mrml"])
def test_a_saved_scene_brings_back_parameters_and_references(host: Host, example, tmp_path: Path, ending: str):
    import slicer

    path = tmp_path / f"Szene mit Lücke.{ending}"
    volume = add_volume("Patient")
    example.parameters.movingVolume, example.parameters.waves, example.parameters.title = volume, 3, "größer"
    if ending == "mrml":
        assert slicer.util.saveNode(volume, str(tmp_path / "Patient.nrrd"))
    assert slicer.util.saveScene(str(path))
    host.closeScene()
    assert (example.parameters.movingVolume, example.parameters.waves) == (None, 2)
    slicer.util.loadScene(str(path))
    example.initialize()
    assert example.parameters.movingVolume.GetName() == "Patient"
    assert (example.parameters.waves, example.parameters.title) == (3, "größer")
    assert (example.ui.wavesBox.value, example.ui.movingVolumeSelector.currentNode().GetName()) == (3, "Patient")


def test_reload_reads_the_file_anew_and_the_old_panel_lets_go(host: Host, tmp_path: Path):
    import slicer

    (tmp_path / "Resources" / "UI").mkdir(parents=True)
    for source in (HOST_EXAMPLE, HOST_EXAMPLE.parent / "Resources" / "UI" / "HostExample.ui"):
        (tmp_path / source.relative_to(HOST_EXAMPLE.parent)).write_bytes(source.read_bytes())
    copy = tmp_path / HOST_EXAMPLE.name
    first = host.loadModule(copy)
    copy.write_text(copy.read_text("utf-8").replace("Lay the wave", "Pour the wave"), "utf-8")
    second = host.reloadModule(NAME)
    assert first is not second
    assert slicer.modules.HostExampleWidget is second
    assert (first.cleanedUp, first.parameters, second.cleanedUp) == (True, None, False)
    second.ui.movingVolumeSelector.setCurrentNode(add_volume())
    assert second.ui.applyButton.toolTip == "Pour the wave over the volume"
    assert first.ui.applyButton.toolTip == "Select a moving volume"


def test_closing_the_scene_empties_the_panel(host: Host, example):
    example.parameters.movingVolume = add_volume()
    example.parameters.waves = 6
    host.closeScene()
    assert example.ui.movingVolumeSelector.currentNode() is None
    assert (example.parameters.waves, example.ui.wavesBox.value) == (2, 2)
    assert not example.ui.applyButton.enabled


def test_a_deleted_node_leaves_the_panel(host: Host, example):
    import slicer

    volume = add_volume()
    example.ui.movingVolumeSelector.setCurrentNode(volume)
    slicer.mrmlScene.RemoveNode(volume)
    assert example.ui.movingVolumeSelector.currentNode() is None
    assert example.parameters.movingVolume is None
    assert not example.ui.applyButton.enabled


def test_closing_the_application_lets_the_module_clean_up(host: Host, example):
    import slicer

    heard = []
    slicer.app.aboutToQuit.connect(lambda: heard.append("aboutToQuit"))
    host.closeApplication()
    assert heard == ["aboutToQuit"]
    assert example.cleanedUp
    assert host.loadedModules() == []
    assert not hasattr(slicer.modules, "hostexample")


def test_the_modules_self_test_runs_as_slicer_runs_it(host: Host, example):
    import slicer

    slicer.selfTests[NAME](msec=0)
    assert slicer.util.getNode("flat").GetParentTransformNode() is not None


def test_an_exception_in_a_slot_reaches_the_test(host: Host):
    import qt

    button = qt.QPushButton("a")
    button.connect("clicked()", lambda: [][1])
    with pytest.raises(IndexError):
        host.runInEventLoop(button.click)


def test_the_modules_folder_goes_to_the_end_of_the_path(host: Host, example):
    import sys

    assert sys.path.index(str(HOST_EXAMPLE.parent)) > sys.path.index(str(Path(pytest.__file__).parents[1]))
