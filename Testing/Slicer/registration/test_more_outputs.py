"""Inverse, Jacobian and spread as nodes: their numbers, their names, where they stand; and a way out of a taken one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vtk.util.numpy_support import vtk_to_numpy

from helpers import clicks, samples
from helpers import mrml_geometry as mrml
from helpers.mrml_geometry import RAS, slicer
from helpers.runs import Bench, add_volume, fingerprint

pytestmark = pytest.mark.slow

MAPS = ("outputInverse", "outputJacobian", "outputSpread", "outputError")
INNER = samples.FIXED.centre + np.array([[5.0, -8, 6], [-9, 3, 7], [11, 6, -12], [0, 0, 0], [-4, -11, -8]])


def make(bench: Bench, *outputs: str) -> list[Any]:
    """New nodes, as the selectors make them."""
    return [getattr(bench.ui, f"{output}Selector").addNode() for output in outputs]


def sampled(volume: Any, points: np.ndarray) -> np.ndarray:
    """A volume's values at LPS points in the world, by VTK, linear between voxels."""
    matrix = mrml.vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(matrix)
    index = [matrix.MultiplyPoint((*point, 1.0))[:3] for point in (points * RAS).tolist()]
    data = mrml.vtk.vtkImageData()
    data.DeepCopy(volume.GetImageData())
    data.SetOrigin(0, 0, 0)
    data.SetSpacing(1, 1, 1)
    places, probe = mrml.vtk.vtkPolyData(), mrml.vtk.vtkProbeFilter()
    vtk_points = mrml.vtk.vtkPoints()
    for place in index:
        vtk_points.InsertNextPoint(place)
    places.SetPoints(vtk_points)
    probe.SetInputData(places)
    probe.SetSourceData(data)
    probe.Update()
    return vtk_to_numpy(probe.GetOutput().GetPointData().GetScalars()).copy()


def determinants(transform: Any, points: np.ndarray, step: float = 4.0) -> np.ndarray:
    """Of the derivative at LPS points, by differences of VTK's own TransformPoint over the grid's spacing."""
    columns = []
    for axis in np.eye(3) * step:
        ahead, behind = (clicks.moved(transform, points + side * axis) for side in (1, -1))
        columns.append((ahead - behind) / (2 * step))
    return np.linalg.det(np.stack(columns, axis=-1))


def test_the_nodes_hold_what_they_say(bench: Bench):
    """Of a bend, which the deformation undoes: of one that is left out there is no spread."""
    for side, image in zip(("fixedVolume", "movingVolume"), samples.bent_pair(), strict=True):
        slicer.util.updateVolumeFromArray(bench.nodes[side], image.array)
    inverse, jacobian, spread, error = make(bench, *MAPS)
    bench.run()
    assert bench.status == ""
    forward = bench.parameters.outputTransform.GetTransformFromParent()
    there = clicks.moved(forward, INNER)
    assert np.linalg.norm(there - INNER, axis=1).min() > 8
    back = clicks.moved(inverse.GetTransformFromParent(), there)
    assert np.linalg.norm(back - INNER, axis=1).max() < 0.5  # mm
    assert np.abs(sampled(jacobian, INNER) - determinants(forward, INNER)).max() < 0.25
    assert np.abs(sampled(jacobian, INNER) - 1).max() < 0.9
    values = sampled(spread, INNER)
    assert (values > 0.5).all()
    assert (values < 40).all()  # mm, the preset's reach
    assert (sampled(error, INNER) > 0).all()
    assert sampled(error, INNER).max() < 40
    for volume, window, level in ((jacobian, 2, 1), (spread, 20, 10), (error, 20, 10)):
        display = volume.GetDisplayNode()
        assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (window, level, 0)
    first = slicer.util.arrayFromVolume(jacobian).copy()
    bench.run()  # into the same nodes
    assert np.array_equal(slicer.util.arrayFromVolume(jacobian), first)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLGridTransformNode") == 2


def test_none_of_them_is_made_unasked(bench: Bench):
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    bench.run()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLGridTransformNode") == 1


def test_new_nodes_are_called_after_the_inputs(bench: Bench):
    names = {
        "outputTransform": "Moving^Patient to Fixed^Patient",
        "outputVolume": "Moving^Patient on Fixed^Patient",
        "outputSegmentation": "Moving organs on Fixed^Patient",
        "outputInverse": "Moving^Patient to Fixed^Patient inverse",
        "outputJacobian": "Moving^Patient to Fixed^Patient Jacobian",
        "outputSpread": "Moving^Patient to Fixed^Patient spread",
        "outputError": "Moving^Patient to Fixed^Patient expected error",
    }
    nodes = make(bench, *names)
    assert [node.GetName() for node in nodes] == list(names.values())
    bench.choose(movingVolume=None)
    assert make(bench, "outputSpread")[0].GetName() == "PDD spread"


def test_they_stand_beside_the_moving_volume(bench: Bench):
    """In its folder; what the user has put elsewhere stays there."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    scene = hierarchy.GetSceneItemID()
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(scene, "Patient"), "Study")
    elsewhere = hierarchy.CreateFolderItem(scene, "Mine")
    for node, folder in ((bench.nodes["movingVolume"], study), (bench.nodes["fixedVolume"], elsewhere)):
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(scene, node), folder)
    nodes = make(bench, "outputVolume", "outputSegmentation", *MAPS)
    own = hierarchy.GetItemByDataNode(nodes[-1]) or hierarchy.CreateItem(scene, nodes[-1])
    hierarchy.SetItemParent(own, elsewhere)
    bench.run()
    assert bench.status == ""
    for node in (bench.parameters.outputTransform, *nodes[:-1]):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study, node.GetName()
    assert hierarchy.GetItemParent(own) == elsewhere
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(bench.nodes["fixedVolume"])) == elsewhere


def test_a_cancelled_run_leaves_them_empty(bench: Bench):
    inverse, jacobian, spread, error = make(bench, *MAPS)
    with clicks.every_click_counts():
        bench.run(during=lambda stage: clicks.click(bench.ui.applyButton) if stage.startswith("match") else None)
    assert "cancel" in bench.status
    assert jacobian.GetImageData() is None
    assert spread.GetImageData() is None
    assert error.GetImageData() is None
    assert np.allclose(clicks.moved(inverse.GetTransformFromParent(), INNER), INNER)
    bench.check_inputs_untouched()


@pytest.mark.parametrize("output", ["outputJacobian", "outputSpread", "outputError"])
def test_one_node_is_not_two_outputs_nor_an_input(bench: Bench, output: str):
    (volume,) = make(bench, "outputVolume")
    bench.choose(**{output: volume})
    assert bench.ui.applyButton.toolTip.endswith("is chosen for two outputs; choose another one.")
    bench.choose(**{"outputVolume": None, output: bench.nodes["movingVolume"]})
    assert bench.ui.applyButton.toolTip == "Moving^Patient is an input; choose another output."
    assert not bench.ui.newTransformButton.visible


def test_the_expected_error_is_refused_before_a_run_that_does_not_know_it(bench: Bench):
    make(bench, "outputError")
    bench.choose(preset="multimodal")
    name = "Moving^Patient to Fixed^Patient expected error"
    expected = f"The expected error is known of CT only: choose another preset, or nothing instead of {name}."
    assert (bench.ui.applyButton.enabled, bench.ui.reasonLabel.text) == (False, expected)
    bench.choose(preset="fast")
    assert (bench.ui.applyButton.enabled, bench.ui.reasonLabel.text) == (True, "")


def test_the_inverse_replaces_no_transform_that_an_input_hangs_on(bench: Bench):
    (inverse,) = make(bench, "outputInverse")
    bench.nodes["fixedVolume"].SetAndObserveTransformNodeID(inverse.GetID())
    bench.parameters.Modified()
    assert bench.ui.applyButton.toolTip.startswith("Fixed^Patient lies under Moving^Patient to Fixed^Patient inverse")


def test_a_transform_of_another_pair_is_left_with_one_click(bench: Bench):
    bench.run()
    first = bench.parameters.outputTransform
    field = clicks.field_of_node(first)[0].copy()
    other = add_volume(clicks.small_images()[1], "Other")
    bench.choose(movingVolume=other, movingSegmentation=None)
    assert not bench.ui.applyButton.enabled
    assert bench.ui.reasonLabel.visible
    assert bench.ui.reasonLabel.text == bench.ui.applyButton.toolTip
    clicks.click(bench.ui.newTransformButton)
    assert (bench.parameters.outputTransform, bench.ui.applyButton.enabled) == (None, True)
    assert (bench.ui.reasonLabel.visible, bench.ui.newTransformButton.visible) == (False, False)
    bench.run()
    assert bench.parameters.outputTransform.GetName() == "Other to Fixed^Patient"
    assert np.array_equal(clicks.field_of_node(first)[0], field)
    assert bench.nodes["movingVolume"].GetParentTransformNode() is first


def test_a_fault_at_the_end_leaves_them_as_they_were(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """All or nothing: what a former run put into them stays."""
    from PDDRegistrationLib.registration import job

    nodes = make(bench, *MAPS)
    bench.run()
    before = [fingerprint(node) for node in nodes]
    windows = [node.GetDisplayNode().GetWindow() for node in nodes[1:]]

    def fail(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(job, "placeBeside", fail)
    monkeypatch.setattr("logging.exception", lambda *_: None)
    bench.choose(captureRange=24.0, controlSpacing=12.0)
    bench.run()
    assert bench.status == "The result could not be put into the scene."
    assert [fingerprint(node) for node in nodes] == before
    assert [node.GetDisplayNode().GetWindow() for node in nodes[1:]] == windows
