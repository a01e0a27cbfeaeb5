"""Nodes put under a transform and its inverse, undone and hardened; VTK says where their points belong."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from helpers import mrml_geometry as mrml
from helpers.geometry import Waves
from helpers.mrml_geometry import RAS, slicer
from pddnet.errors import InputError
from PDDRegistrationLib.scene.apply_to import INVERSE_OF, Applied, hardenedCopy, inverseOf
from PDDRegistrationLib.scene.placement import setRegistrationReferences

GRID = mrml.FIXED["left-handed oblique"]
WAVES = Waves(amplitude=3.0, length=90.0, shift=(4.0, -6.0, 5.0))
KINDS = ("vtkMRMLModelNode", "vtkMRMLMarkupsFiducialNode", "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
both = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def scene():
    scene = mrml.new_scene()
    for kind in (slicer.vtkMRMLMarkupsFiducialNode, slicer.vtkMRMLMarkupsDisplayNode):
        scene.RegisterNodeClass(kind())
    return scene


@pytest.fixture
def transform(scene):
    """From parent (fixed to moving) the waves, on a wide oblique left-handed grid, with both volumes as references."""
    node = mrml.add_grid(scene, WAVES.displacement, mrml.wide_grid(), name="result")
    volumes = [mrml.add_volume(scene, mrml.noise(GRID.shape), GRID, name) for name in ("fixed", "moving")]
    setRegistrationReferences(node, *volumes)
    return node


def some_points() -> np.ndarray:
    """(N, 3) RAS in the middle of the grid."""
    index = np.array([[8, 6, 5], [6, 7, 4], [10, 5, 6], [7, 8, 5]], float)
    return GRID.index_to_point(index) * RAS


def make(scene, kind: str):
    node = scene.AddNewNodeByClass(kind, "thing")
    if kind == "vtkMRMLModelNode":
        points, mesh = vtk.vtkPoints(), vtk.vtkPolyData()
        points.SetData(numpy_to_vtk(some_points(), deep=True))
        mesh.SetPoints(points)
        mesh.AllocateExact(1, 4)
        mesh.InsertNextCell(vtk.VTK_POLY_VERTEX, 4, [0, 1, 2, 3])
        node.SetAndObserveMesh(mesh)
    elif kind == "vtkMRMLMarkupsFiducialNode":
        for point in some_points().tolist():
            node.AddControlPoint(vtk.vtkVector3d(*point))
    elif kind == "vtkMRMLScalarVolumeNode":
        scene.RemoveNode(node)
        node = mrml.add_volume(scene, mrml.ramp_array(GRID), GRID, "thing")
    else:
        array = np.zeros(GRID.shape, np.uint8)
        array[3:8, 4:10, 5:12] = 1
        data = mrml.vtk_image(array, slicer.vtkOrientedImageData)
        data.SetGeometryFromImageToWorldMatrix(mrml.vtk_matrix(mrml.ijk_to_ras(GRID)))
        segment = slicer.vtkSegment()
        segment.SetName("organ")
        segment.AddRepresentation("Binary labelmap", data)
        node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
        node.GetSegmentation().AddSegment(segment, "organ")
    return node


def expected(transform, points: np.ndarray, inverse: bool) -> np.ndarray:
    """Where VTK takes RAS points: to parent, or for the inverse from parent."""
    vtk_transform = transform.GetTransformFromParent() if inverse else transform.GetTransformToParent()
    return np.array([vtk_transform.TransformPoint(point) for point in points.tolist()])


def content(node) -> bytes:
    """The data of a node, as they are stored in it."""
    if node.IsA("vtkMRMLModelNode"):
        return vtk_to_numpy(node.GetPolyData().GetPoints().GetData()).tobytes()
    if node.IsA("vtkMRMLMarkupsNode"):
        count = node.GetNumberOfControlPoints()
        return np.array([node.GetNthControlPointPosition(number) for number in range(count)]).tobytes()
    if node.IsA("vtkMRMLVolumeNode"):
        return vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).tobytes()
    image = node.GetSegmentation().GetSegment("organ").GetRepresentation("Binary labelmap")
    return vtk_to_numpy(image.GetPointData().GetScalars()).tobytes()


def all_nodes(scene) -> list:
    return [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]


@both
@every_kind
def test_a_node_goes_where_vtk_takes_its_points(scene, transform, kind: str, inverse: bool):
    node = make(scene, kind)
    before = content(node)
    Applied().apply(node, transform, inverse)
    assert mrml.to_world(node, some_points()) == pytest.approx(expected(transform, some_points(), inverse), abs=0.02)
    assert content(node) == before


@both
def test_other_parents_keep_their_effect(scene, transform, inverse: bool):
    node = make(scene, "vtkMRMLModelNode")
    parent = mrml.add_linear(scene, np.eye(3), (5.0, 6.0, -7.0))
    node.SetAndObserveTransformNodeID(parent.GetID())
    world = mrml.to_world(node, some_points())
    Applied().apply(node, transform, inverse)
    assert mrml.to_world(node, some_points()) == pytest.approx(expected(transform, world, inverse), abs=0.02)


def test_the_inverse_of_what_lies_under_the_transform_is_where_it_was(scene, transform):
    node = make(scene, "vtkMRMLMarkupsFiducialNode")
    applied = Applied()
    applied.apply(node, transform)
    applied.apply(node, transform, inverse=True)
    assert mrml.to_world(node, some_points()) == pytest.approx(some_points(), abs=0.02)


def test_the_inverse_has_a_name_is_made_once_and_follows_the_transform(scene, transform):
    first = inverseOf(transform)
    assert first.GetName() == "result inverse"
    assert first.GetNodeReference(INVERSE_OF) is transform
    transform.SetAndObserveTransformFromParent(
        mrml.oriented_grid_transform(lambda points: 0 * points + [1, 2, 3], GRID)
    )
    assert inverseOf(transform) is first
    moved = first.GetTransformToParent().TransformPoint(some_points()[0].tolist())
    assert np.array(moved) - some_points()[0] == pytest.approx([-1, -2, 3], abs=1e-3)


@both
def test_a_linear_transform_is_applied_like_any_other(scene, inverse: bool):
    """Made by another module, without references."""
    transform = mrml.add_linear(scene, np.array([[1, 0.1, 0], [-0.2, 0.9, 0], [0, 0.1, 1.1]]), (3.0, -4.0, 5.0))
    node, other = make(scene, "vtkMRMLModelNode"), make(scene, "vtkMRMLMarkupsFiducialNode")
    Applied().apply(node, transform, inverse)
    goal = expected(transform, some_points(), inverse)
    assert mrml.to_world(node, some_points()) == pytest.approx(goal, abs=1e-6)
    assert np.frombuffer(content(hardenedCopy(other, transform, inverse))).reshape(-1, 3) == pytest.approx(
        goal, abs=1e-6
    )


@both
@every_kind
def test_undo_restores_parents_and_scene_exactly(scene, transform, kind: str, inverse: bool):
    node = make(scene, kind)
    parent = mrml.add_linear(scene, np.eye(3), (5.0, 6.0, -7.0))
    node.SetAndObserveTransformNodeID(parent.GetID())
    nodes, matrix = all_nodes(scene), parent.GetMatrixTransformToParent()
    applied = Applied()
    assert not applied.canUndo
    applied.apply(node, transform, inverse)
    assert node.GetParentTransformNode() is not parent
    assert applied.undo() == node.GetName()
    assert node.GetParentTransformNode() is parent
    assert all_nodes(scene) == nodes
    assert parent.GetMatrixTransformToParent() is matrix
    assert parent.GetParentTransformNode() is None
    assert applied.undo() == ""


def test_undo_goes_back_step_by_step(scene, transform):
    node, other = make(scene, "vtkMRMLModelNode"), make(scene, "vtkMRMLMarkupsFiducialNode")
    applied = Applied()
    applied.apply(node, transform)
    applied.apply(other, transform)
    applied.apply(node, transform, inverse=True)
    assert [applied.undo() for _ in range(4)] == [node.GetName(), other.GetName(), node.GetName(), ""]
    assert node.GetParentTransformNode() is None
    assert other.GetParentTransformNode() is None


def test_undo_copes_with_deleted_nodes(scene, transform):
    node, other = make(scene, "vtkMRMLModelNode"), make(scene, "vtkMRMLMarkupsFiducialNode")
    parent = mrml.add_linear(scene, np.eye(3), (5.0, 6.0, -7.0))
    node.SetAndObserveTransformNodeID(parent.GetID())
    applied = Applied()
    applied.apply(node, transform)
    applied.apply(other, transform)
    scene.RemoveNode(other)
    scene.RemoveNode(parent)
    assert applied.undo() == node.GetName()
    assert node.GetParentTransformNode() is None
    applied.apply(node, transform)
    scene.RemoveNode(node)
    assert not applied.canUndo
    assert applied.undo() == ""


def test_undo_leaves_what_the_user_moved_meanwhile(scene, transform):
    node = make(scene, "vtkMRMLModelNode")
    elsewhere = mrml.add_linear(scene, np.eye(3), (1.0, 2.0, 3.0))
    applied = Applied()
    applied.apply(node, transform)
    node.SetAndObserveTransformNodeID(elsewhere.GetID())
    applied.undo()
    assert node.GetParentTransformNode() is elsewhere


@both
@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_hardened_copy_has_the_moved_points(scene, transform, kind: str, inverse: bool):
    node = make(scene, kind)
    before, nodes = content(node), all_nodes(scene)
    copy = hardenedCopy(node, transform, inverse)
    assert copy.GetName() == f"{node.GetName()} registered"
    assert copy.GetParentTransformNode() is None
    points = np.frombuffer(content(copy), np.float32 if len(content(copy)) == 48 else np.float64).reshape(-1, 3)
    assert points == pytest.approx(expected(transform, some_points(), inverse), abs=0.02)
    assert (content(node), node.GetParentTransformNode()) == (before, None)
    assert not [new for new in all_nodes(scene) if new not in nodes and new.IsA("vtkMRMLTransformNode")]


@both
def test_a_hardened_volume_holds_the_moved_values(scene, transform, inverse: bool):
    """The ramp is known everywhere: a voxel of the copy has the value of the point that came to lie there."""
    node = make(scene, "vtkMRMLScalarVolumeNode")
    before = content(node)
    copy = hardenedCopy(node, transform, inverse)
    matrix = vtk.vtkMatrix4x4()
    copy.GetRASToIJKMatrix(matrix)
    moved = expected(transform, some_points(), inverse)
    index = np.array([matrix.MultiplyPoint((*point, 1.0))[:3] for point in moved.tolist()])
    array = vtk_to_numpy(copy.GetImageData().GetPointData().GetScalars())
    array = array.reshape(copy.GetImageData().GetDimensions()[::-1])
    for place, source in zip(np.rint(index).astype(int), some_points(), strict=True):
        back = vtk.vtkMatrix4x4()
        copy.GetIJKToRASMatrix(back)
        centre = np.array([back.MultiplyPoint((*place.tolist(), 1.0))[:3]])
        origin = expected(transform, centre, not inverse)[0]
        assert array[tuple(place[::-1])] == pytest.approx(mrml.ramp(origin), abs=0.3)
        assert np.linalg.norm(origin - source) < 5  # it is about the same place
    assert (content(node), node.GetParentTransformNode()) == (before, None)


@both
def test_a_hardened_segmentation_holds_the_moved_segment(scene, transform, inverse: bool):
    node = make(scene, "vtkMRMLSegmentationNode")
    before = content(node)
    copy = hardenedCopy(node, transform, inverse)
    image = copy.GetSegmentation().GetSegment("organ").GetRepresentation("Binary labelmap")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    k, j, i = np.nonzero(array)
    centre = matrix.MultiplyPoint((i.mean(), j.mean(), k.mean(), 1.0))[:3]
    middle = GRID.index_to_point(np.array([[8.0, 6.5, 5.0]])) * RAS
    assert np.array(centre) == pytest.approx(expected(transform, middle, inverse)[0], abs=1.5)
    assert (content(node), node.GetParentTransformNode()) == (before, None)


def test_what_cannot_be_applied_is_said_and_changes_nothing(scene, transform):
    above = mrml.add_linear(scene, np.eye(3), (1.0, 2.0, 3.0), name="above")
    node = make(scene, "vtkMRMLModelNode")
    applied = Applied()
    applied.apply(node, transform)
    with pytest.raises(InputError, match="already"):
        applied.apply(node, transform)
    transform.SetAndObserveTransformNodeID(above.GetID())
    nodes = all_nodes(scene)
    with pytest.raises(InputError, match="lies under it"):
        applied.apply(above, transform, inverse=True)
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(InputError, match="no voxels"):
        hardenedCopy(empty, transform, inverse=True)
    assert all_nodes(scene) == [*nodes, empty]
