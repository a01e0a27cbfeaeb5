"""What leads a run besides the volumes: masks, an initial transform, landmarks, segmentations that guide.

What the process is asked for is compared with formulas and with MRML's own transforms; a few runs show that it is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers import clicks, geometry, samples
from helpers import mrml_geometry as mrml
from helpers.geometry import rotation
from helpers.mrml_geometry import RAS, slicer
from helpers.runs import Bench
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.worker.inputs import as_transform

pytestmark = pytest.mark.slow

CENTRE, SHIFT = samples.FIXED.centre, samples.SHIFT
NEAR = np.array([2.0, -1.0, 1.5])  # mm, how far off a good start is
TURN, AWAY = rotation(20, -15, 40), np.array([30.0, -40.0, 55.0])  # RAS
PLACES = np.array([[5.0, -8, 6], [-14, 3, 9], [11, 10, -12], [0, 0, 0], [-4, -12, -10]])  # mm from the body's centre


class Asked:
    """Stands in for the registration process: notes what it is asked for, and never answers."""

    def submit(self, request: dict[str, Any], *_: object) -> int:
        self.request = request
        return 1


def asked(bench: Bench, **options: object) -> dict[str, Any]:
    """The request for the chosen nodes with further options."""
    from PDDRegistrationLib.registration.job import RegistrationJob
    from PDDRegistrationLib.registration.selection import Selection

    worker = Asked()
    RegistrationJob(worker, Selection(**(bench.nodes | options)))
    return worker.request


def add(kind: str, name: str) -> Any:
    return slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{kind}Node", name)


def add_points(name: str, points: np.ndarray, labels: list[str] | None = None) -> Any:
    """LPS points in the world."""
    node = add("MarkupsFiducial", name)
    for number, point in enumerate(points * RAS):
        node.AddControlPoint(mrml.vtk.vtkVector3d(*point), labels[number] if labels else "")
    return node


def values(image: Image, points: np.ndarray) -> list[int]:
    """The nearest voxel's at LPS points; 0 outside."""
    index = np.rint(image.grid.point_to_index(points)).astype(int)
    inside = ((index >= 0) & (index < image.grid.size)).all(axis=1)
    return [int(image.array[k, j, i]) if here else 0 for (i, j, k), here in zip(index, inside, strict=True)]


def moved_by(start: Any, points: np.ndarray) -> np.ndarray:
    return np.array([as_transform(start).TransformPoint(point) for point in points.tolist()])


def turned_away(bench: Bench) -> Any:
    """A linear transform node with the moving volume and its organs under it, whose voxels it turns nearly onto the
    fixed body: what lies at x in the fixed scan is shown at x + NEAR."""
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = TURN, AWAY
    back = np.eye(4)
    back[:3, 3] = (NEAR - SHIFT) * RAS
    volume = bench.nodes["movingVolume"]
    volume.SetIJKToRASMatrix(mrml.vtk_matrix(np.linalg.inv(whole) @ back @ mrml.ijk_to_ras(samples.MOVING)))
    parent = mrml.add_linear(slicer.mrmlScene, TURN, AWAY, name="by hand")
    volume.SetAndObserveTransformNodeID(parent.GetID())
    return parent


def own_places(points: np.ndarray) -> np.ndarray:
    """Where the turned volume has, in its own coordinates (LPS), what the fixed scan has at LPS points."""
    return (((points + NEAR) * RAS - AWAY) @ TURN) * RAS


# --- an initial transform ---


def test_a_transform_that_the_moving_volume_lies_under_does_not_count_twice(bench: Bench):
    """The scan is handed over without it, and the transform as what to start from."""
    parent = turned_away(bench)
    request = asked(bench, initialTransform=parent, movingSegmentation=None)
    own = mrml.ijk_to_ras(request["moving"].grid)
    matrix = mrml.vtk.vtkMatrix4x4()
    bench.nodes["movingVolume"].GetIJKToRASMatrix(matrix)
    assert np.allclose(own, [[matrix.GetElement(r, c) for c in range(4)] for r in range(4)], atol=1e-6)
    points = CENTRE + PLACES
    expected = mrml.from_world(bench.nodes["movingVolume"], points * RAS) * RAS
    assert np.allclose(moved_by(request["initial_transform"], points), expected, atol=1e-6)
    plain = asked(bench, movingSegmentation=None)
    assert "initial_transform" not in plain
    assert not np.allclose(mrml.ijk_to_ras(plain["moving"].grid), own, atol=1)


def test_a_run_from_it_replaces_it_above_the_moving_volume(bench: Bench):
    parent = turned_away(bench)
    child = add_points("hangs there too", CENTRE[None])
    child.SetAndObserveTransformNodeID(parent.GetID())
    bench.choose(initialTransform=parent, fixedSegmentation=None, movingSegmentation=None)
    bench.run()
    assert bench.status == ""
    transform, volume = bench.parameters.outputTransform, bench.nodes["movingVolume"]
    assert volume.GetParentTransformNode() is transform
    assert transform.GetParentTransformNode() is None
    points = CENTRE + PLACES
    found = clicks.moved(transform.GetTransformFromParent(), points)
    assert np.linalg.norm(found - own_places(points), axis=1).max() < 4.0
    assert np.allclose(mrml.from_world(volume, points * RAS) * RAS, found, atol=1e-3)
    assert child.GetParentTransformNode() is parent
    field = clicks.field_of_node(transform)[0].copy()
    bench.run()  # once more, from the same start
    assert np.array_equal(clicks.field_of_node(transform)[0], field)


def test_a_warping_transform_is_handed_over_as_it_is(bench: Bench):
    """Also under a parent of its own; the moving volume does not lie under it, so it stays where it is."""
    waves = mrml.add_grid(
        slicer.mrmlScene, lambda p: SHIFT + 3 * np.sin((p - CENTRE)[..., ::-1] / 30), wide(), name="W"
    )
    waves.SetAndObserveTransformNodeID(mrml.add_linear(slicer.mrmlScene, TURN, AWAY).GetID())
    request = asked(bench, initialTransform=waves, movingSegmentation=None)
    points = CENTRE + PLACES
    local = (points * RAS - AWAY) @ TURN * RAS
    expected = local + SHIFT + 3 * np.sin((local - CENTRE)[:, ::-1] / 30)
    assert np.abs(moved_by(request["initial_transform"], points) - expected).max() < 0.2  # linear between nodes
    assert np.allclose(request["moving"].grid.origin, samples.MOVING.origin, atol=1e-6)


def wide() -> Any:
    return samples.FIXED.isotropic(6.0, 120.0)


def test_a_start_without_overlap_is_refused_in_a_sentence(bench: Bench):
    bench.choose(initialTransform=mrml.add_linear(slicer.mrmlScene, np.eye(3), [900.0, 0, 0]))
    bench.run()
    assert bench.status.startswith("under the initial transform the two volumes do not overlap")
    bench.check_inputs_untouched()


# --- landmarks ---


def test_two_point_lists_become_one_similarity(bench: Bench):
    """By label, in whatever order; the fixed list lies under a parent, which counts."""
    scale, turn = 1.08, geometry.rotation(14, -9, 23)
    fixed, labels = CENTRE + 3 * PLACES[:3], ["hip", "dome", "kidney"]
    moving = scale * (fixed - CENTRE) @ turn.T + CENTRE + [40, -25, 70]
    lists = add_points("F", fixed, labels), add_points("M", moving[::-1], labels[::-1])
    start = asked(bench, fixedPoints=lists[0], movingPoints=lists[1])["initial_transform"]
    assert np.allclose(start[:3, :3], scale * turn, atol=1e-6)
    assert np.allclose(moved_by(start, fixed), moving, atol=1e-6)
    lists[0].SetAndObserveTransformNodeID(mrml.add_linear(slicer.mrmlScene, TURN, AWAY).GetID())
    shown = (fixed * RAS @ TURN.T + AWAY) * RAS
    start = asked(bench, fixedPoints=lists[0], movingPoints=lists[1])["initial_transform"]
    assert np.allclose(moved_by(start, shown), moving, atol=1e-6)


def test_points_placed_on_the_scan_where_a_wrong_result_shows_it_mean_its_own_places(bench: Bench):
    """The list is new and empty when it is chosen, so it goes along with the moving volume."""
    bench.run()
    wrong = bench.parameters.outputTransform
    shown = CENTRE + 3 * PLACES[:3]
    own = clicks.moved(wrong.GetTransformFromParent(), shown)
    lists = add("MarkupsFiducial", "F"), add("MarkupsFiducial", "M")
    bench.choose(fixedPoints=lists[0], movingPoints=lists[1])
    assert (lists[0].GetParentTransformNode(), lists[1].GetParentTransformNode()) == (None, wrong)
    for node in lists:
        for point in shown * RAS:
            node.AddControlPointWorld(mrml.vtk.vtkVector3d(*point))
    assert bench.ui.pointsNote.text == "3 pairs, matched by order"
    start = asked(bench, fixedPoints=lists[0], movingPoints=lists[1])["initial_transform"]
    from pddnet.io.landmark_init import start_from_points

    assert np.allclose(start, start_from_points(shown, own), atol=0.05)  # VTK inverts the grid to 0.01 mm


def test_points_placed_on_a_resampled_result_mean_the_moving_scans_places(bench: Bench):
    """The views show the output volume then, and the moving volume lies where it was."""
    bench.choose(outputVolume=add("ScalarVolume", "Warped"))
    bench.run()
    result, shown = bench.parameters.outputTransform, CENTRE + 3 * PLACES[:3]
    own = clicks.moved(result.GetTransformFromParent(), shown)
    lists = add_points("F", shown), add("MarkupsFiducial", "M")
    bench.choose(fixedPoints=lists[0], movingPoints=lists[1])
    assert (bench.nodes["movingVolume"].GetParentTransformNode(), lists[1].GetParentTransformNode()) == (None, result)
    for point in shown * RAS:
        lists[1].AddControlPointWorld(mrml.vtk.vtkVector3d(*point))
    start = asked(bench, fixedPoints=lists[0], movingPoints=lists[1], outputTransform=result)["initial_transform"]
    from pddnet.io.landmark_init import start_from_points

    assert np.allclose(start, start_from_points(shown, own), atol=0.05)
    assert bench.ui.applyButton.enabled
    bench.run()
    assert bench.status == ""
    assert lists[1].GetParentTransformNode() is result


def test_placing_shows_the_last_result_again(bench: Bench):
    bench.run()
    before = bench.widget.compareUi.beforeButton
    clicks.click(before)
    assert before.checked
    bench.ui.startCollapsibleButton.collapsed = False
    bench.host.processEvents()
    clicks.click(bench.ui.movingPlaceButton)
    assert not before.checked
    assert bench.parameters.movingPoints.GetParentTransformNode() is bench.parameters.outputTransform
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)


def test_a_run_starts_from_points_and_takes_them_along(bench: Bench):
    """No search: the verdict knows of no second best place. The result is as good as with one."""
    fixed = CENTRE + PLACES[:3]
    lists = add_points("F", fixed), add_points("M", fixed + SHIFT + NEAR)
    bench.choose(fixedPoints=lists[0], movingPoints=lists[1])
    bench.run()
    assert bench.status == ""
    assert bench.error_at_the_centre() < 6.0
    transform = bench.parameters.outputTransform
    from PDDRegistrationLib.registration.job import reportOf

    assert "peak_ratio" not in reportOf(transform)["verdict"]["measures"]
    assert lists[0].GetParentTransformNode() is None
    assert lists[1].GetParentTransformNode() is transform
    field = clicks.field_of_node(transform)[0].copy()
    bench.run()
    assert np.array_equal(clicks.field_of_node(transform)[0], field)


def test_points_rescue_what_the_search_gets_wrong(bench: Bench):
    """The moving scan is turned by more than any search tries. Three points, 2 mm off, are enough."""
    turn, middle = geometry.rotation(70, -40, 120), CENTRE + SHIFT
    ras = turn * RAS[:, None] * RAS
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = ras, (middle * RAS) - ras @ (middle * RAS)
    matrix = mrml.vtk_matrix(whole @ mrml.ijk_to_ras(samples.MOVING))
    bench.nodes["movingVolume"].SetIJKToRASMatrix(matrix)
    bench.choose(fixedSegmentation=None, movingSegmentation=None)
    points = CENTRE + PLACES
    expected = (points - CENTRE) @ turn.T + middle

    def error() -> float:
        bench.run()
        assert bench.status == ""
        found = clicks.moved(bench.parameters.outputTransform.GetTransformFromParent(), points)
        return float(np.linalg.norm(found - expected, axis=1).mean())

    assert error() > 10
    clicked = expected[:3] + np.array([[1.2, -1.6, 0], [0, 1.2, 1.6], [-1.6, 0, 1.2]])
    bench.choose(fixedPoints=add_points("F", points[:3]), movingPoints=add_points("M", clicked))
    assert error() < 4


def test_place_makes_a_list_and_lets_clicks_go_into_it(bench: Bench):
    bench.ui.startCollapsibleButton.collapsed = False
    bench.host.processEvents()
    clicks.click(bench.ui.movingPlaceButton)
    node, logic = bench.parameters.movingPoints, slicer.app.applicationLogic()
    assert node.GetName() == "Moving points"
    assert bench.ui.movingPointsSelector.currentNode() is node
    assert logic.GetSelectionNode().GetActivePlaceNodeID() == node.GetID()
    interaction = logic.GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ({"fixedPoints": 3}, "Place or choose the moving points too"),
        ({"movingPoints": 3, "fixedPoints": 0}, "Place or choose the fixed points too"),
        ({"fixedPoints": 3, "movingPoints": 3, "initialTransform": True}, "Start from points or from a transform"),
    ],
)
def test_half_a_start_keeps_apply_off(bench: Bench, chosen: dict, text: str):
    for name, count in chosen.items():
        node = mrml.add_linear(slicer.mrmlScene, TURN) if name == "initialTransform" else None
        bench.choose(**{name: node or add_points(name, CENTRE + PLACES[:count])})
    assert not bench.ui.applyButton.enabled
    assert bench.ui.applyButton.toolTip.startswith(text)


def test_lists_without_points_count_as_none(bench: Bench):
    """ "Place" chooses a new list; Apply says what is missing only between the first point and the last of a pair."""
    ui = bench.ui
    ui.startCollapsibleButton.collapsed = True
    for side in ("fixed", "moving"):
        clicks.click(getattr(ui, f"{side}PlaceButton"))
    assert None not in (bench.parameters.fixedPoints, bench.parameters.movingPoints)
    assert (ui.applyButton.enabled, ui.reasonLabel.visible) == (True, False)
    assert "initial_transform" not in asked(bench, fixedPoints=bench.parameters.fixedPoints)
    for point in range(2):
        for node, enabled in ((bench.parameters.fixedPoints, point > 0), (bench.parameters.movingPoints, True)):
            node.AddControlPoint(mrml.vtk.vtkVector3d(*(20.0 * point, 0.0, 5.0)), "")
            assert (ui.applyButton.enabled, ui.reasonLabel.visible) == (enabled, not enabled)
            assert enabled or ui.reasonLabel.text.startswith("Place or choose the moving points too")
    bench.parameters.movingPoints.RemoveAllControlPoints()
    assert not ui.applyButton.enabled
    bench.parameters.fixedPoints.RemoveAllControlPoints()
    assert ui.applyButton.enabled
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)


def test_one_pair_is_too_few(bench: Bench):
    lists = add_points("F", CENTRE[None]), add_points("M", CENTRE[None])
    with pytest.raises(InputError, match="two or more pairs"):
        asked(bench, fixedPoints=lists[0], movingPoints=lists[1])


# --- masks ---


def test_a_label_map_is_a_mask_where_the_world_shows_it(bench: Bench):
    inside, outside = CENTRE + [3.0, 2, -4], CENTRE + [0.0, 19, 0]
    array = samples.ball(samples.FIXED, CENTRE, 15).astype(np.uint8) * 7
    node = mrml.add_volume(slicer.mrmlScene, array, samples.FIXED, "mask", "vtkMRMLLabelMapVolumeNode")
    assert values(asked(bench, fixedMask=node)["fixed_mask"], np.array([inside, outside])) == [1, 0]
    node.SetAndObserveTransformNodeID(mrml.add_linear(slicer.mrmlScene, TURN, AWAY).GetID())
    shown = (np.array([inside, outside]) * RAS @ TURN.T + AWAY) * RAS
    assert values(asked(bench, fixedMask=node)["fixed_mask"], shown) == [1, 0]


@pytest.mark.parametrize("overlapping", [False, True], ids=["one layer", "two layers"])
def test_a_segmentation_is_a_mask_whole_or_by_segment(bench: Bench, overlapping: bool):
    """The second segment lies inside the first: on layers of its own or cut out of it."""
    node, middle = bench.nodes["movingSegmentation"], CENTRE + SHIFT
    places = np.array([middle + [-9.0, 0, 0], middle + [6.0, 4, -5], middle + [0.0, 30, 0]])
    names = [node.GetSegmentation().GetNthSegmentID(n) for n in range(2)]
    if overlapping:
        whole = samples.ball(samples.MOVING, middle, 18).astype(np.uint8)
        data = mrml.vtk_image(whole, slicer.vtkOrientedImageData)
        data.SetGeometryFromImageToWorldMatrix(mrml.vtk_matrix(mrml.ijk_to_ras(samples.MOVING)))
        segment = node.GetSegmentation().GetSegment(names[0])
        segment.AddRepresentation("Binary labelmap", data)
        segment.SetLabelValue(1)
        assert node.GetSegmentation().GetNumberOfLayers() == 2
    expected = {"": [1, 1, 0], names[0]: [1, int(overlapping), 0], names[1]: [0, 1, 0]}
    for segment, inside in expected.items():
        mask = asked(bench, movingMask=node, movingMaskSegment=segment)["moving_mask"]
        assert values(mask, places) == inside, segment
        assert set(np.unique(mask.array)) == {0, 1}


def test_a_run_with_masks_differs_and_an_empty_mask_is_named(bench: Bench):
    bench.run()
    field = clicks.field_of_node(bench.parameters.outputTransform)[0].copy()
    bench.choose(fixedMask=bench.nodes["fixedSegmentation"], movingMask=bench.nodes["movingSegmentation"])
    bench.run()
    assert bench.status == ""
    assert bench.error_at_the_centre() < 9.0  # a ball of 18 mm is all that it sees
    other = clicks.field_of_node(bench.parameters.outputTransform)[0]
    assert other.shape != field.shape or np.abs(other - field).max() > 0.1
    bench.choose(fixedMask=add("Segmentation", "Nothing"))
    clicks.click(bench.ui.applyButton)
    assert bench.status.startswith("Nothing: the segment that should be the mask is gone or empty")


def test_the_segment_is_chosen_by_its_name_and_forgotten_with_its_mask(bench: Bench):
    from PDDRegistrationLib.ui.registration_panel import selectionOf

    box, ids = bench.ui.fixedMaskSegmentComboBox, bench.nodes["fixedSegmentation"].GetSegmentation()
    bench.ui.startCollapsibleButton.collapsed = False
    bench.host.processEvents()
    assert not box.enabled
    bench.choose(fixedMask=bench.nodes["fixedSegmentation"])
    assert [box.itemText(n) for n in range(box.count)] == ["(all segments)", "liver", "spleen"]
    clicks.choose(box, "spleen")
    box.activated.emit(box.currentIndex)  # as a click on the entry does
    assert bench.parameters.fixedMaskSegment == ids.GetNthSegmentID(1)
    assert selectionOf(bench.parameters).fixedMaskSegment == ids.GetNthSegmentID(1)
    bench.choose(fixedMask=None)
    assert (bench.parameters.fixedMaskSegment, box.enabled, box.currentText) == ("", False, "(all segments)")


# --- segmentations that guide ---


def test_only_the_switch_lets_segmentations_guide(bench: Bench):
    assert not {"fixed_labels", "moving_labels"} & set(asked(bench))
    request = asked(bench, guide=True)
    for side, centre in (("fixed", CENTRE), ("moving", CENTRE + SHIFT)):
        places = centre + np.array([[-9.0, 0, 0], [6, 4, -5], [0, 30, 0]])
        assert values(request[f"{side}_labels"], places) == [1, 2, 0]  # the same organ, the same number
    assert set(request["evaluate"]) == {"0"}


def test_organs_without_a_common_name_cannot_guide(bench: Bench):
    segmentation = bench.nodes["fixedSegmentation"].GetSegmentation()
    for number, name in enumerate(("Leber", "Milz")):
        segmentation.GetNthSegment(number).SetName(name)
    with pytest.raises(InputError, match=r"No segment is in both segmentations \(Leber, Milz; liver, spleen\)"):
        asked(bench, guide=True)


def test_a_guided_run_differs_and_says_so(bench: Bench):
    bench.run()
    field = clicks.field_of_node(bench.parameters.outputTransform)[0].copy()
    assert "guided" not in bench.ui.verdictLabel.text
    bench.ui.startCollapsibleButton.collapsed = False
    bench.host.processEvents()
    clicks.click(bench.ui.guideCheckBox)
    assert bench.parameters.guide
    bench.run()
    assert bench.status == ""
    assert "guided by them" in bench.ui.verdictLabel.text
    other = clicks.field_of_node(bench.parameters.outputTransform)[0]
    assert other.shape != field.shape or np.abs(other - field).max() > 0.1
    bench.choose(movingSegmentation=None)
    assert bench.ui.applyButton.toolTip.startswith("Choose a fixed and a moving segmentation to guide with")
