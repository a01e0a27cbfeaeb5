"""The moving scan undistorted beside the fixed one, linked through the transform by the mouse; and aligned rigidly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers import clicks, pointing
from helpers.compare_scene import FIXED, MOVING, SHIFT, Pair, grid_transform, helpers, load_panel, make_pair
from helpers.geometry import rotation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host.host import Host

pytestmark = pytest.mark.slow

BLACK = [0, 0, 0]
TURN = rotation(0, 0, 20)  # RAS, about S
FOUR_UP = 3
MARKER = "Corresponding place"


@pytest.fixture
def pair(host: Host) -> Pair:
    return make_pair(host)


@pytest.fixture
def panel(host: Host, pair: Pair) -> Iterator[Any]:
    panel, widget = load_panel(host)
    panel.show(pair.transform, *pair.nodes[:4])
    yield panel
    panel.close()
    widget.close()
    widget.deleteLater()


@pytest.fixture
def linked(host: Host, pair: Pair, panel: Any) -> Any:
    """The panel, with the views linked and without segments, which would cover the scans."""
    pair.hideSegmentations()
    clicks.click(panel.ui.linkedViewsButton)
    host.processEvents(0.1)
    return panel


def crosshair() -> Any:
    import slicer

    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")


def marker() -> tuple[str, np.ndarray] | None:
    """The view in which the mark is, and its place, RAS; None where no view shows it."""
    import slicer

    node = slicer.util.getNode(MARKER)
    display = node.GetDisplayNode()
    if not display.GetVisibility():
        return None
    (view,) = display.GetViewNodeIDs()
    return slicer.mrmlScene.GetNodeByID(view).GetName(), np.array(node.GetNthControlPointPositionWorld(0))


def offset(host: Host, view: str) -> float:
    return host.layout.sliceWidget(view).sliceLogic().GetSliceOffset()


def test_the_moving_scan_stands_undistorted_in_its_own_place(host: Host, pair: Pair, linked: Any):
    middle = tuple(SHIFT)
    assert pair.at(0, 0) == pytest.approx([FIXED] * 3, abs=1)
    assert pair.at(*middle, view="Yellow") == pytest.approx([MOVING] * 3, abs=2)
    assert pair.at(SHIFT[0] + 9, SHIFT[1], view="Yellow") == pytest.approx([MOVING] * 3, abs=2)
    assert pair.at(-8, 8, view="Yellow") == pytest.approx(BLACK, abs=2)  # where it lies when it is registered
    assert pair.moving.GetParentTransformNode() is pair.transform
    fields = [host.layout.sliceWidget(view).mrmlSliceNode().GetFieldOfView()[0] for view in ("Red", "Yellow")]
    assert fields[0] == pytest.approx(fields[1], rel=0.02)  # both in one scale


@pytest.mark.parametrize("shift", [False, True], ids=["the mouse", "Shift and the mouse"])
def test_pointing_in_one_view_marks_the_place_in_the_other(host: Host, linked: Any, shift: bool):
    pointing.point_at(host, "Red", (4.0, 5.0, 0.0), shift=shift)
    view, place = marker()
    assert view == "Yellow"
    assert place == pytest.approx(np.array([4.0, 5.0, 0.0]) + SHIFT, abs=0.3)
    assert linked.ui.crosshairLabel.text == "displacement 10.8 mm (R 9.0, A -6.0, S 0.0); Jacobian 1.00"
    pointing.leave(host, "Red")
    assert marker() is None
    assert linked.ui.crosshairLabel.text == ""
    pointing.point_at(host, "Yellow", (4.0, 5.0, 0.0), shift=shift)
    view, place = marker()
    assert view == "Red"
    assert place == pytest.approx(np.array([4.0, 5.0, 0.0]) - SHIFT, abs=0.3)
    assert linked.ui.crosshairLabel.text == "displacement 10.8 mm (R 9.0, A -6.0, S 0.0); Jacobian 1.00"
    assert crosshair().GetCrosshairMode() == crosshair().NoCrosshair


def test_the_mark_is_drawn_where_it_says_and_only_there(host: Host, pair: Pair, linked: Any):
    place = (4.0, 5.0, 0.0)
    pictures = {view: host.viewImage(view).astype(int) for view in ("Red", "Yellow")}
    pointing.point_at(host, "Red", place)
    host.processEvents(0.1)
    changed = {view: np.abs(host.viewImage(view).astype(int) - pictures[view]).max(axis=-1) > 30 for view in pictures}
    rows, columns = np.nonzero(changed["Yellow"])
    x, y = pointing.place_of(host, "Yellow", tuple(np.array(place) + SHIFT))
    assert not changed["Red"].any()
    assert (columns.mean(), changed["Yellow"].shape[0] - 1 - rows.mean()) == pytest.approx((x, y), abs=3)
    assert 20 < len(rows) < 2000


def test_the_other_view_moves_to_the_corresponding_plane(host: Host, linked: Any):
    """Also where the transform moves along S, and by the slider of a bar."""
    import slicer

    matrix = np.eye(4)
    matrix[:3, 3] = 2, 3, -12
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "up")
    transform.SetMatrixTransformFromParent(slicer.util.vtkMatrixFromArray(matrix))
    session = linked._session.nodes
    linked.show(transform, session.fixedVolume, session.movingVolume)
    clicks.click(linked.ui.linkedViewsButton)
    host.processEvents(0.1)
    pointing.point_at(host, "Red", (0.0, 0.0, offset(host, "Red")))
    assert offset(host, "Yellow") - offset(host, "Red") == pytest.approx(-12, abs=1e-3)
    red = offset(host, "Red")
    pointing.point_at(host, "Yellow", (0.0, 0.0, offset(host, "Yellow")))
    assert offset(host, "Red") == pytest.approx(red, abs=1e-3)
    pointing.leave(host, "Yellow")
    logic = host.layout.sliceWidget("Red").sliceLogic()
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(7)
    logic.EndSliceOffsetInteraction()
    assert offset(host, "Yellow") == pytest.approx(-5, abs=1e-3)
    assert marker() is None


def test_a_place_outside_of_the_view_comes_into_its_middle(host: Host, linked: Any):
    view = host.layout.sliceWidget("Yellow").mrmlSliceNode()
    view.SetFieldOfView(10, 10 * view.GetDimensions()[1] / view.GetDimensions()[0], 1)
    pointing.point_at(host, "Red", (-25.0, 20.0, 0.0))
    _view, place = marker()
    assert pointing.place_of(host, "Yellow", tuple(place)) == pytest.approx(
        np.array(view.GetDimensions()[:2]) / 2, abs=2
    )


def node(host: Host, view: str) -> Any:
    return host.layout.sliceWidget(view).mrmlSliceNode()


def scale(view: Any) -> float:
    """mm per pixel."""
    return view.GetFieldOfView()[0] / view.GetDimensions()[0]


def middle(view: Any) -> np.ndarray:
    """The RAS point in the middle of what a view shows."""
    import slicer

    columns, rows, _ = view.GetDimensions()
    return (slicer.util.arrayFromVTKMatrix(view.GetXYToRAS()) @ [columns / 2, rows / 2, 0, 1])[:3]


def drag(host: Host, view: str, right: float, up: float, zoom: float = 1.0) -> None:
    """Pan and zoom as the mouse does, in two steps."""
    logic, moved = host.layout.sliceWidget(view).sliceLogic(), node(host, view)
    logic.StartSliceNodeInteraction(moved.XYZOriginFlag | moved.FieldOfViewFlag)
    for part in (0.25, 0.75):
        x, y, _z = moved.GetXYZOrigin()
        moved.SetSliceOrigin(x + part * right, y + part * up, 0)
        width, height, depth = moved.GetFieldOfView()
        moved.SetFieldOfView(width * zoom**part, height * zoom**part, depth)
        moved.UpdateMatrices()
    logic.EndSliceNodeInteraction()


@pytest.mark.parametrize(("leading", "other"), [("Red", "Yellow"), ("Yellow", "Red")])
def test_the_other_view_takes_zoom_and_pan(host: Host, linked: Any, leading: str, other: str):
    views = {name: node(host, name) for name in (leading, other)}
    before = {name: middle(view) for name, view in views.items()}
    was = scale(views[leading])
    drag(host, leading, 6.0, -4.0, zoom=0.5)
    assert scale(views[leading]) == pytest.approx(0.5 * was)
    assert scale(views[other]) == pytest.approx(scale(views[leading]))
    moved = {name: middle(view) - before[name] for name, view in views.items()}
    assert moved[leading] == pytest.approx([-6, -4, 0], abs=1e-6)  # the patient's right is on the left
    assert moved[other] == pytest.approx(moved[leading], abs=1e-3)  # a shift takes both as far


def test_the_pan_is_that_of_the_corresponding_place(host: Host, pair: Pair, panel: Any):
    """Under a turn by 20 degrees the same place goes another way in the other scan; nothing jumps, nobody answers."""
    import slicer

    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = TURN.T, 5.0
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turn")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turn))
    panel.show(transform, pair.fixed, pair.moving)
    clicks.click(panel.ui.linkedViewsButton)
    host.processEvents(0.1)
    red, yellow = node(host, "Red"), node(host, "Yellow")
    before = middle(red), middle(yellow)
    events: list[str] = []
    tags = [view.AddObserver("ModifiedEvent", lambda caller, event: events.append(event)) for view in (red, yellow)]
    drag(host, "Red", -10.0, 0.0)
    assert middle(red) - before[0] == pytest.approx([10, 0, 0], abs=1e-6)
    assert middle(yellow) - before[1] == pytest.approx(TURN @ [10, 0, 0], abs=1e-6)
    drag(host, "Yellow", 10.0, 0.0)  # back in the other view
    assert middle(yellow) - before[1] == pytest.approx(TURN @ [10, 0, 0] - [10, 0, 0], abs=1e-6)
    assert middle(red) - before[0] == pytest.approx([10, 0, 0] - TURN.T @ [10, 0, 0], abs=1e-6)
    assert len(events) < 40
    for view, tag in zip((red, yellow), tags, strict=True):
        view.RemoveObserver(tag)


def test_what_no_user_does_moves_one_view_alone(host: Host, linked: Any):
    red, yellow = node(host, "Red"), node(host, "Yellow")
    before = scale(yellow), middle(yellow)
    red.SetXYZOrigin(20, 0, 0)
    width, height, depth = red.GetFieldOfView()
    red.SetFieldOfView(width / 2, height / 2, depth)
    assert (scale(yellow), *middle(yellow)) == pytest.approx((before[0], *before[1]))
    drag(host, "Red", -3.0, 0.0)
    assert middle(yellow) - before[1] == pytest.approx([3, 0, 0], abs=1e-3)  # as far as the user moved


def test_each_segmentation_is_drawn_beside_its_own_scan(host: Host, pair: Pair, panel: Any):
    clicks.click(panel.ui.linkedViewsButton)
    host.processEvents(0.1)
    blue, _green, red = (pair.at(*SHIFT, view="Yellow") - MOVING)[::-1]
    assert blue > 30
    assert red < 0
    assert pair.at(-9.9, 0, view="Yellow")[1] < MOVING  # the fixed outline, green, is not there
    assert pair.fixedSegmentation.GetDisplayNode().GetViewNodeIDs() == (
        host.layout.sliceWidget("Red").mrmlSliceNode().GetID(),
    )
    clicks.click(panel.ui.linkedViewsButton)
    assert pair.fixedSegmentation.GetDisplayNode().GetViewNodeIDs() == ()


def test_the_user_goes_on_placing_points_in_the_own_list(host: Host, pair: Pair, panel: Any):
    """Slicer makes any new list the one that clicks place points in, also a hidden one."""
    import slicer

    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "my points")
    selection = slicer.app.applicationLogic().GetSelectionNode()
    clicks.click(panel.ui.linkedViewsButton)
    assert selection.GetActivePlaceNodeID() == own.GetID()


def state(host: Host) -> list[Any]:
    found: list[Any] = [host.layout.layout, crosshair().GetCrosshairMode(), crosshair().GetCrosshairBehavior()]
    for view in host.layout.sliceViewNames():
        composite = host.layout.sliceWidget(view).sliceLogic().GetSliceCompositeNode()
        found += [composite.GetForegroundVolumeID(), composite.GetLinkedControl(), composite.GetHotLinkedControl()]
    return found


@pytest.mark.parametrize("end", ["again", "side by side", "checkerboard", "align", "module left", "closed"])
def test_it_ends_and_everything_is_as_before(host: Host, pair: Pair, panel: Any, end: str):
    crosshair().SetCrosshairMode(crosshair().ShowBasic)
    before = state(host)
    if end != "closed":
        clicks.click(panel.ui.compareButton)
        before = state(host)
    clicks.click(panel.ui.linkedViewsButton)
    host.processEvents(0.1)
    pointing.point_at(host, "Red", (1.0, 2.0, 0.0), shift=True)
    assert crosshair().GetCrosshairMode() == crosshair().NoCrosshair
    ends = {
        "again": panel.ui.linkedViewsButton.click,
        "side by side": panel.ui.sideBySideButton.click,
        "checkerboard": panel.ui.checkerboardButton.click,
        "align": panel.ui.alignButton.click,
        "module left": panel.restoreLayout,
        "closed": panel.close,
    }
    ends[end]()
    assert not panel.ui.linkedViewsButton.checked
    assert MARKER not in helpers()
    assert crosshair().GetCrosshairMode() == crosshair().ShowBasic
    if end in ("again", "module left", "closed"):
        assert state(host) == before
    assert panel.ui.sideBySideButton.checked == (end == "side by side")
    panel.close()
    assert helpers() == []
    pointing.point_at(host, "Red", (3.0, 2.0, 0.0))  # nobody listens


def test_a_scene_saved_meanwhile_holds_no_trace_of_it(host: Host, pair: Pair, tmp_path):
    import slicer

    panel = host.loadModule(clicks.MODULE)._comparePanel
    panel.show(pair.transform, *pair.nodes[:4])
    crosshair().SetCrosshairMode(crosshair().ShowBasic)
    clicks.click(panel.ui.linkedViewsButton)
    host.processEvents(0.1)
    pointing.point_at(host, "Red", (1.0, 2.0, 0.0))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrml"))
    text = (tmp_path / "scene.mrml").read_text()
    assert MARKER not in text
    assert "ShowBasic" in text
    assert "before" not in text
    host.processEvents(0.05)
    assert crosshair().GetCrosshairMode() == crosshair().NoCrosshair
    pointing.point_at(host, "Red", (2.0, 2.0, 0.0))
    assert marker()[0] == "Yellow"


def test_a_closed_scene_ends_both(host: Host, pair: Pair):
    panel = host.loadModule(clicks.MODULE)._comparePanel
    panel.show(pair.transform, *pair.nodes[:4])
    clicks.click(panel.ui.linkedViewsButton)
    host.processEvents(0.05)
    host.closeScene()
    assert host.layout.layout == FOUR_UP
    assert not panel.ui.linkedViewsButton.enabled
    assert helpers() == []


def turned(points: np.ndarray) -> np.ndarray:
    """Displacement: a turn and a shift where R < 0, and a stretch beside it."""
    rigid = points @ TURN.T + SHIFT - points
    return np.where(points[..., :1] < 0, rigid, rigid + 0.5 * points[..., :1])


def test_aligned_at_the_crosshair_it_matches_there_and_is_not_distorted(host: Host, pair: Pair, panel: Any):
    import slicer

    pair.hideSegmentations()
    transform = _turned_transform(pair)
    panel.show(transform, pair.fixed, pair.moving)
    ui = panel.ui
    pointing.point_at(host, "Red", (-12.0, 3.0, 0.0), shift=True)
    pointing.leave(host, "Red")
    ui.alignRadiusSpinBox.value = 10
    ui.blendSlider.value = 1.0
    clicks.click(ui.alignButton)
    assert ui.alignButton.checked
    copy = slicer.util.getNode("moving, rigid")
    matrix = slicer.util.arrayFromTransformMatrix(copy.GetParentTransformNode(), toWorld=True)
    assert matrix[:3, :3] == pytest.approx(TURN.T, abs=1e-5)
    assert matrix[:3, 3] == pytest.approx(-TURN.T @ SHIFT, abs=1e-3)
    assert ui.compareStatusLabel.text.startswith("Rigid: ")
    assert "20.0 degrees" in ui.compareStatusLabel.text
    # the moving cube, 20 mm wide about SHIFT, where that motion puts it
    corner = TURN.T @ np.array([9.0, 9.0, 0.0])
    outside = TURN.T @ np.array([11.5, 9.0, 0.0])
    assert pair.at(*corner[:2]) == pytest.approx([MOVING] * 3, abs=3)
    assert pair.at(*outside[:2]) == pytest.approx(BLACK, abs=3)
    assert pair.moving.GetParentTransformNode() is transform
    clicks.click(ui.alignButton)
    assert not ui.alignButton.checked
    composite = host.layout.sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    assert "rigid" not in slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName()


def _turned_transform(pair: Pair) -> Any:
    """The moving nodes lie under it."""
    transform = grid_transform(turned, "turned")
    for node in (pair.moving, pair.movingSegmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def test_a_crosshair_put_in_the_moving_view_counts_where_it_corresponds(host: Host, linked: Any):
    pointing.point_at(host, "Yellow", (4.0, 5.0, 0.0), shift=True)
    pointing.leave(host, "Yellow")
    assert linked._session.crosshair.place == pytest.approx(np.array([4.0, 5.0, 0.0]) - SHIFT, abs=0.3)


def test_without_a_crosshair_the_panel_says_what_to_do(panel: Any):
    clicks.click(panel.ui.alignButton)
    assert not panel.ui.alignButton.checked
    assert panel.ui.compareStatusLabel.text.startswith("The crosshair has no place yet; hold Shift")


def test_places_are_the_segments_and_the_structures_of_the_last_run(host: Host, pair: Pair, panel: Any):
    import slicer

    from PDDRegistrationLib.registration.job import REPORT

    transform = _turned_transform(pair)
    rows = [{"name": "liver", "centre_lps_mm": [25.0, 0.0, 0.0]}, {"name": "spleen", "centre_lps_mm": None}]
    transform.SetAttribute(REPORT, json.dumps({"structures": {"table": rows}}))
    panel.show(transform, *pair.nodes[:4])
    box = panel.ui.alignPlaceComboBox
    texts = [box.itemText(number) for number in range(box.count)]
    assert texts == ["at the crosshair", "organ", "liver, as the network names it"]
    clicks.choose(box, "organ")
    clicks.click(panel.ui.alignButton)
    both = panel.ui.compareStatusLabel.text
    organ = slicer.util.arrayFromTransformMatrix(slicer.util.getNode("turned, rigid"))
    clicks.choose(box, "liver")  # 25 mm to the patient's left: only the rigid part
    panel.ui.alignRadiusSpinBox.value = 15
    liver = slicer.util.arrayFromTransformMatrix(slicer.util.getNode("turned, rigid"))
    assert panel.ui.compareStatusLabel.text.endswith("the transform differs from it by 0.0 mm, at most 0.0 mm.")
    assert both != panel.ui.compareStatusLabel.text
    assert liver[:3, :3] == pytest.approx(TURN.T, abs=1e-5)
    red = slicer.util.arrayFromVTKMatrix(pair.host.layout.sliceWidget("Red").mrmlSliceNode().GetSliceToRAS())
    assert red[:3, 3] == pytest.approx([-25, 0, 0], abs=1e-3)  # the views show the place
    assert np.abs(organ - liver).max() > 0.1
    assert np.linalg.det(organ[:3, :3]) == pytest.approx(1)
    pair.fixedSegmentation.GetSegmentation().RemoveSegment("organ")
    assert [box.itemText(number) for number in range(box.count)] == [texts[0], texts[2]]


@pytest.mark.parametrize("end", ["before", "changed", "module left", "closed"])
def test_an_alignment_ends(host: Host, pair: Pair, panel: Any, end: str):
    clicks.choose(panel.ui.alignPlaceComboBox, "organ")
    clicks.click(panel.ui.alignButton)
    assert panel.ui.alignButton.checked
    ends = {
        "before": panel.ui.beforeButton.click,
        "changed": pair.transform.Modified,
        "module left": panel.restoreLayout,
        "closed": panel.close,
    }
    if end == "changed":
        grid = pair.transform.GetTransformFromParent()
        grid.SetDisplacementScale(0.5)
    else:
        ends[end]()
    assert not panel.ui.alignButton.checked
    panel.close()
    assert helpers() == []
