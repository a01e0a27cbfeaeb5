"""Fields to transform nodes and back, nodes to ITK, and what is shown where. VTK and SimpleITK are the judges."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import SHEARED, Waves, inner_points, rotation, sitk_field, sitk_points
from helpers.mrml_geometry import (
    FIXED,
    GRIDS,
    RAS,
    add_grid,
    add_linear,
    add_volume,
    every_grid,
    new_scene,
    noise,
    oriented_grid_transform,
    slicer,
    to_world,
    vtk,
    vtk_image,
    vtk_matrix,
    wide_grid,
)
from pddnet.core.field import DisplacementField
from pddnet.errors import InputError
from PDDRegistrationLib.scene.placement import placeUnder, registrationParent, setRegistrationReferences
from PDDRegistrationLib.scene.transforms import fieldFromGridTransform, gridTransformFromField, itkTransformFromNode
from PDDRegistrationLib.scene.volumes import imageFromVolume

SAME = 1e-3  # mm
INVERTED = 0.05  # mm: VTK's own tolerance is 0.01, magnified by the slope of the transform
TURN = rotation(-31, 12, 55)
SHEAR = np.array([[1, 0.2, 0], [0, 1, 0.35], [0.1, 0, 1.0]])


def vtk_points(transform, points: np.ndarray) -> np.ndarray:
    """LPS points moved by VTK, which takes RAS."""
    return RAS * np.array([transform.TransformPoint(point) for point in (RAS * points).tolist()])


def add_result(scene, field: DisplacementField, moving=None, fixed=None, name: str = "result"):
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    gridTransformFromField(field, node)
    if moving is not None:
        setRegistrationReferences(node, fixed if fixed is not None else moving, moving)
    return node


# The field


@every_grid
@pytest.mark.parametrize("formula", [SHEARED, Waves()], ids=["sheared", "waves"])
def test_from_parent_is_fixed_to_moving(grid, formula):
    field = formula.field(grid)
    node = add_result(new_scene(), field)
    points = inner_points(grid)
    moved = vtk_points(node.GetTransformFromParent(), points)
    assert np.allclose(moved, sitk_points(sitk_field(field), points), atol=SAME)
    if formula is SHEARED:
        assert np.allclose(moved, SHEARED(points), atol=SAME)
    assert np.allclose(vtk_points(node.GetTransformToParent(), moved), points, atol=INVERTED)


def test_the_node_holds_float32_linear_and_not_the_inverse():
    node = add_result(new_scene(), SHEARED.field(GRIDS["oblique"]))
    transform = node.GetTransformFromParent()
    assert not transform.GetInverseFlag()
    assert transform.GetDisplacementGrid().GetScalarTypeAsString() == "float"
    assert transform.GetInterpolationModeAsString() == "Linear"


def test_one_event_and_no_parent():
    scene = new_scene()
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "result")
    node.SetAndObserveTransformNodeID(add_linear(scene, TURN).GetID())
    events = []
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: events.append("modified"))
    node.AddObserver(slicer.vtkMRMLTransformableNode.TransformModifiedEvent, lambda *_: events.append("transform"))
    gridTransformFromField(SHEARED.field(GRIDS["oblique"]), node)
    assert events.count("modified") == 1 and events.count("transform") == 1
    assert node.GetParentTransformNode() is None


def test_the_node_is_independent_of_the_field():
    field = SHEARED.field(GRIDS["oblique"])
    node = add_result(new_scene(), field)
    points = inner_points(field.grid)
    field.array[...] = 0
    assert np.allclose(vtk_points(node.GetTransformFromParent(), points), SHEARED(points), atol=SAME)


@every_grid
def test_the_field_comes_back(grid):
    field = Waves().field(grid)
    back = fieldFromGridTransform(add_result(new_scene(), field))
    assert back.array.dtype == np.float32
    assert np.array_equal(back.array, field.array)
    assert back.grid.same_as(grid, 1e-6)


@every_grid
def test_a_field_that_others_stored_as_double(grid):
    node = add_grid(new_scene(), Waves().displacement, grid)
    back = fieldFromGridTransform(node)
    points = inner_points(grid)
    assert back.array.dtype == np.float32
    found = sitk_points(sitk_field(back), points)
    assert np.allclose(found, vtk_points(node.GetTransformFromParent(), points), atol=SAME)


def test_scale_and_shift_of_the_displacements_count():
    node = add_grid(new_scene(), Waves().displacement, GRIDS["oblique"])
    transform = node.GetTransformFromParent()
    transform.SetDisplacementScale(0.5)
    transform.SetDisplacementShift(3.0)
    points = inner_points(GRIDS["oblique"])
    found = sitk_points(sitk_field(fieldFromGridTransform(node)), points)
    assert np.allclose(found, vtk_points(transform, points), atol=SAME)


def test_other_transforms_are_no_field():
    scene = new_scene()
    with pytest.raises(InputError, match="backwards: this is no grid transform stored from parent"):
        fieldFromGridTransform(
            add_grid(scene, Waves().displacement, GRIDS["oblique"], to_parent=True, name="backwards")
        )
    with pytest.raises(InputError, match="straight: "):
        fieldFromGridTransform(add_linear(scene, TURN, name="straight"))
    with pytest.raises(InputError, match="any: "):
        fieldFromGridTransform(scene.AddNewNodeByClass("vtkMRMLTransformNode", "any"))


@pytest.mark.parametrize("name", ["t.h5", "t.tfm", "t.nrrd", "t.nii.gz"])
@pytest.mark.parametrize("grid", ["oblique", "left-handed oblique"])
def test_simpleitk_reads_the_saved_node(name, grid, tmp_path):
    field = Waves().field(GRIDS[grid])
    scene = new_scene()
    node, storage = add_result(scene, field), slicer.vtkMRMLTransformStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / name))
    assert storage.WriteData(node)
    if name.endswith((".h5", ".tfm")):
        read = sitk.ReadTransform(str(tmp_path / name))
    else:
        read = sitk.DisplacementFieldTransform(sitk.ReadImage(str(tmp_path / name), sitk.sitkVectorFloat64))
    points = inner_points(field.grid)
    found = sitk_points(read, points)
    assert np.allclose(found, vtk_points(node.GetTransformFromParent(), points), atol=SAME)
    assert np.allclose(found, sitk_points(sitk_field(field), points), atol=SAME)


def test_references_name_both_scans():
    scene = new_scene()
    fixed, moving = (add_volume(scene, noise((4, 5, 6)), FIXED["coronal"], name) for name in ("fixed", "moving"))
    node = add_result(scene, SHEARED.field(GRIDS["oblique"]))
    setRegistrationReferences(node, fixed, moving)
    assert node.GetNodeReference("spatialRegistrationFixed").GetName() == "fixed"
    assert node.GetNodeReference("spatialRegistrationMoving").GetName() == "moving"
    setRegistrationReferences(node, moving, fixed)
    assert node.GetNumberOfNodeReferences("spatialRegistrationFixed") == 1
    assert node.GetNodeReference("spatialRegistrationFixed").GetName() == "moving"


# To ITK


def mrml_from_world(node, points: np.ndarray) -> np.ndarray:
    """LPS world points in the coordinates of what lies under the node, by MRML alone."""
    transform = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(transform)
    return vtk_points(transform, points)


def bspline(grid):
    """A B-spline from parent with other coefficients at every node, RAS."""
    coefficients = np.random.default_rng(7).normal(0, 8, (*grid.shape, 3))
    data = vtk_image(coefficients)
    data.SetSpacing(*grid.spacing)
    data.SetOrigin(*(RAS * grid.origin))
    direction = np.eye(4)
    direction[:3, :3] = RAS[:, None] * grid.direction
    transform = slicer.vtkOrientedBSplineTransform()
    transform.SetCoefficientData(data)
    transform.SetGridDirectionMatrix(vtk_matrix(direction))
    return transform


def thin_plate():
    """From parent, by landmarks that move as in Waves; RAS."""
    points = RAS * wide_grid().corners()
    landmarks = vtk.vtkPoints(), vtk.vtkPoints()
    for point, moved in zip(points.tolist(), (RAS * Waves()(RAS * points)).tolist(), strict=True):
        landmarks[0].InsertNextPoint(point)
        landmarks[1].InsertNextPoint(moved)
    transform = vtk.vtkThinPlateSplineTransform()
    transform.SetBasisToR()
    transform.SetSourceLandmarks(landmarks[0])
    transform.SetTargetLandmarks(landmarks[1])
    return transform


def test_a_chain_of_linear_transforms_is_one_affine():
    scene = new_scene()
    outer = add_linear(scene, SHEAR @ TURN, (7, -13, 29))
    inner = add_linear(scene, np.diag([1.5, 0.5, -1.1]), (-3, 50, 8), parent=outer)
    transform = itkTransformFromNode(inner)
    points = inner_points(GRIDS["oblique"])
    assert isinstance(transform, sitk.AffineTransform)
    assert np.allclose(sitk_points(transform, points), mrml_from_world(inner, points), atol=1e-6)
    homogeneous = np.c_[RAS * points, np.ones(len(points))]
    matrix = vtk.vtkMatrix4x4()
    inner.GetMatrixTransformFromWorld(matrix)
    by_hand = RAS * np.array([matrix.MultiplyPoint(point)[:3] for point in homogeneous.tolist()])
    assert np.allclose(sitk_points(transform, points), by_hand, atol=1e-6)


@every_grid
def test_a_grid_is_handed_on_as_it_is(grid):
    node = add_grid(new_scene(), Waves().displacement, grid)
    transform = itkTransformFromNode(node)
    points = inner_points(grid)
    assert isinstance(transform, sitk.DisplacementFieldTransform)
    assert np.allclose(sitk_points(transform, points), mrml_from_world(node, points), atol=SAME)


@pytest.mark.parametrize("name", ["oblique", "left-handed oblique", "permuted oblique"])
def test_a_bspline_is_handed_on_as_it_is(name):
    grid = GRIDS[name].isotropic(20.0, margin=40.0)
    node = new_scene().AddNewNodeByClass("vtkMRMLBSplineTransformNode", "spline")
    node.SetAndObserveTransformFromParent(bspline(grid))
    transform = itkTransformFromNode(node)
    points = inner_points(GRIDS[name])
    moved = mrml_from_world(node, points)
    assert isinstance(transform, sitk.BSplineTransform)
    assert np.abs(moved - points).max() > 3
    assert np.allclose(sitk_points(transform, points), moved, atol=SAME)


def test_a_chain_of_all_kinds_keeps_its_order():
    scene = new_scene()
    outer = add_linear(scene, SHEAR @ TURN, (7, -13, 29))
    middle = add_grid(scene, Waves().displacement, wide_grid(), parent=outer)
    inner = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "spline")
    inner.SetAndObserveTransformFromParent(bspline(wide_grid(30.0, 150.0)))
    inner.SetAndObserveTransformNodeID(middle.GetID())
    transform = itkTransformFromNode(inner)
    start = inner_points(GRIDS["oblique"])  # in the middle transform's own space, so that all stay inside
    points = RAS * to_world(middle, RAS * start)
    expected = mrml_from_world(inner, points)
    assert isinstance(transform, sitk.CompositeTransform)
    assert np.allclose(sitk_points(transform, points), expected, atol=SAME)
    assert np.abs(expected - start).max() > 10


@pytest.mark.parametrize("kind", ["to parent", "bulk", "under an inverse", "thin plate"])
def test_what_itk_cannot_hold_is_sampled_over_the_fixed_grid(kind):
    scene = new_scene()
    if kind == "to parent":
        node = add_grid(scene, Waves().displacement, wide_grid(), to_parent=True)
    elif kind == "bulk":
        node = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "spline")
        spline = bspline(wide_grid(40.0))
        bulk = np.eye(4)
        bulk[:3, :3], bulk[:3, 3] = SHEAR, (7, -13, 29)
        spline.SetBulkTransformMatrix(vtk_matrix(bulk))
        node.SetAndObserveTransformFromParent(spline)
    elif kind == "thin plate":
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "plate")
        node.SetAndObserveTransformFromParent(thin_plate())
    else:
        above = add_grid(scene, Waves().displacement, wide_grid(), to_parent=True)
        node = add_linear(scene, TURN, (7, -13, 29), parent=above)
    with pytest.raises(InputError, match=f"{node.GetName()}: the transform must be sampled"):
        itkTransformFromNode(node)
    transform = itkTransformFromNode(node, GRIDS["left-handed oblique"])
    points = inner_points(GRIDS["left-handed oblique"])
    apart = np.linalg.norm(sitk_points(transform, points) - mrml_from_world(node, points), axis=1)
    assert apart.max() < 0.3 and np.median(apart) < 0.03  # the field has kinks at its nodes, 12 mm apart


def test_a_grid_smaller_than_the_fixed_scan_is_sampled_where_it_ends():
    """ITK moves nothing outside of it, Slicer shows the border's displacement there."""
    node = add_grid(new_scene(), Waves().displacement, GRIDS["oblique"])
    fixed = wide_grid(9.0, 30.0)
    points = np.concatenate([fixed.corners(), inner_points(fixed)])
    inside = GRIDS["oblique"].contains(points)
    assert not inside.all()
    expected = mrml_from_world(node, points)
    as_it_is, sampled = itkTransformFromNode(node), itkTransformFromNode(node, fixed)
    assert np.array_equal(sitk_points(as_it_is, points[~inside]), points[~inside])
    assert np.abs(expected - points)[~inside].max() > 10
    apart = np.linalg.norm(sitk_points(sampled, points) - expected, axis=1)
    assert apart.max() < 0.6 and np.median(apart) < 0.1
    covered = itkTransformFromNode(node, GRIDS["oblique"])
    inner = inner_points(GRIDS["oblique"])
    assert np.allclose(sitk_points(covered, inner), mrml_from_world(node, inner), atol=SAME)


def test_a_grid_that_slicer_loaded_from_a_file_is_cubic_there():
    node = add_grid(new_scene(), Waves().displacement, GRIDS["oblique"])
    node.GetTransformFromParent().SetInterpolationModeToCubic()
    transform = itkTransformFromNode(node, GRIDS["oblique"])
    assert isinstance(transform, sitk.DisplacementFieldTransform)
    assert transform.GetDisplacementField().GetSize() == tuple(GRIDS["oblique"].size), "its own nodes"
    points = inner_points(GRIDS["oblique"], margin=1)
    assert np.allclose(sitk_points(transform, points), mrml_from_world(node, points), atol=0.25)


def test_an_empty_transform_node_moves_nothing():
    node = new_scene().AddNewNodeByClass("vtkMRMLTransformNode", "nothing")
    assert itkTransformFromNode(node).TransformPoint((1, 2, 3)) == (1, 2, 3)


# What is shown where


RESULT = Waves(shift=(7.0, -13.0, 29.0)).field(wide_grid(8.0, 120.0))
OTHER = Waves(amplitude=4.0, shift=(-17.0, 23.0, 5.0)).field(wide_grid(8.0, 120.0))


@pytest.fixture
def scene():
    return new_scene()


@pytest.fixture
def moving(scene):
    return add_volume(scene, noise((9, 12, 15)), GRIDS["left-handed oblique"], "moving")


def add_points(scene, name: str = "landmarks"):
    """What any transformable node is; markups need a logic of their own."""
    return scene.AddNewNodeByClass("vtkMRMLModelNode", name)


PLACES = RAS * inner_points(GRIDS["oblique"], 12)  # in a node's own coordinates


def assert_shown_registered(node, result_field, unregistered: np.ndarray) -> None:
    """The field (fixed -> moving) of where the node's points are shown leads to where they were without it."""
    shown = RAS * to_world(node, PLACES)
    assert np.allclose(sitk_points(sitk_field(result_field), shown), RAS * unregistered, atol=INVERTED)


def parents_of(scene, kind: str):
    """A chain of parents: the upper of two transforms and the lower."""
    upper = add_linear(scene, SHEAR @ TURN, (7, -13, 29), name="upper")
    if kind == "linear":
        return add_linear(scene, rotation(0, 40, -10), (-3, 5, 8), parent=upper, name="lower")
    gentle = Waves(amplitude=3.0, shift=(5.0, 2.0, -8.0)).displacement
    return add_grid(scene, gentle, wide_grid(), to_parent=kind == "to parent", parent=upper, name="lower")


every_parent = pytest.mark.parametrize("kind", ["linear", "from parent", "to parent"])


@pytest.mark.parametrize("name", ["vtkMRMLScalarVolumeNode", "vtkMRMLModelNode", "vtkMRMLSegmentationNode"])
def test_a_node_without_parents_goes_right_under_the_result(scene, moving, name):
    result = add_result(scene, RESULT, moving)
    node = scene.AddNewNodeByClass(name, "node")
    placeUnder(node, result)
    assert node.GetParentTransformNode() is result
    assert_shown_registered(node, RESULT, PLACES)


@every_parent
def test_a_node_with_parents_is_brought_into_the_world_first(scene, moving, kind):
    """The others that lie under its parents stay where they are, and the copy does not hang on them."""
    lower = parents_of(scene, kind)
    neighbour = add_points(scene, "neighbour")
    for node in (moving, neighbour):
        node.SetAndObserveTransformNodeID(lower.GetID())
    world = to_world(moving, PLACES)
    result = add_result(scene, RESULT, moving)
    placeUnder(moving, result)
    copy = moving.GetParentTransformNode()
    assert copy.GetName() == "moving to world" and copy.GetParentTransformNode() is result
    assert_shown_registered(moving, RESULT, world)
    assert np.array_equal(to_world(neighbour, PLACES), world)
    shown = to_world(moving, PLACES)
    if kind == "linear":
        lower.SetMatrixTransformToParent(vtk.vtkMatrix4x4())
    else:
        lower.SetAndObserveTransformFromParent(oriented_grid_transform(SHEARED, wide_grid()))
    assert np.array_equal(to_world(moving, PLACES), shown)


@every_parent
def test_placed_twice_nothing_happens(scene, moving, kind):
    moving.SetAndObserveTransformNodeID(parents_of(scene, kind).GetID())
    result = add_result(scene, RESULT, moving)
    placeUnder(moving, result)
    parent, count, shown = moving.GetTransformNodeID(), scene.GetNumberOfNodes(), to_world(moving, PLACES)
    placeUnder(moving, result)
    assert moving.GetTransformNodeID() == parent and scene.GetNumberOfNodes() == count
    assert np.array_equal(to_world(moving, PLACES), shown)


@pytest.mark.parametrize("kind", [None, "linear", "from parent"])
def test_another_result_replaces_the_first(scene, moving, kind):
    """Of the volume and of its segmentation, which the result knows only through the volume."""
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    if kind:
        lower = parents_of(scene, kind)
        for node in (moving, segmentation):
            node.SetAndObserveTransformNodeID(lower.GetID())
    world = to_world(moving, PLACES)
    first, second = add_result(scene, RESULT, moving), add_result(scene, OTHER, moving)
    for node in (moving, segmentation):
        placeUnder(node, first)
    count = scene.GetNumberOfNodes()
    for node in (moving, segmentation):
        placeUnder(node, second)
        assert registrationParent(node, moving) is second
        assert_shown_registered(node, OTHER, world)
    assert scene.GetNumberOfNodes() == count, "the copy of the parents was used again"


def test_a_copy_that_holds_another_node_by_now_stays(scene, moving):
    moving.SetAndObserveTransformNodeID(parents_of(scene, "linear").GetID())
    world = to_world(moving, PLACES)
    first, second = add_result(scene, RESULT, moving), add_result(scene, OTHER, moving)
    placeUnder(moving, first)
    model = add_points(scene)
    model.SetAndObserveTransformNodeID(moving.GetTransformNodeID())
    shown = to_world(model, PLACES)
    placeUnder(moving, second)
    assert np.array_equal(to_world(model, PLACES), shown)
    assert_shown_registered(moving, OTHER, world)


def test_after_the_result_was_deleted_the_copy_is_used_again(scene, moving):
    moving.SetAndObserveTransformNodeID(parents_of(scene, "linear").GetID())
    world = to_world(moving, PLACES)
    first, second = add_result(scene, RESULT, moving), add_result(scene, OTHER, moving)
    placeUnder(moving, first)
    copy = moving.GetTransformNodeID()
    scene.RemoveNode(first)
    placeUnder(moving, second)
    assert moving.GetTransformNodeID() == copy
    assert_shown_registered(moving, OTHER, world)


def test_what_the_user_put_between_is_kept(scene, moving):
    first, second = add_result(scene, RESULT, moving), add_result(scene, OTHER, moving)
    mine = add_linear(scene, TURN, (1, 2, 3), parent=first, name="mine")
    moving.SetAndObserveTransformNodeID(mine.GetID())
    placeUnder(moving, second)
    assert mine.GetParentTransformNode() is first
    assert moving.GetParentTransformNode() is not mine
    assert_shown_registered(moving, OTHER, PLACES @ TURN.T + (1, 2, 3))


@pytest.mark.parametrize("kind", [None, "linear", "from parent"])
def test_a_second_run_begins_where_the_first_did(scene, moving, kind):
    if kind:
        moving.SetAndObserveTransformNodeID(parents_of(scene, kind).GetID())
    before = imageFromVolume(moving)
    placeUnder(moving, add_result(scene, RESULT, moving))
    warped = imageFromVolume(moving)
    again = imageFromVolume(moving, ignoring=registrationParent(moving))
    assert again.grid.same_as(before.grid) and np.array_equal(again.array, before.array)
    assert not warped.grid.same_as(before.grid)


def test_an_initial_transform_that_the_scan_is_shown_under_counts_once(scene, moving):
    """The user aligned by hand, and gives that transform as the initial one: the result contains it."""
    lower = parents_of(scene, "linear")
    by_hand = lower.GetParentTransformNode()
    moving.SetAndObserveTransformNodeID(lower.GetID())
    before = PLACES @ rotation(0, 40, -10).T + (-3, 5, 8)
    image = imageFromVolume(moving, ignoring=by_hand)
    origin = RAS * (rotation(0, 40, -10) @ moving.GetOrigin() + (-3, 5, 8))
    assert np.allclose(image.grid.origin, origin)
    result = add_result(scene, RESULT, moving)
    placeUnder(moving, result, ignoring=by_hand)
    assert_shown_registered(moving, RESULT, before)
    neighbour = add_points(scene)
    neighbour.SetAndObserveTransformNodeID(by_hand.GetID())
    placeUnder(neighbour, result, ignoring=by_hand)
    assert neighbour.GetParentTransformNode() is result


def test_results_and_copies_are_known_again_in_a_loaded_scene(scene, moving):
    moving.SetAndObserveTransformNodeID(parents_of(scene, "linear").GetID())
    placeUnder(moving, add_result(scene, RESULT, moving))
    scene.SetSaveToXMLString(1)
    scene.Commit()
    loaded = new_scene()
    loaded.SetLoadFromXMLString(1)
    loaded.SetSceneXMLString(scene.GetSceneXMLString())
    loaded.Import()
    again = loaded.GetFirstNodeByName("moving")
    result = registrationParent(again)
    assert result.GetName() == "result" and result.GetScene() is loaded
    copy = again.GetParentTransformNode()
    second = add_result(loaded, OTHER, again, name="second")
    placeUnder(again, second)
    assert again.GetParentTransformNode() is copy and copy.GetParentTransformNode() is second


def test_only_our_results_for_this_scan_count_as_such(scene, moving):
    """A rigid alignment from elsewhere is a parent like any other: where it puts the scan is where we begin."""
    other = add_volume(scene, noise((4, 5, 6)), FIXED["coronal"], "other")
    foreign = add_linear(scene, TURN, (1, 2, 3), name="rigid, by another module")
    foreign.SetNodeReferenceID("spatialRegistrationMoving", moving.GetID())
    moving.SetAndObserveTransformNodeID(foreign.GetID())
    assert registrationParent(moving) is None
    result = add_result(scene, RESULT, moving)
    world = to_world(moving, PLACES)
    placeUnder(moving, result)
    assert registrationParent(moving) is result and registrationParent(moving, other) is None
    assert_shown_registered(moving, RESULT, world)
    moving.SetAndObserveTransformNodeID(add_result(scene, OTHER, other).GetID())
    assert registrationParent(moving) is None
