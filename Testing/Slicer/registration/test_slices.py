"""Two single slices, oblique, anisotropic, flipped, registered by the panel, against VTK and SimpleITK in numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import clicks, runs
from helpers.geometry import rotation, sitk_image
from helpers.mrml_geometry import RAS, add_linear, ijk_to_ras, slicer
from helpers.runs import Bench, click
from helpers.slices import FIXED_PLACE, OTHER_PLACE, SlicePair, slice_pair
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError

pytestmark = pytest.mark.slow

NORMAL = FIXED_PLACE.axes[:, 2]
SIDES = ("fixed", "moving")


def chosen(bench: Bench, pair: SlicePair, **values: Any) -> SimpleNamespace:
    """The pair as nodes that the panel has chosen."""
    slicer.mrmlScene.RemoveNode(bench.nodes["fixedSegmentation"])
    slicer.mrmlScene.RemoveNode(bench.nodes["movingSegmentation"])
    nodes = {f"{side}Volume": runs.add_volume(getattr(pair, side), f"{side} slice") for side in SIDES}
    nodes |= {
        f"{side}Segmentation": runs.add_segmentation(getattr(pair, f"{side}_labels"), f"{side} disk") for side in SIDES
    }
    bench.choose(preset="default", **nodes, **values)
    return SimpleNamespace(**nodes)


def moved(transform: Any, points: np.ndarray) -> np.ndarray:
    """LPS points by the transform from parent, by VTK."""
    return clicks.moved(transform.GetTransformFromParent(), points)


def check_found(pair: SlicePair, transform: Any) -> None:
    points = pair.inner()
    errors = np.linalg.norm(moved(transform, points) - pair.truth(points), axis=1)
    assert np.median(errors) < 0.6
    assert np.percentile(errors, 90) < 1.5


def matrix_of(volume: Any) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


@pytest.fixture(scope="module")
def done(opened: Bench) -> SimpleNamespace:
    """One run by the panel, with the moving nodes put under the transform."""
    bench, pair = opened.renew(), slice_pair()
    nodes = chosen(bench, pair)
    before = [runs.fingerprint(node) for node in (nodes.fixedVolume, nodes.fixedSegmentation)]
    slicer.util.setSliceViewerLayers(background=nodes.fixedVolume)
    bench.run()
    assert bench.status == ""
    assert [runs.fingerprint(node) for node in (nodes.fixedVolume, nodes.fixedSegmentation)] == before
    return SimpleNamespace(bench=bench, pair=pair, transform=bench.parameters.outputTransform, **vars(nodes))


def test_apply_gives_a_grid_transform_that_moves_within_the_plane(done: SimpleNamespace) -> None:
    assert done.transform.GetClassName() == "vtkMRMLGridTransformNode"
    check_found(done.pair, done.transform)
    points = done.pair.inner()
    there = moved(done.transform, points)
    assert np.abs((there - points) @ NORMAL).max() < 1e-3
    off = moved(done.transform, points + 40.0 * NORMAL)  # far beside the plane, too
    assert np.abs(off - there - 40.0 * NORMAL).max() < 1e-3
    assert done.movingVolume.GetParentTransformNode() is done.transform
    assert done.movingSegmentation.GetParentTransformNode() is done.transform


def test_the_verdict_is_told_and_what_is_for_volumes_is_hidden(done: SimpleNamespace) -> None:
    ui, text = done.bench.ui, done.bench.ui.verdictLabel.text
    assert "OK: nothing speaks against this result" in text
    assert "Folding in 0.00 % of the image" in text and "in 2-D" in text
    assert "Mean Dice of 2 organs" in text
    assert ui.presetNote.text == "Single slices are registered in 2-D; the preset has no effect"
    assert ui.savePageButton.isHidden()
    assert ui.structuresTable.isHidden()


def test_compare_shows_the_slice_face_on_and_puts_the_views_back(done: SimpleNamespace) -> None:
    manager, ui = slicer.app.layoutManager(), done.bench.widget.compareUi
    assert ui.compareButton.checked
    for name in manager.sliceViewNames():
        to_ras = manager.sliceWidget(name).mrmlSliceNode().GetSliceToRAS()
        normal = np.array([to_ras.GetElement(row, 2) for row in range(3)]) * RAS
        place = np.array([to_ras.GetElement(row, 3) for row in range(3)]) * RAS
        assert abs(normal @ NORMAL) == pytest.approx(1.0, abs=1e-6)
        assert (place - FIXED_PLACE.middle) @ NORMAL == pytest.approx(0.0, abs=0.5)
    image = done.bench.host.viewImage("Red")
    assert image.std() > 10.0  # the texture, not a line
    for button in ("checkerboardButton", "beforeButton", "sideBySideButton", "linkedViewsButton"):
        for _ in range(2):
            click(getattr(ui, button))
    for entry in ("Jacobian", "Displacement"):
        clicks.choose(ui.overlayComboBox, entry)
        shown = done.bench.host.waitUntil(
            lambda entry=entry: any(
                entry in node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            )
        )
        assert shown, entry
    click(ui.compareButton)
    to_ras = manager.sliceWidget("Red").mrmlSliceNode().GetSliceToRAS()
    assert abs(to_ras.GetElement(2, 2)) == pytest.approx(1.0)


def test_a_parent_carries_points_and_segmentations_along(done: SimpleNamespace) -> None:
    """Points of the moving slice, put under the transform, lie where the fixed slice shows the same."""
    points = done.pair.inner(12)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "places")
    for place in (done.pair.truth(points) * RAS).tolist():
        node.AddControlPoint(place)
    from PDDRegistrationLib.scene.apply_to import Applied, hardenedCopy

    Applied().apply(node, done.transform)
    world = np.array([node.GetNthControlPointPositionWorld(n) for n in range(len(points))]) * RAS
    assert np.median(np.linalg.norm(world - points, axis=1)) < 0.6
    assert np.abs((world - points) @ NORMAL).max() < 1e-2
    volume = hardenedCopy(done.movingVolume, done.transform)
    assert volume.GetImageData().GetDimensions().count(1) == 1
    direction = matrix_of(volume)[:3, 2] * RAS
    assert abs(direction @ NORMAL) / np.linalg.norm(direction) == pytest.approx(1.0, abs=1e-4)
    segmentation = hardenedCopy(done.movingSegmentation, done.transform)
    ids = segmentation.GetSegmentation().GetSegmentIDs()
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, ids[0], done.fixedVolume)
    truth = done.pair.fixed_labels.array == 1
    assert 2 * (array * truth).sum() / (array.sum() + truth.sum()) > 0.96


def test_measure_tells_contours_and_motion_in_the_plane(done: SimpleNamespace) -> None:
    from PDDRegistrationLib.measure.measurement import MeasureSelection, measure

    nodes = done.fixedSegmentation, done.movingSegmentation, done.fixedVolume, done.movingVolume
    found = measure(
        done.bench.worker,
        MeasureSelection(
            done.transform,
            fixedSegmentation=nodes[0],
            movingSegmentation=nodes[1],
            fixedVolume=nodes[2],
            movingVolume=nodes[3],
        ),
    ).findings
    row = found.organs[0]
    assert row["dice_before"] < 0.9 < 0.97 < row["dice_after"]
    assert 0.05 < row["asd_after"] < 1.0 < row["asd_before"]
    assert found.jacobian["region"] == "fixed image" and found.jacobian["folding_percent"] == 0
    assert found.inverseError["p95"] < 0.5
    assert found.similarity["after"] > 0.95 > found.similarity["before"]
    shift = np.array(found.motion[0]["shift_ras_mm"]) * RAS
    centre = done.pair.fixed_labels.grid.points()[done.pair.fixed_labels.array == 1]
    expected = (done.pair.truth(centre) - centre).mean(axis=0)
    assert np.linalg.norm(shift - expected) < 0.6
    assert abs(shift @ NORMAL) < 1e-2


def test_outputs_on_the_pixels_of_the_fixed_slice(bench: Bench) -> None:
    """A slice of another, tilted plane under a parent of its own, resampled onto the fixed one."""
    pair = slice_pair(FIXED_PLACE, OTHER_PLACE)
    nodes = chosen(bench, pair)
    turn, shift = rotation(0, 0, 25), np.array([80.0, -30.0, 12.0])
    back = Grid(
        pair.moving.grid.shape,
        pair.moving.grid.spacing,
        turn.T @ (pair.moving.grid.origin * RAS - shift) * RAS,
        RAS[:, None] * (turn.T @ (RAS[:, None] * pair.moving.grid.direction)),
    )
    parent = add_linear(slicer.mrmlScene, turn, shift)
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(ijk_to_ras(back).ravel().tolist())
    nodes.movingVolume.SetIJKToRASMatrix(matrix)
    nodes.movingVolume.SetAndObserveTransformNodeID(parent.GetID())
    slicer.mrmlScene.RemoveNode(nodes.movingSegmentation)
    add = slicer.mrmlScene.AddNewNodeByClass
    outputs = {
        "outputVolume": add("vtkMRMLScalarVolumeNode", "warped"),
        "outputInverse": add("vtkMRMLGridTransformNode", "inverse"),
        "outputJacobian": add("vtkMRMLScalarVolumeNode", "jacobian"),
        "outputSpread": add("vtkMRMLScalarVolumeNode", "spread"),
    }
    bench.choose(**outputs)
    bench.run()
    assert bench.status == ""
    transform, volume = bench.parameters.outputTransform, outputs["outputVolume"]
    check_found(pair, transform)
    there = moved(transform, pair.inner())
    assert np.abs((there - OTHER_PLACE.middle) @ OTHER_PLACE.axes[:, 2]).max() < 1e-2
    assert (
        np.linalg.norm(
            clicks.moved(outputs["outputInverse"].GetTransformFromParent(), there) - pair.inner(), axis=1
        ).max()
        < 0.2
    )
    assert np.abs(matrix_of(volume) - matrix_of(nodes.fixedVolume)).max() < 1e-5
    moving = sitk.Cast(sitk_image(pair.moving.array, pair.moving.grid), sitk.sitkFloat64)
    warped = slicer.util.arrayFromVolume(volume)
    index = np.random.default_rng(1).integers(10, 80, (40, 2))
    places = moved(transform, pair.fixed.grid.index_to_point(np.c_[index, np.zeros(40)]))
    expected = [moving.EvaluateAtPhysicalPoint(place) for place in places.tolist()]
    assert np.abs(warped[0, index[:, 1], index[:, 0]] - expected).max() < 2.0
    assert warped.dtype == np.int16
    assert slicer.util.arrayFromVolume(outputs["outputJacobian"]).min() > 0
    assert nodes.movingVolume.GetParentTransformNode() is parent


def test_what_makes_no_sense_for_slices_is_one_sentence_above_apply(bench: Bench) -> None:
    chosen(bench, slice_pair())
    ui, end = bench.ui, ": only for volumes, and these are single slices; leave it out, or set it back."
    assert ui.applyButton.enabled and ui.reasonLabel.text == ""
    for values, name in (
        ({"transformType": "rigid"}, "Transform rigid"),
        ({"diffeomorphic": True, "intensity": "hu"}, "Intensity, Diffeomorphic"),
        ({"guide": True}, "Guide with the segmentations"),
        ({"captureRange": 20.0}, "Advanced"),
        ({"fixedMask": bench.parameters.fixedSegmentation}, "Masks"),
        ({"outputError": slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "error")}, "Expected error"),
    ):
        usual = {key: getattr(bench.parameters, key) for key in values}
        bench.choose(**values)
        assert not ui.applyButton.enabled
        assert ui.reasonLabel.text == name + end
        bench.choose(**usual)
        assert ui.applyButton.enabled, ui.reasonLabel.text
    bench.choose(movingVolume=bench.nodes["movingVolume"])
    assert ui.reasonLabel.text == (
        "fixed slice is a single slice, and Moving^Patient is none; choose two slices, or two volumes."
    )


def test_slices_at_right_angles_and_tiny_ones_are_one_sentence(bench: Bench) -> None:
    pair = slice_pair()
    nodes = chosen(bench, pair)
    logic = bench.widget.logic
    upright = Grid((128, 1, 140), (1.4, 3.0, 1.5), pair.fixed.grid.origin, pair.fixed.grid.direction)
    other = runs.add_volume(Image(pair.moving.array.reshape(128, 1, 140), upright), "upright")
    with pytest.raises(InputError, match="the two slices are tilted by 90 degrees against each other"):
        logic.register(nodes.fixedVolume, other)
    small = runs.add_volume(Image(pair.moving.array[:, :9], _like(pair.moving.grid, 9)), "small")
    with pytest.raises(InputError, match="moving volume: the image has only 140 x 9 pixels"):
        logic.register(nodes.fixedVolume, small)


def _like(grid: Grid, rows: int) -> Grid:
    return Grid((1, rows, grid.shape[2]), grid.spacing, grid.origin, grid.direction)
