"""Scenes that are saved and loaded, come from elsewhere, are closed, or follow one another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers import runs, samples

if TYPE_CHECKING:
    from host.host import Host

CUBIC = 0.1  # mm: Slicer interpolates a grid that it has loaded with cubic splines, between its nodes; 0.02 was seen

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


@pytest.fixture
def host(running_host: Host) -> Host:
    return running_host


def nodes_and_between(transform: Any) -> tuple[np.ndarray, np.ndarray]:
    """RAS points: the nodes of a grid transform, without its outermost, and the middles between them."""
    grid = transform.GetTransformFromParentAs("vtkOrientedGridTransform", False)
    grid.Update()
    data, turn = grid.GetDisplacementGrid(), grid.GetGridDirectionMatrix()
    matrix = np.array([[turn.GetElement(row, column) for column in range(3)] for row in range(3)])
    steps = np.stack(np.meshgrid(*[np.arange(3, n - 3, 4) for n in data.GetDimensions()], indexing="ij"), -1).reshape(
        -1, 3
    )
    places = [(steps + shift) * data.GetSpacing() @ matrix.T + data.GetOrigin() for shift in (0.0, 0.5)]
    return places[0], places[1]


def moved(transform: Any, points: np.ndarray) -> np.ndarray:
    """Where VTK takes RAS points, from parent."""
    general = transform.GetTransformFromParent()
    return np.array([general.TransformPoint(point) for point in points.tolist()])


def load(host: Host, path: Path) -> None:
    import slicer

    slicer.util.loadScene(str(path))
    host.processEvents()


def test_a_saved_result_comes_back(host: Host, bench: runs.Bench, tmp_path: Path) -> None:
    """Nodes of the grid are exact; between them the loaded transform is cubic, where the computed one is linear."""
    import slicer

    bench.check_usable()
    transform, verdict = bench.parameters.outputTransform, bench.ui.verdictLabel.text
    places = nodes_and_between(transform)
    before, report = [moved(transform, points) for points in places], transform.GetAttribute("PDDRegistration.Report")
    names = {key: node.GetName() for key, node in bench.nodes.items()} | {"outputTransform": transform.GetName()}
    path = tmp_path / "Fräulein Müllers Szene.mrb"
    assert slicer.util.saveScene(str(path))
    host.closeScene()
    assert (bench.ui.verdictLabel.text, bench.parameters.preset) == ("", "default")

    load(host, path)
    parameters = bench.parameters
    assert {key: getattr(parameters, key).GetName() for key in names} == names
    assert (parameters.preset, parameters.device, parameters.outputVolume) == ("fast", "auto", None)
    loaded = parameters.outputTransform
    assert loaded.GetNodeReference(loaded.GetFixedNodeReferenceRole()) is parameters.fixedVolume
    assert loaded.GetNodeReference(loaded.GetMovingNodeReferenceRole()) is parameters.movingVolume
    assert parameters.movingVolume.GetParentTransformNode() is loaded
    assert parameters.movingSegmentation.GetParentTransformNode() is loaded
    assert parameters.fixedVolume.GetParentTransformNode() is None
    assert loaded.GetAttribute("PDDRegistration.Report") == report
    assert bench.ui.verdictLabel.text == verdict
    errors = [
        np.linalg.norm(moved(loaded, points) - there, axis=1).max()
        for points, there in zip(places, before, strict=True)
    ]
    assert np.abs(before[0] - places[0]).max() > 8.0
    assert errors[0] < 1e-3
    assert errors[1] < CUBIC

    assert (bench.ui.applyButton.enabled, bench.ui.presetComboBox.currentText) == (True, "fast")
    bench.check_usable()  # the same transform again, although the moving scan lies under it
    assert parameters.outputTransform is loaded
    assert np.linalg.norm(moved(loaded, places[0]) - before[0], axis=1).max() < 1e-3
    bench.choose(outputTransform=None)
    bench.check_usable()
    assert parameters.outputTransform is not loaded
    assert parameters.movingVolume.GetParentTransformNode() is parameters.outputTransform
    assert np.linalg.norm(moved(parameters.outputTransform, places[0]) - before[0], axis=1).max() < 1e-3


@pytest.mark.parametrize(
    "wrong", [{"preset": "turbo"}, {"device": "tpu"}, {"preset": "turbo", "device": "tpu"}], ids="-".join
)
def test_a_scene_with_an_unknown_setting_opens_with_a_message(
    host: Host, bench: runs.Bench, tmp_path: Path, wrong: dict[str, str]
) -> None:
    """Also where the panel showed another value before; Apply works then."""
    import slicer

    usual = {"preset": "default", "device": "auto"}
    path = tmp_path / "elsewhere.mrb"
    bench.widget.exit()
    for name, value in wrong.items():
        bench.parameters.parameterNode.SetParameter(name, value)
    assert slicer.util.saveScene(str(path))
    host.closeScene()
    bench.widget.enter()
    bench.choose(preset="fast", device="cpu")
    load(host, path)
    texts = [
        f"The scene asks for the {name} '{value}', which does not exist here; '{usual[name]}' is used instead."
        for name, value in wrong.items()
    ]
    assert bench.status == " ".join(texts)
    parameters = bench.parameters
    assert {name: getattr(parameters, name) for name in wrong} == {name: usual[name] for name in wrong}
    assert bench.ui.presetComboBox.currentText == parameters.preset
    assert parameters.movingVolume.GetName() == "Moving^Patient"
    bench.check_usable()


def test_a_program_that_sets_nonsense_is_told_so(bench: runs.Bench) -> None:
    bench.parameters.preset = "turbo"
    assert (bench.parameters.preset, bench.ui.presetComboBox.currentText) == ("default", "default")
    assert "'turbo'" in bench.status


def test_a_result_that_is_damaged_is_shown_as_none(host: Host, bench: runs.Bench) -> None:
    import slicer

    for text in ("", "{", "[]", "{}", '{"verdict": {}}'):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode")
        node.SetAttribute("PDDRegistration.Report", text)
        host.runInEventLoop(lambda node=node: bench.choose(outputTransform=node))
        assert bench.ui.verdictLabel.text == ""


def maps_offered(bench: runs.Bench) -> list[str]:
    box = bench.widget.compareUi.overlayComboBox
    return [text for text in map(box.itemText, range(box.count)) if text in ("Spread (mm)", "Expected error (mm)")]


def other_content(transform: Any) -> None:
    """Put the displacements of another registration into the node."""
    from PDDRegistrationLib.scene.transforms import gridTransformFromField

    gridTransformFromField(samples.fake_register()(samples.ramp(samples.FIXED), None).field, transform)


def test_the_next_patient_is_not_shown_the_maps_of_the_last_one(host: Host, bench: runs.Bench) -> None:
    import slicer

    bench.run()
    used = bench.parameters.outputTransform.GetID()
    assert maps_offered(bench) == ["Spread (mm)", "Expected error (mm)"]
    bench.renew()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "from a file")
    other_content(transform)
    bench.choose(outputTransform=transform)
    assert transform.GetID() == used
    assert maps_offered(bench) == []


def test_the_maps_of_a_result_go_when_its_transform_is_filled_anew_and_not_when_it_is_moved(
    host: Host, bench: runs.Bench
) -> None:
    import slicer

    bench.run()
    transform = bench.parameters.outputTransform
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    host.runInEventLoop(lambda: transform.SetAndObserveTransformNodeID(parent.GetID()))
    assert maps_offered(bench) == ["Spread (mm)", "Expected error (mm)"]
    host.runInEventLoop(lambda: other_content(transform))
    host.processEvents(0.05)
    assert maps_offered(bench) == []
    assert bench.widget._comparePanel.isRunning


def test_the_scene_is_closed_and_new_nodes_are_loaded(host: Host, bench: runs.Bench) -> None:
    bench.check_usable()
    host.closeScene()
    assert (bench.ui.verdictLabel.text, bench.ui.applyButton.enabled) == ("", False)
    assert bench.ui.fixedVolumeSelector.currentNode() is None
    bench.fill()
    assert bench.ui.fixedVolumeSelector.currentNode() is bench.nodes["fixedVolume"]
    bench.check_usable()
    bench.widget.exit()
    host.closeScene()  # while another module is shown
    bench.fill()
    bench.widget.enter()
    assert bench.ui.movingVolumeSelector.currentNode() is bench.nodes["movingVolume"]
    assert bench.ui.applyButton.enabled
