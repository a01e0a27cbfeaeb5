"""What the host's views show, in pixels, and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from host.host import Host

SIZE = 60  # voxels of 1 mm along each axis
CENTRE = (SIZE - 1) / 2
BOX = slice(20, 40)
WINDOW = (1200, 800)
RED = (1.0, 0.0, 0.0)


def brightness(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(float).mean(axis=-1)


def red(pixels: np.ndarray) -> np.ndarray:
    """Where a colour that is no grey and mostly red was drawn."""
    values = pixels.astype(int)
    return (values[..., 0] - values[..., 1] > 60) & (values[..., 0] - values[..., 2] > 60)


def centre(mask: np.ndarray) -> np.ndarray:
    """Row and column of the middle of a mask's bounding box."""
    rows, columns = np.nonzero(mask)
    return np.array([rows.min() + rows.max(), columns.min() + columns.max()]) / 2


@pytest.fixture
def box(host: Host):
    """A volume of -1000 with a cube of 1000 in it, shown in grey between -1000 and 1000, centred at the RAS origin."""
    import slicer

    values = np.full((SIZE, SIZE, SIZE), -1000, np.int16)
    values[BOX, BOX, BOX] = 1000
    matrix = np.eye(4)
    matrix[:3, 3] = -CENTRE
    volume = slicer.util.addVolumeFromArray(values, matrix, "box")
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(2000, 0)
    host.window.resize(*WINDOW)
    host.processEvents(0.05)
    slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None, fit=True)
    slicer.util.resetSliceViews()
    return volume


@pytest.fixture
def segmentation(box):
    """A red segment in the place of the cube."""
    import slicer

    labels = (slicer.util.arrayFromVolume(box) > 0).astype(np.uint8)
    matrix = np.eye(4)
    matrix[:3, 3] = -CENTRE
    volume = slicer.util.addVolumeFromArray(labels, matrix, "labels", "vtkMRMLLabelMapVolumeNode")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organ")
    node.CreateDefaultDisplayNodes()
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(volume, node)
    slicer.mrmlScene.RemoveNode(volume)
    node.GetSegmentation().GetNthSegment(0).SetColor(*RED)
    return node


def shift(node, millimetres: tuple[float, float, float]):
    """A grid transform of the same displacement everywhere (RAS), with `node` put under it."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(5, 5, 5)
    image.SetOrigin(-100, -100, -100)
    image.SetSpacing(50, 50, 50)
    image.GetPointData().SetScalars(numpy_to_vtk(np.tile(np.array(millimetres), (125, 1)), deep=True))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "shift")
    transform.SetAndObserveTransformFromParent(grid)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def millimetres_per_pixel(host: Host, view: str) -> float:
    node = host.layout.sliceWidget(view).mrmlSliceNode()
    return node.GetFieldOfView()[0] / node.GetDimensions()[0]


@pytest.mark.parametrize("view", ["Red", "Yellow", "Green"])
def test_a_slice_view_shows_the_volume_in_its_window_and_level(host: Host, box, view):
    pixels = brightness(host.viewImage(view))
    height, width = pixels.shape
    assert pixels[height // 2, width // 2] == 255
    assert pixels[height // 2, 2] == 0
    bright = pixels > 128
    expected = ((BOX.stop - BOX.start) / millimetres_per_pixel(host, view)) ** 2
    assert bright.sum() == pytest.approx(expected, rel=0.05)
    box.GetDisplayNode().SetWindowLevel(4000, 0)
    assert brightness(host.viewImage(view))[height // 2, width // 2] == pytest.approx(191, abs=2)


@pytest.mark.parametrize(("view", "normal"), [("Red", 2), ("Yellow", 0), ("Green", 1)])
def test_a_slice_view_cuts_across_its_axis(host: Host, box, view, normal):
    """25 mm from the middle the cube is over."""
    widget = host.layout.sliceWidget(view)
    matrix = widget.mrmlSliceNode().GetSliceToRAS()
    assert abs(matrix.GetElement(normal, 2)) == pytest.approx(1)
    widget.sliceLogic().SetSliceOffset(25)
    assert brightness(host.viewImage(view)).max() < 255
    assert not (brightness(host.viewImage(view))[50:-50] > 128).any()


def test_the_slider_moves_the_slice(host: Host, box):
    import qt

    widget = host.layout.sliceWidget("Red")
    slider = widget.findChildren(qt.QSlider)[0]
    assert (slider.minimum, slider.maximum) == (0, SIZE - 1)
    slider.value = 45
    assert widget.sliceLogic().GetSliceOffset() == pytest.approx(45 - CENTRE)
    texts = [label.text for label in widget.findChildren(qt.QLabel)]
    assert "S: 15.50mm" in texts


def test_a_segmentation_is_drawn_over_the_volume(host: Host, segmentation):
    """Outline and fill where the cube is: the fill lets the volume shine through."""
    pixels = host.viewImage("Red")
    mask = red(pixels)
    expected = ((BOX.stop - BOX.start) / millimetres_per_pixel(host, "Red")) ** 2
    assert mask.sum() == pytest.approx(expected, rel=0.1)
    height, width, _ = pixels.shape
    middle = pixels[height // 2, width // 2].astype(int)
    assert middle[0] == 255
    assert 60 < middle[1] < 200
    rows, columns = np.nonzero(mask)
    outline = pixels[rows, columns][columns == columns.min()].astype(int)
    assert (outline[:, 1] < 60).mean() > 0.5
    segmentation.GetDisplayNode().SetVisibility(False)
    assert not red(host.viewImage("Red")).any()


def test_a_grid_transform_moves_volume_and_segmentation_in_the_view(host: Host, box, segmentation):
    """From parent p -> p + u: what lay at p + u is shown at p, so both move by -u. u = (7, -6, 0) mm RAS; in the axial
    view R lies at the left and A at the top."""
    before = host.viewImage("Red")
    shift(segmentation, (7.0, -6.0, 0.0))
    moved_outline = host.viewImage("Red")
    box.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
    after = host.viewImage("Red")
    pixel = millimetres_per_pixel(host, "Red")
    expected = np.array([-6.0, 7.0]) / pixel  # rows grow towards P, columns towards L
    assert centre(red(moved_outline)) - centre(red(before)) == pytest.approx(expected, abs=1.5)
    assert centre(red(after)) - centre(red(before)) == pytest.approx(expected, abs=1.5)
    segmentation.GetDisplayNode().SetVisibility(False)
    bright = brightness(host.viewImage("Red")) > 128
    bright[int(len(bright) * 0.9) :] = False  # the text in the corner
    assert centre(bright) - centre(red(before)) == pytest.approx(expected, abs=2.0)


def test_the_3d_view_shows_a_segments_surface(host: Host, segmentation):
    import slicer

    assert not red(host.viewImage("1")).any()
    segmentation.CreateClosedSurfaceRepresentation()
    slicer.util.resetThreeDViews()
    mask = red(host.viewImage("1"))
    assert mask.sum() > 500
    assert centre(mask) == pytest.approx(np.array(mask.shape) / 2, abs=0.1 * max(mask.shape))


def test_a_transform_draws_its_grid_in_a_view(host: Host, box):
    plain = host.viewImage("Red")
    transform = shift(box, (0.0, 0.0, 0.0))
    transform.CreateDefaultDisplayNodes()
    display = transform.GetDisplayNode()
    display.SetVisualizationMode(display.VIS_MODE_GRID)
    display.SetGridSpacingMm(10)
    display.SetVisibility(True)
    display.SetVisibility2D(True)
    changed = (host.viewImage("Red") != plain).any(axis=-1)
    assert 0.02 < changed.mean() < 0.5


def test_views_survive_a_closed_scene(host: Host, box):
    host.closeScene()
    assert brightness(host.viewImage("Red")).max() == 0


def test_paused_views_are_drawn_when_they_go_on(host: Host, box):
    import slicer

    canvas = host.layout.sliceWidget("Red").canvas()
    with slicer.util.RenderBlocker():
        host.processEvents(0.05)
        before = canvas.pixmap.toImage()
        box.GetDisplayNode().SetWindowLevel(10, 2000)
        host.processEvents(0.05)
        assert canvas.pixmap.toImage() == before
    host.processEvents(0.05)
    assert canvas.pixmap.toImage() != before


def test_a_screenshot_shows_panel_and_views(host: Host, box, example, tmp_path: Path):
    import qt

    path = host.screenshot(tmp_path / "Bild ü.png", WINDOW)
    image = qt.QImage(str(path)).convertToFormat(qt.QImage.Format_RGB888)
    assert (image.width(), image.height()) == WINDOW
    pixels = np.array(image.constBits(), np.uint8).reshape(WINDOW[1], -1, 3)[:, : WINDOW[0]]
    panel, views = pixels[40:780, 10:470], pixels[40:780, 490:]
    assert len(np.unique(panel.reshape(-1, 3), axis=0)) > 20
    assert brightness(panel).mean() > 180
    assert (brightness(views) == 0).mean() > 0.3
    assert (brightness(views) == 255).mean() > 0.01
    assert example.parent.width == pytest.approx(480, abs=30)


def test_a_picture_that_cannot_be_written_is_an_error(host: Host, tmp_path: Path):
    with pytest.raises(OSError, match="cannot be written"):
        host.screenshot(tmp_path / "no folder" / "a.png")


def test_the_picture_of_an_empty_host_differs_from_that_of_a_loaded_one(host: Host, tmp_path: Path):
    import slicer

    empty = host.viewImage("Green")
    slicer.util.setSliceViewerLayers(
        background=slicer.util.addVolumeFromArray(np.full((9, 9, 9), 100.0), name="a"), fit=True
    )
    assert (host.viewImage("Green") != empty).any()


def test_dragging_turns_the_3d_view_and_the_wheel_moves_a_slice(host: Host, box):
    import qt
    from PySide6.QtTest import QTest

    canvas = host.layout.threeDWidget(0).canvas()
    camera = host.layout.threeDWidget(0).view().renderer.GetActiveCamera()
    before = np.array(camera.GetDirectionOfProjection())
    QTest.mousePress(canvas, qt.Qt.LeftButton, qt.Qt.NoModifier, qt.QPoint(100, 100))
    QTest.mouseMove(canvas, qt.QPoint(160, 100))
    QTest.mouseRelease(canvas, qt.Qt.LeftButton, qt.Qt.NoModifier, qt.QPoint(160, 100))
    assert np.dot(before, camera.GetDirectionOfProjection()) < 0.99
    widget = host.layout.sliceWidget("Red")
    offset = widget.sliceLogic().GetSliceOffset()
    none, up = qt.QPoint(0, 0), qt.QPoint(0, 120)
    position = qt.QPointF(9, 9)
    event = qt.QWheelEvent(position, position, none, up, qt.Qt.NoButton, qt.Qt.NoModifier, qt.Qt.NoScrollPhase, False)
    qt.QApplication.sendEvent(widget, event)
    assert widget.sliceLogic().GetSliceOffset() == pytest.approx(offset + 1)
