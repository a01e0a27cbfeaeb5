"""The section "Compare": each tool checked by pixels against what it claims, by hand and by mouse."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helpers.clicks import MODULE, click
from helpers.compare_scene import (
    CENTRE,
    FIXED,
    MOVING,
    SHIFT,
    SIZE,
    Pair,
    grid_transform,
    helpers,
    load_panel,
    make_pair,
    pixel,
)

if TYPE_CHECKING:
    from host.host import Host

pytestmark = pytest.mark.slow

BLACK = 0
DISPLAY = (
    *("Visibility", "Visibility2D", "Visibility2DOutline", "Visibility2DFill", "SliceIntersectionThickness"),
    *("Opacity2DOutline", "Opacity2DFill"),
)


@pytest.fixture
def pair(host: Host):
    """The pair without segmentations."""
    pair = make_pair(host)
    pair.hideSegmentations()
    return pair


@pytest.fixture
def comparison(pair: Pair):
    from PDDRegistrationLib.compare.comparison import Comparison

    comparison = Comparison(*pair.nodes)
    yield comparison
    comparison.close()


@pytest.fixture
def panel(host: Host, monkeypatch: pytest.MonkeyPatch):
    """The panel; CompareVolumes is not there unless a test brings it."""
    monkeypatch.setitem(sys.modules, "CompareVolumes", None)
    made = []

    def make():
        made.append(load_panel(host))
        return made[-1][0]

    yield make
    for panel, widget in made:
        panel.close()
        widget.close()
        widget.deleteLater()


def views_state(host: Host) -> list:
    """All that the tools change in the views."""
    state: list = [host.layout.layout]
    for name in host.layout.sliceViewNames():
        logic = host.layout.sliceWidget(name).sliceLogic()
        node, composite = logic.GetSliceNode(), logic.GetSliceCompositeNode()
        state += [composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID(), composite.GetLabelVolumeID()]
        state += [composite.GetForegroundOpacity(), composite.GetLinkedControl(), composite.GetHotLinkedControl()]
        matrix = node.GetSliceToRAS()
        state += [round(matrix.GetElement(row, column), 6) for row in range(3) for column in range(4)]
        state += [round(value, 3) for value in node.GetFieldOfView()]
    return state


def display_state(node) -> list:
    return [getattr(node.GetDisplayNode(), f"Get{name}")() for name in DISPLAY]


def edge_along_r(pair: Pair) -> tuple[float, float]:
    """Lowest and highest R, in mm, at which the view Red shows something bright, where A = S = 0."""
    image, a = pair.host.viewImage("Red"), SHIFT[1] / 2
    bright = [r for r in np.arange(-28, 28, 0.5) if pixel(pair.host, "Red", image, (r, a, 0.0)).max() > MOVING / 2]
    return min(bright), max(bright)


@pytest.mark.slow
def test_blend_0_shows_the_fixed_volume_1_the_moving_one(pair: Pair, comparison):
    comparison.setBlend(0.0)
    assert pair.at(0, 0) == pytest.approx([FIXED] * 3, abs=1)
    comparison.setBlend(1.0)
    assert pair.at(0, 0) == pytest.approx([MOVING] * 3, abs=2)
    comparison.setBlend(0.5)
    assert pair.at(0, 0) == pytest.approx([(FIXED + MOVING) / 2] * 3, abs=2)
    assert pair.at(14, 0) == pytest.approx([BLACK] * 3, abs=1)


@pytest.mark.parametrize("between", [False, True], ids=["directly under", "with a copy of other parents"])
def test_before_and_after_differ_by_the_displacement(pair: Pair, comparison, between: bool):
    import slicer

    from PDDRegistrationLib.scene.placement import placeUnder

    moved = np.zeros(3)
    if between:  # the volume has another parent of its own, which counts before and after
        parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "bed")
        matrix = np.eye(4)
        matrix[:3, 3] = moved = np.array([2.0, 0.0, 0.0])
        parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        pair.moving.SetAndObserveTransformNodeID(parent.GetID())
        placeUnder(pair.moving, pair.transform)
    parents = [pair.moving.GetParentTransformNode(), pair.moving.GetParentTransformNode().GetParentTransformNode()]
    comparison.setBlend(1.0)
    low, high = edge_along_r(pair)
    assert (low + high) / 2 == pytest.approx(moved[0], abs=0.6)
    assert high - low == pytest.approx(20, abs=1.1)
    comparison.setRegistered(False)
    low, high = edge_along_r(pair)
    assert (low + high) / 2 == pytest.approx(SHIFT[0] + moved[0], abs=0.6)
    assert [pair.moving.GetParentTransformNode(), parents[0].GetParentTransformNode()] == parents
    comparison.setRegistered(True)
    assert sum(edge_along_r(pair)) / 2 == pytest.approx(moved[0], abs=0.6)
    comparison.close()
    assert [pair.moving.GetParentTransformNode(), parents[0].GetParentTransformNode()] == parents
    assert helpers() == []


def test_a_moving_volume_that_is_not_under_the_transform_is_shown_there_too(pair: Pair, comparison):
    """As after a run with an output volume."""
    pair.moving.SetAndObserveTransformNodeID(None)
    comparison.setBlend(1.0)
    assert sum(edge_along_r(pair)) / 2 == pytest.approx(0, abs=0.6)
    comparison.setRegistered(False)
    assert sum(edge_along_r(pair)) / 2 == pytest.approx(SHIFT[0], abs=0.6)
    assert pair.moving.GetParentTransformNode() is None


def test_a_volume_that_was_moved_meanwhile_is_still_shown_right(pair: Pair, comparison):
    comparison.setBlend(1.0)
    pair.moving.SetAndObserveTransformNodeID(None)
    comparison.setBlend(0.99)
    assert sum(edge_along_r(pair)) / 2 == pytest.approx(0, abs=0.6)


@pytest.fixture
def older(host: Host):
    """A comparison of an older result, which takes 4 of the 9 mm along R; the moving nodes lie under a newer one."""
    from PDDRegistrationLib.compare.comparison import Comparison
    from PDDRegistrationLib.scene.placement import setRegistrationReferences

    pair = make_pair(host)
    transform = grid_transform(lambda points: 0 * points + [4.0, SHIFT[1], 0.0], "older result")
    for result in (transform, pair.transform):
        setRegistrationReferences(result, pair.fixed, pair.moving)
    comparison = Comparison(*pair.nodes[:4], transform)
    yield pair, comparison
    comparison.close()


def test_an_older_result_shows_the_volume_without_the_newer_one(older):
    pair, comparison = older
    pair.hideSegmentations()
    comparison.setBlend(1.0)
    assert sum(edge_along_r(pair)) / 2 == pytest.approx(SHIFT[0] - 4, abs=0.6)
    comparison.setRegistered(False)
    assert sum(edge_along_r(pair)) / 2 == pytest.approx(SHIFT[0], abs=0.6)
    matrix = np.eye(4)
    matrix[:3, 3] = SHIFT - [2.0, 0.0, 0.0]
    comparison.setAligned(matrix)
    assert sum(edge_along_r(pair)) / 2 == pytest.approx(2, abs=0.6)
    comparison.setLinked(True)
    pair.host.processEvents(0.1)
    assert pair.at(*SHIFT[:2], view="Yellow") == pytest.approx([MOVING] * 3, abs=2)
    assert pair.at(SHIFT[0] - 12, SHIFT[1], view="Yellow") == pytest.approx([BLACK] * 3, abs=2)


def test_an_older_result_shows_the_organs_without_the_newer_one(older):
    pair, comparison = older
    comparison.setBlend(0.0)
    assert 60 < pair.at(13, 0)[2] < 120  # registered, from -5 to 15 mm
    assert pair.at(17, 0) == pytest.approx([BLACK] * 3, abs=2)
    comparison.setRegistered(False)
    assert 60 < pair.at(17, 0)[2] < 120  # before, from -1 to 19 mm


def test_the_checkerboard_alternates(pair: Pair, comparison):
    comparison.setCheckerboard(True)
    height, tile = 3.0, SIZE / 8
    pair.host.layout.sliceWidget("Red").sliceLogic().SetSliceOffset(height)
    image_of = {}
    for r in np.arange(-9, 10, 1.0):
        for a in np.arange(-9, 10, 1.0):
            places = (np.array([r, a, height]) + CENTRE) / tile
            if np.abs((places + 0.5 / tile) % 1 - 0.5).max() < 0.35:  # not at a border
                image_of[r, a] = int(np.floor(places + 0.5 / tile).sum()) % 2
    picture = pair.host.viewImage("Red")
    shown = {place: pixel(pair.host, "Red", picture, (*place, height))[0] for place in image_of}
    assert set(image_of.values()) == {0, 1}
    for place, odd in image_of.items():
        assert shown[place] == pytest.approx(MOVING if odd else FIXED, abs=2), place
    comparison.setCheckerboard(False)
    assert pair.at(0, 0) == pytest.approx([(FIXED + MOVING) / 2] * 3, abs=2)
    assert helpers() == []


def test_the_tiles_take_any_scalar_type():
    from PDDRegistrationLib.compare.checkerboard import tiled

    for kind in (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64):
        array = np.full((4, 4, 4), 200, kind)
        array[0] = 100
        result = tiled(array, np.array([2.0, 1.0, 4.0]))
        i, j = np.meshgrid(np.arange(4) // 2, np.arange(4))
        seen = (i + j) % 2 == 0
        assert (result[1][seen] == 200).all()
        assert (result[1][~seen] < -1000).all()
        assert (array[1] == 200).all()


def test_side_by_side_shows_each_volume_in_the_same_plane(pair: Pair, comparison):
    import slicer

    host = pair.host
    before = views_state(host)
    comparison.setSideBySide(True)
    host.processEvents(0.1)
    assert host.layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
    red, yellow = (host.layout.sliceWidget(name) for name in ("Red", "Yellow"))
    assert pair.at(0, 0) == pytest.approx([FIXED] * 3, abs=1)
    assert pair.at(0, 0, view="Yellow") == pytest.approx([MOVING] * 3, abs=2)
    assert pair.at(13, 0, view="Yellow") == pytest.approx([BLACK] * 3, abs=2)
    assert abs(red.width - yellow.width) < 5
    composites = [host.layout.sliceWidget(view).sliceLogic().GetSliceCompositeNode() for view in ("Red", "Green")]
    assert [composite.GetHotLinkedControl() for composite in composites] == [1, 1]  # as by the button in a bar
    logic = red.sliceLogic()
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(7)
    logic.EndSliceOffsetInteraction()
    assert yellow.sliceLogic().GetSliceOffset() == pytest.approx(7)
    logic.SetSliceOffset(0)
    comparison.setRegistered(False)
    assert pair.at(13, 0, view="Yellow") == pytest.approx([MOVING] * 3, abs=2)
    comparison.setSideBySide(False)
    host.processEvents(0.1)
    comparison.close()
    host.processEvents(0.1)
    assert views_state(host) == before


def bar_texts(host: Host, view: str) -> list[str]:
    """Background and foreground as the selectors of a view's bar name them."""
    import qt
    import slicer

    bar = host.layout.sliceWidget(view).sliceController()
    selectors = [slicer.util.findChildren(bar, f"{layer}ComboBox")[0] for layer in ("Background", "Foreground")]
    return [selector.findChildren(qt.QComboBox)[0].currentText for selector in selectors]


def test_the_bars_of_the_views_name_what_these_show(pair: Pair, comparison):
    import slicer

    host, fixed = pair.host, slicer.qMRMLNodeComboBox()
    fixed.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    fixed.setMRMLScene(slicer.mrmlScene)
    comparison.start()
    assert bar_texts(host, "Red") == ["fixed", "moving"]
    comparison.setRegistered(False)
    assert bar_texts(host, "Red") == ["fixed", "moving, before"]
    comparison.setSideBySide(True)
    assert bar_texts(host, "Yellow") == ["moving, before", "None"]
    comparison.setSideBySide(False)
    comparison.setCheckerboard(True)
    assert bar_texts(host, "Green") == ["moving, before", "fixed, every other tile"]
    comparison.setRegistered(True)
    assert bar_texts(host, "Green") == ["moving", "fixed, every other tile"]
    assert [node.GetName() for node in fixed.nodes()] == ["fixed", "moving"]  # other selectors do not list them
    comparison.close()
    assert bar_texts(host, "Green") == ["fixed", "None"]
    bar = host.layout.sliceWidget("Red").sliceController()
    assert [node.GetName() for node in slicer.util.findChildren(bar, "ForegroundComboBox")[0].nodes()] == [
        "fixed",
        "moving",
    ]
    fixed.deleteLater()


def test_a_layout_that_the_user_chose_meanwhile_stays(pair: Pair, comparison):
    import slicer

    comparison.setSideBySide(True)
    pair.host.layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    comparison.close()
    assert pair.host.layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_the_fixed_organs_are_outlines_and_the_moving_ones_filled(host: Host):
    from PDDRegistrationLib.compare.comparison import Comparison

    pair = make_pair(host)
    segmentations = (pair.fixedSegmentation, pair.movingSegmentation)
    before = [display_state(node) for node in segmentations], views_state(host)
    comparison = Comparison(*pair.nodes)
    comparison.setRegistered(False)
    comparison.setBlend(0.0)
    red, green, blue = pair.at(0, 2)  # both organs: the fill alone
    assert (red, green) == pytest.approx((165, 165), abs=8)
    assert blue > 240
    red, green, blue = pair.at(14, 0)  # only the moving one
    assert (red, green) == pytest.approx((0, 0), abs=2)
    assert 60 < blue < 120
    image = host.viewImage("Red").astype(int)
    outline = (image[..., 1] > 140) & (image[..., 0] < 60)
    size = host.layout.sliceWidget("Red").mrmlSliceNode().GetFieldOfView()[0] / image.shape[1]
    assert outline.sum() == pytest.approx(3 * 4 * 20 / size, rel=0.3)  # four edges of 20 mm, 3 pixels thick
    assert max(pair.at(r, 3)[1] for r in (-10.3, -10, -9.7)) > 140
    comparison.setRegistered(True)
    assert pair.at(14, 0) == pytest.approx([BLACK] * 3, abs=2)  # the moving organ is over the fixed one
    comparison.close()
    assert ([display_state(node) for node in segmentations], views_state(host)) == before
    assert helpers() == []


def test_views_that_were_empty_keep_the_fixed_volume(pair: Pair, comparison):
    """At the place where it was seen: an empty view's plane lies anywhere."""
    composites = {
        name: pair.host.layout.sliceWidget(name).sliceLogic().GetSliceCompositeNode()
        for name in pair.host.layout.sliceViewNames()
    }
    composites["Yellow"].SetBackgroundVolumeID(pair.moving.GetID())
    composites["Red"].SetBackgroundVolumeID(None)
    pair.host.layout.sliceWidget("Red").mrmlSliceNode().SetFieldOfView(2000, 2000, 1)
    comparison.start()
    comparison.close()
    assert composites["Yellow"].GetBackgroundVolumeID() == pair.moving.GetID()
    assert (composites["Red"].GetBackgroundVolumeID(), composites["Red"].GetForegroundVolumeID()) == (
        pair.fixed.GetID(),
        None,
    )
    assert pair.at(0, 0) == pytest.approx([FIXED] * 3, abs=1)
    assert pair.host.layout.sliceWidget("Red").mrmlSliceNode().GetFieldOfView()[0] < 200


def test_what_the_user_changes_meanwhile_stays(pair: Pair, comparison):
    comparison.start()
    composite = pair.host.layout.sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    composite.SetBackgroundVolumeID(pair.moving.GetID())
    comparison.close()
    assert composite.GetBackgroundVolumeID() == pair.moving.GetID()
    green = pair.host.layout.sliceWidget("Green").sliceLogic().GetSliceCompositeNode()
    assert green.GetBackgroundVolumeID() == pair.fixed.GetID()
    assert green.GetForegroundVolumeID() is None


def grid_line(pair: Pair, plain: np.ndarray, r: float) -> np.ndarray:
    """Of the drawn grid the R in mm of the line nearest to `r`, at each A from -20 to 20 mm."""
    image = pair.host.viewImage("Red")
    steps = np.arange(r - 3.5, r + 3.5, 0.25)
    line = []
    for a in np.arange(-20.0, 21.0, 1.0):
        changed = [
            np.abs(pixel(pair.host, "Red", image, (x, a, 0.0)) - pixel(pair.host, "Red", plain, (x, a, 0.0))).sum()
            for x in steps
        ]
        if max(changed) > 60:
            line.append(steps[np.flatnonzero(np.array(changed) > 60)].mean())
    return np.array(line)


@pytest.mark.slow
@pytest.mark.parametrize("bend", [0.0, 2.0])
def test_the_grid_bends_as_the_transform_does(host: Host, bend: float):
    """u = bend in the front half, -bend in the back half, along R: a straight line gets a step of twice as much."""
    import slicer

    from PDDRegistrationLib.compare.field_display import FieldDisplay

    def displacement(points: np.ndarray) -> np.ndarray:
        return bend * np.clip(points[..., 1:2] / 4, -1, 1) * [1.0, 0.0, 0.0]

    pair = make_pair(host, displacement)
    pair.hideSegmentations()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    plain = host.viewImage("Red")
    field = FieldDisplay(pair.transform, pair.fixed)
    field.show("grid")
    spacing = pair.transform.GetDisplayNode().GetGridSpacingMm()
    assert spacing == pytest.approx(2)  # 60 mm in some 20 lines, rounded
    pair.transform.GetDisplayNode().SetGridSpacingMm(10)  # wide enough to tell the lines apart
    image = host.viewImage("Red").astype(int)
    changed = np.abs(image - plain).sum(axis=-1) > 60
    assert 0.01 < changed.mean() < 0.5
    candidates = [grid_line(pair, plain, r) for r in np.arange(-12.0, 12.0, 1.0)]
    spans = [np.median(line[-12:]) - np.median(line[:12]) for line in candidates if len(line) > 35]
    assert spans
    assert min(np.abs(np.abs(spans) - 2 * bend)) < 0.6
    field.show(None)
    assert (host.viewImage("Red") == plain).all()
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


@pytest.mark.parametrize("mode", ["glyphs", "contours"])
def test_arrows_and_contours_are_drawn_and_go_again(host: Host, mode: str):
    from PDDRegistrationLib.compare.field_display import FieldDisplay

    pair = make_pair(host, lambda points: 8 * np.exp(-(points**2).sum(-1, keepdims=True) / 800) * [1.0, 0.0, 0.0])
    pair.hideSegmentations()
    plain = host.viewImage("Red")
    field = FieldDisplay(pair.transform, pair.fixed)
    field.show(mode)
    image = host.viewImage("Red")
    assert (image != plain).any(axis=-1).mean() > 0.002
    if mode == "contours":
        radius = np.sqrt(-800 * np.log(4 / 8))  # of the line of 4 mm in the fixed space
        for side in (-1, 1):
            lines = np.array(
                [r for r in np.arange(-28, 28, 0.2) if (pixel_of(pair, image, r) != pixel_of(pair, plain, r)).any()]
            )
            assert np.abs(lines - side * radius).min() < 0.5
            assert np.abs(lines - side * (radius + 2)).min() > 1.0
    field.show(None)
    assert (host.viewImage("Red") == plain).all()


def pixel_of(pair: Pair, image: np.ndarray, r: float) -> np.ndarray:
    return pixel(pair.host, "Red", image, (r, 0.4, 0.0))


def test_a_display_node_of_the_users_gets_back_what_it_had(pair: Pair):
    from PDDRegistrationLib.compare.field_display import FieldDisplay

    pair.transform.CreateDefaultDisplayNodes()
    display = pair.transform.GetDisplayNode()
    display.SetGridSpacingMm(33)
    display.SetVisibility2D(False)
    field = FieldDisplay(pair.transform, pair.fixed)
    for mode in ("grid", "contours", "grid", "glyphs"):
        field.show(mode)
        assert bool(display.GetVisibility2D()) == (mode == "grid")
        assert (display.GetGridSpacingMm() == 33) == (mode != "grid")
    field.show(None)
    assert display.GetGridSpacingMm() == 33
    assert not display.GetVisibility2D()
    assert helpers() == []


def test_steps_are_round():
    from PDDRegistrationLib.compare.field_display import contourLevels, roundStep

    assert [roundStep(value) for value in (0.13, 1.2, 4, 13, 17, 60, 80)] == pytest.approx([0.1, 1, 5, 10, 20, 50, 100])
    assert contourLevels(16.4) == "2 4 6 8 10 12 14 16"
    assert contourLevels(0.0)


def test_the_tools_are_off_without_a_result(host: Host, panel):
    panel = panel()
    ui = panel.ui
    buttons = (ui.compareButton, ui.checkerboardButton, ui.beforeButton, ui.sideBySideButton, ui.revealButton)
    buttons += (ui.gridButton, ui.glyphsButton, ui.contoursButton, ui.applyToButton, ui.hardenButton, ui.undoButton)
    assert not any(button.enabled for button in buttons)
    assert not ui.blendSlider.enabled
    assert not ui.overlayComboBox.enabled
    assert all(button.toolTip for button in buttons)
    pair = make_pair(host)
    panel.show(pair.transform, pair.fixed, None)
    assert not ui.compareButton.enabled
    before = views_state(host)
    panel.show(pair.transform, pair.fixed, pair.moving)
    assert [button.enabled for button in buttons] == [True] * 4 + [False] + [True] * 3 + [False] * 3
    assert "Compare Volumes" in ui.revealButton.toolTip
    assert views_state(host) == before
    panel.show(None)
    assert not ui.compareButton.enabled


@pytest.mark.slow
def test_the_tools_by_mouse(host: Host, panel):
    panel = panel()
    pair = make_pair(host)
    pair.hideSegmentations()
    ui, before = panel.ui, views_state(host)
    nodes = {node.GetID() for node in all_nodes()}
    panel.show(pair.transform, *pair.nodes[:4])
    panel.start()
    assert ui.compareButton.checked
    assert pair.at(0, 0) == pytest.approx([(FIXED + MOVING) / 2] * 3, abs=2)
    ui.blendSlider.value = 1.0
    assert pair.at(0, 0) == pytest.approx([MOVING] * 3, abs=2)
    click(ui.beforeButton)
    assert pair.at(15, 0) == pytest.approx([MOVING] * 3, abs=2)
    click(ui.beforeButton)
    click(ui.checkerboardButton)
    assert ui.checkerboardButton.checked
    click(ui.sideBySideButton)
    host.processEvents(0.1)
    assert ui.sideBySideButton.checked
    assert not ui.checkerboardButton.checked
    click(ui.sideBySideButton)
    for button in (ui.gridButton, ui.glyphsButton, ui.contoursButton):
        click(button)
        others = {ui.gridButton, ui.glyphsButton, ui.contoursButton} - {button}
        assert [button.checked, *(other.checked for other in others)] == [True, False, False]
    click(ui.compareButton)
    host.processEvents(0.1)
    assert not ui.compareButton.checked
    assert views_state(host) == before
    click(ui.compareButton)
    assert pair.at(0, 0) == pytest.approx([MOVING] * 3, abs=2)
    panel.close()
    host.processEvents(0.1)
    assert views_state(host) == before
    assert {node.GetID() for node in all_nodes()} == nodes


@pytest.mark.slow
def test_segments_that_share_a_label_map_keep_their_voxels(host: Host, panel):
    """Slicer wipes them out of it when a segmentation that shares it is removed: the stand-ins must not share it."""
    import slicer

    panel, pair = panel(), make_pair(host)
    for node in (pair.fixedSegmentation, pair.movingSegmentation):
        segmentation = node.GetSegmentation()
        data, other = segmentation.GetSegment("organ").GetRepresentation("Binary labelmap"), slicer.vtkSegment()
        scalars = data.GetPointData().GetScalars()
        half = [n for n in range(scalars.GetNumberOfValues()) if scalars.GetValue(n)][::2]
        for n in half:
            scalars.SetValue(n, 2)
        other.SetName("other")
        other.SetLabelValue(2)
        other.AddRepresentation("Binary labelmap", data)
        segmentation.AddSegment(other, "other")
        assert segmentation.GetNumberOfLayers() == 1
    before = [voxels(node) for node in (pair.fixedSegmentation, pair.movingSegmentation)]
    assert set(before[1]) == {0, 1, 2}
    panel.show(pair.transform, *pair.nodes[:4])
    panel.start()
    for button in (panel.ui.beforeButton, panel.ui.beforeButton, panel.ui.compareButton):
        click(button)
        host.processEvents(0.1)
    panel.close()
    host.processEvents(0.1)
    assert [voxels(node) for node in (pair.fixedSegmentation, pair.movingSegmentation)] == before


def voxels(segmentation) -> bytes:
    data = segmentation.GetSegmentation().GetSegment("organ").GetRepresentation("Binary labelmap")
    scalars = data.GetPointData().GetScalars()
    return bytes(int(scalars.GetValue(n)) for n in range(scalars.GetNumberOfValues()))


def all_nodes() -> list:
    import slicer

    return [slicer.mrmlScene.GetNthNode(number) for number in range(slicer.mrmlScene.GetNumberOfNodes())]


def test_the_overlay_by_keyboard_and_the_crosshair(host: Host, panel):
    import slicer

    from helpers.clicks import choose

    panel = panel()
    pair = make_pair(host)
    panel.show(pair.transform, *pair.nodes[:4])
    ui = panel.ui
    choose(ui.overlayComboBox, "Jac")
    assert host.waitUntil(lambda: bool(helpers()) and not ui.compareStatusLabel.text, 20)
    assert ui.compareButton.checked
    assert not pair.movingSegmentation.GetDisplayNode().GetVisibility2D()  # its fill would change the map's colours
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS((1.0, 2.0, 3.0))
    assert ui.crosshairLabel.text == "displacement 10.8 mm (R 9.0, A -6.0, S 0.0); Jacobian 1.00"
    pair.transform.Modified()
    pair.transform.InvokeEvent(slicer.vtkMRMLTransformableNode.TransformModifiedEvent)
    assert ui.overlayComboBox.currentText == "(none)"  # the map would show what the transform was
    assert helpers() == []
    panel.close()
    assert ui.crosshairLabel.text == ""
    crosshair.SetCursorPositionRAS((1.0, 2.0, 4.0))
    assert ui.crosshairLabel.text == ""


def test_close_leaves_no_observer(host: Host, panel):
    panel = panel()
    pair = make_pair(host)
    panel.show(pair.transform, *pair.nodes[:4])
    panel.start()
    look = weakref.ref(panel._session)
    probe = weakref.ref(panel._session._probe)
    panel.close()
    host.processEvents(0.1)
    gc.collect()
    assert look() is None
    assert probe() is None


def test_the_same_result_again_changes_nothing_and_another_one_starts_anew(host: Host, panel):
    panel = panel()
    pair = make_pair(host)
    panel.show(pair.transform, *pair.nodes[:4])
    panel.start()
    panel.show(pair.transform, *pair.nodes[:4])
    assert panel.ui.compareButton.checked
    panel.show(pair.transform, *pair.nodes[:2])
    assert not panel.ui.compareButton.checked
    assert panel.ui.compareButton.enabled


@pytest.mark.parametrize("end", ["scene", "transform", "moving"])
def test_closing_the_scene_or_deleting_a_node_ends_it(host: Host, panel, end: str):
    import slicer

    panel = panel()
    pair = make_pair(host)
    panel.show(pair.transform, *pair.nodes[:4])
    click(panel.ui.beforeButton)
    click(panel.ui.gridButton)
    if end == "scene":
        host.closeScene()
    else:
        slicer.mrmlScene.RemoveNode(getattr(pair, end))
    host.processEvents(0.1)
    assert not panel.ui.compareButton.enabled
    assert helpers() == []
    panel.close()


def test_reveal_goes_on_and_off_and_watches_the_views_only_meanwhile(
    host: Host, panel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.undo()  # the host's own CompareVolumes
    panel = panel()
    pair = make_pair(host)
    panel.show(pair.transform, *pair.nodes[:4])
    button = panel.ui.revealButton
    assert button.enabled
    cursors = []
    for _ in range(2):
        click(button)
        assert (button.checked, panel.ui.compareButton.checked) == (True, True)
        cursors.append(panel._session.reveal._cursor)
        assert len(cursors[-1].observerTags) >= 6
        click(button)
        assert not button.checked
    click(button)
    cursors.append(panel._session.reveal._cursor)
    panel.close()
    host.layout.layoutChanged.emit(host.layout.layout)  # those that watch the layout observe the views anew
    assert [cursor.observerTags for cursor in cursors] == [[], [], []]
    panel.show(pair.transform, *pair.nodes[:4])
    assert (button.enabled, button.checked) == (True, False)


def test_leaving_the_module_ends_reveal_and_compare_stays(host: Host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()  # the host's own CompareVolumes
    widget = host.loadModule(MODULE)
    pair = make_pair(host)
    panel = widget._comparePanel
    panel.show(pair.transform, *pair.nodes[:4])
    click(panel.ui.revealButton)
    cursor = panel._session.reveal._cursor
    assert cursor.observerTags
    widget.exit()
    assert cursor.observerTags == []
    assert (panel.ui.revealButton.checked, panel.ui.compareButton.checked) == (False, True)


def test_a_reveal_cursor_that_cannot_end_does_not_hold_the_panel(host: Host, panel, monkeypatch: pytest.MonkeyPatch):
    """As that of another version of the module, whose `cleanup` raises."""

    class LayerReveal:
        def cleanup(self) -> None:
            raise RuntimeError("no such method")

    module = types.ModuleType("CompareVolumes")
    module.LayerReveal = LayerReveal
    monkeypatch.setitem(sys.modules, "CompareVolumes", module)
    panel = panel()
    pair = make_pair(host)
    panel.show(pair.transform, *pair.nodes[:4])
    click(panel.ui.revealButton)
    with pytest.raises(RuntimeError, match="no such method"):
        panel.close()
    panel.close()
    assert not panel.ui.revealButton.checked


def test_the_views_follow_what_is_applied_and_undone(host: Host, panel):
    panel = panel()
    pair = make_pair(host)
    pair.hideSegmentations()
    pair.moving.SetAndObserveTransformNodeID(None)
    panel.show(pair.transform, *pair.nodes[:4])
    panel.start()
    panel.ui.blendSlider.value = 1.0
    for button in (panel.ui.applyToButton, panel.ui.undoButton):
        panel.ui.applyNodeSelector.setCurrentNode(pair.moving)
        click(button)
        assert sum(edge_along_r(pair)) / 2 == pytest.approx(0, abs=0.6)
    click(panel.ui.beforeButton)
    assert sum(edge_along_r(pair)) / 2 == pytest.approx(SHIFT[0], abs=0.6)


def test_apply_harden_and_undo_by_mouse(host: Host, panel):
    import slicer

    panel = panel()
    pair = make_pair(host)
    panel.show(pair.transform, *pair.nodes[:4])
    ui = panel.ui
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    points.AddControlPoint([1.0, 2.0, 3.0])
    ui.applyNodeSelector.setCurrentNode(points)
    assert ui.applyToButton.enabled
    assert not ui.undoButton.enabled
    click(ui.applyToButton)
    assert points.GetParentTransformNode() is pair.transform
    assert np.array(points.GetNthControlPointPositionWorld(0)) == pytest.approx([1, 2, 3] - SHIFT, abs=0.01)
    click(ui.applyToButton)
    assert "already" in ui.compareStatusLabel.text
    click(ui.undoButton)
    assert points.GetParentTransformNode() is None
    assert not ui.undoButton.enabled
    ui.directionComboBox.setCurrentIndex(1)
    click(ui.hardenButton)
    copy = slicer.util.getNode("points registered")
    assert np.array(copy.GetNthControlPointPosition(0)) == pytest.approx([1, 2, 3] + SHIFT, abs=0.01)
    assert points.GetParentTransformNode() is None
    assert "points registered" in ui.compareStatusLabel.text
