"""Corresponding points and the rigid fit, on oblique, anisotropic, flipped grids, against VTK, ITK and formulas."""

from __future__ import annotations

import numpy as np
import pytest
import vtk
from scipy.spatial import cKDTree

from helpers import mrml_geometry as mrml
from helpers.geometry import Waves, grids, inner_points, rotation, sitk_field
from helpers.mrml_geometry import RAS, every_grid

GRID = grids((28, 30, 33))["left-handed oblique"]
WAVES = Waves()
TURN, SHIFT = rotation(7, -12, 19), np.array([11.0, -4.0, 6.5])  # RAS


def _waves(scene, parent=None):
    """The waves as a node, and as ITK's transform of LPS points."""
    node = mrml.add_grid(scene, WAVES.displacement, GRID, parent=parent)
    return node, sitk_field(WAVES.field(GRID))


def test_points_correspond_as_itk_says_and_back():
    from PDDRegistrationLib.compare.correspondence import fixedPoint, movingPoint

    node, itk = _waves(mrml.new_scene())
    for point in inner_points(GRID, margin=4):
        moving = RAS * np.array(itk.TransformPoint(point.tolist()))
        assert np.linalg.norm(moving - RAS * point) > 1
        assert movingPoint(node, RAS * point) == pytest.approx(moving, abs=1e-3)
        assert fixedPoint(node, moving) == pytest.approx(RAS * point, abs=0.02)


def test_points_correspond_as_mrml_says_where_the_transform_has_a_parent():
    from PDDRegistrationLib.compare.correspondence import fixedPoint, movingPoint

    scene = mrml.new_scene()
    node, _itk = _waves(scene, mrml.add_linear(scene, TURN, SHIFT))
    under = mrml.add_volume(scene, mrml.noise((3, 4, 5)), grids((3, 4, 5))["oblique"])
    under.SetAndObserveTransformNodeID(node.GetID())
    own = RAS * inner_points(GRID, margin=6)[:10]
    world = mrml.to_world(under, own)
    for moving, fixed in zip(own, world, strict=True):
        assert fixedPoint(node, moving) == pytest.approx(fixed, abs=0.02)
        assert movingPoint(node, fixed) == pytest.approx(moving, abs=0.02)


def test_where_vtk_finds_no_inverse_there_is_no_corresponding_point():
    from PDDRegistrationLib.compare.correspondence import fixedPoint

    node = mrml.add_grid(mrml.new_scene(), _torn, GRID)
    transform = mrml.oriented_grid_transform(_torn, GRID)
    known = []
    for point in (RAS * inner_points(GRID)).tolist():
        back = transform.TransformPoint(transform.GetInverse().TransformPoint(point))
        known.append(np.linalg.norm(np.subtract(back, point)) <= 0.5)
        found = fixedPoint(node, np.array(point))
        assert (found is not None) == known[-1]
        if found is not None:
            assert transform.TransformPoint(found) == pytest.approx(point, abs=0.5)
    assert set(known) == {True, False}


def _torn(points: np.ndarray) -> np.ndarray:
    """Displacement, mm, that differs wildly from voxel to voxel."""
    return np.random.default_rng(4).uniform(-25, 25, points.shape)


@every_grid
def test_a_rigid_motion_is_found_wherever_it_is_sampled(grid):
    from PDDRegistrationLib.compare.local_rigid import ballPoints, rigidFit

    turn = RAS[:, None] * TURN * RAS  # of LPS points
    transform = mrml.oriented_grid_transform(lambda points: points @ turn.T + RAS * SHIFT - points, grid)
    centre = RAS * grid.index_to_point((grid.size - 1) / 2)
    points = ballPoints(centre, 8.0)
    fit = rigidFit(transform, points)
    assert fit.matrix[:3, :3] == pytest.approx(TURN, abs=1e-6)
    assert fit.matrix[:3, 3] == pytest.approx(SHIFT, abs=1e-4)
    assert fit.shift == pytest.approx(TURN @ centre + SHIFT - centre, abs=1e-4)
    assert fit.angle_degrees == pytest.approx(np.degrees(np.arccos((np.trace(TURN) - 1) / 2)), abs=1e-4)
    assert fit.largest_mm < 1e-4


@pytest.mark.parametrize("radius", [10.0, 25.0])
def test_the_fit_is_that_of_vtks_landmark_transform(radius: float):
    from PDDRegistrationLib.compare.local_rigid import ballPoints, rigidFit

    transform = mrml.oriented_grid_transform(WAVES.displacement, GRID)
    points = ballPoints(RAS * GRID.index_to_point((GRID.size - 1) / 2), radius)
    moved = np.array([transform.TransformPoint(point) for point in points.tolist()])
    landmarks = vtk.vtkLandmarkTransform()
    landmarks.SetModeToRigidBody()
    for places, use in ((points, landmarks.SetSourceLandmarks), (moved, landmarks.SetTargetLandmarks)):
        listed = vtk.vtkPoints()
        listed.SetDataTypeToDouble()
        for place in places.tolist():
            listed.InsertNextPoint(place)
        use(listed)
    landmarks.Update()
    expected = np.array([[landmarks.GetMatrix().GetElement(row, column) for column in range(4)] for row in range(4)])
    fit = rigidFit(transform, points)
    assert fit.matrix == pytest.approx(expected, abs=1e-4)
    errors = np.linalg.norm(points @ expected[:3, :3].T + expected[:3, 3] - moved, axis=1)
    assert errors.max() > 0.3  # the waves are not rigid
    assert fit.residual_mm == pytest.approx(np.sqrt((errors**2).mean()), abs=1e-3)
    assert fit.largest_mm == pytest.approx(errors.max(), abs=1e-3)


def test_a_mirrored_place_is_turned_not_mirrored():
    from PDDRegistrationLib.compare.local_rigid import ballPoints, rigidFit

    mirror = vtk.vtkTransform()
    mirror.Scale(-1, 1, 1)
    fit = rigidFit(mirror, ballPoints(np.array([5.0, 6.0, 7.0]), 10.0))
    assert np.linalg.det(fit.matrix[:3, :3]) == pytest.approx(1)


def test_a_ball_is_round_and_even():
    from PDDRegistrationLib.compare.local_rigid import ballPoints

    points = ballPoints(np.array([5.0, -6.0, 7.0]), 40.0)
    away = np.linalg.norm(points - [5, -6, 7], axis=1)
    assert away.max() == pytest.approx(40)
    assert points.mean(axis=0) == pytest.approx([5, -6, 7])
    assert (away**2).mean() == pytest.approx(0.6 * 40**2, rel=0.02)  # of a solid ball


def _segmentation(scene, mask: np.ndarray, grid, parent=None):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    data = mrml.vtk_image(mask.astype(np.uint8), mrml.slicer.vtkOrientedImageData)
    data.SetGeometryFromImageToWorldMatrix(mrml.vtk_matrix(mrml.ijk_to_ras(grid)))
    segment = mrml.slicer.vtkSegment()
    segment.SetName("Organ")
    segment.AddRepresentation("Binary labelmap", data)
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    node.GetSegmentation().AddSegment(segment, "organ")
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


@every_grid
def test_the_points_of_a_segment_are_its_voxels_near_its_middle(grid):
    from PDDRegistrationLib.compare.segment_points import segmentPoints

    scene = mrml.new_scene()
    mask = np.zeros(grid.shape, bool)
    mask[1:8, 2:9, 3:12] = True
    parent = mrml.add_linear(scene, TURN, SHIFT)
    node = _segmentation(scene, mask, grid, parent)
    index = np.argwhere(mask)[:, ::-1]
    own = np.c_[index, np.ones(len(index))] @ mrml.ijk_to_ras(grid)[:3].T
    world = own @ TURN.T + SHIFT
    middle = world[np.argmin(np.linalg.norm(world - world.mean(axis=0), axis=1))]
    for radius in (9.0, 500.0):
        expected = world[np.linalg.norm(world - middle, axis=1) <= radius]
        found = segmentPoints(node, "organ", radius)
        assert len(found) == len(expected)
        assert len(expected) == len(world) if radius > 100 else len(expected) < len(world) / 2
        assert cKDTree(expected).query(found)[0].max() < 1e-3
        assert cKDTree(found).query(expected)[0].max() < 1e-3


def test_of_a_single_voxel_the_ball_around_it_counts():
    from PDDRegistrationLib.compare.segment_points import segmentPoints

    grid = grids()["oblique"]
    mask = np.zeros(grid.shape, bool)
    mask[4, 5, 6] = True
    points = segmentPoints(_segmentation(mrml.new_scene(), mask, grid), "organ", 12.0)
    assert points.mean(axis=0) == pytest.approx(RAS * grid.index_to_point(np.array([6.0, 5.0, 4.0])), abs=1e-4)
    assert np.linalg.norm(points - points.mean(axis=0), axis=1).max() == pytest.approx(12)


def test_a_segment_that_is_gone_or_empty_is_named():
    from pddnet.errors import InputError
    from PDDRegistrationLib.compare.segment_points import segmentPoints

    grid = grids()["oblique"]
    node = _segmentation(mrml.new_scene(), np.zeros(grid.shape, bool), grid)
    with pytest.raises(InputError, match="The segment Organ is empty"):
        segmentPoints(node, "organ", 40.0)
    with pytest.raises(InputError, match="organs does not have that segment"):
        segmentPoints(node, "liver", 40.0)


@every_grid
def test_an_aligned_copy_stands_where_the_rigid_motion_puts_it(grid):
    """Under other parents too; the volume itself stays where it is."""
    from PDDRegistrationLib.scene.proxies import proxyUnder
    from PDDRegistrationLib.scene.scene_changes import SceneChanges

    scene = mrml.new_scene()
    bed = mrml.add_linear(scene, rotation(0, 0, 20), (3, 4, 5), name="bed")
    volume = mrml.add_volume(scene, mrml.noise(grid.shape), grid)
    index = mrml.some_voxels(grid.shape)
    volume.SetAndObserveTransformNodeID(bed.GetID())
    standing = mrml.world_of_voxels(volume, index)
    result, _itk = _waves(scene)
    bed.SetAndObserveTransformNodeID(result.GetID())
    backwards = mrml.add_linear(scene, TURN.T, -TURN.T @ SHIFT, name="rigid")
    changes = SceneChanges()
    copy = proxyUnder(changes, volume, result, backwards, "CT, rigid")
    assert mrml.world_of_voxels(copy, index) == pytest.approx((standing - SHIFT) @ TURN, abs=1e-4)
    assert volume.GetParentTransformNode() is bed
    assert copy.GetHideFromEditors()
    changes.undo()
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
