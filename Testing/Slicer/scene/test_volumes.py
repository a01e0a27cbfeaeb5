"""Volumes of the scene to pddnet and back: every voxel where MRML has it, whatever the axes and the parents."""

from __future__ import annotations

import numpy as np
import pytest
from vtk.util import numpy_support

from helpers.geometry import SHEARED, Waves, rotation
from helpers.mrml_geometry import (
    FIXED,
    GRIDS,
    RAS,
    add_grid,
    add_linear,
    add_volume,
    every_grid,
    from_world,
    ijk_to_ras,
    new_scene,
    noise,
    ramp,
    ramp_array,
    slicer,
    some_voxels,
    vtk,
    vtk_image,
    wide_grid,
    world_of_voxels,
)
from pddnet.core.image import Image
from pddnet.core.masks import view_mask
from pddnet.errors import InputError
from PDDRegistrationLib.scene.volumes import imageFromVolume, updateVolumeFromImage

TURN = rotation(-31, 12, 55)
SHEAR = np.array([[1, 0.2, 0], [0, 1, 0.35], [0.1, 0, 1.0]])


def scalars(node) -> np.ndarray:
    """The node's array (D, H, W), by VTK alone."""
    data = node.GetImageData()
    return numpy_support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])


def assert_same_places(image: Image, node, voxels: np.ndarray, atol: float = 1e-6) -> None:
    """Voxels i, j, k of the image lie in the world where the node's do, for pddnet and for SimpleITK."""
    expected = RAS * world_of_voxels(node, voxels)
    assert np.allclose(image.grid.index_to_point(voxels), expected, atol=atol)
    itk = image.to_sitk()
    assert np.allclose([itk.TransformIndexToPhysicalPoint(v) for v in voxels.tolist()], expected, atol=atol)
    for i, j, k in voxels[:5].tolist():
        assert image.array[k, j, i] == node.GetImageData().GetScalarComponentAsDouble(i, j, k, 0)


@every_grid
def test_without_parent(grid):
    node = add_volume(new_scene(), noise(grid.shape), grid)
    image = imageFromVolume(node)
    assert_same_places(image, node, some_voxels(grid.shape))
    assert np.allclose(image.grid.spacing, [2.0, 3.1, 4.3])
    assert image.grid.same_as(grid)


@every_grid
def test_under_a_chain_of_linear_parents(grid):
    scene = new_scene()
    outer = add_linear(scene, 1.3 * TURN, (7, -13, 29))
    inner = add_linear(scene, rotation(0, 40, -10), (-3, 50, 8), parent=outer)
    node = add_volume(scene, noise(grid.shape), grid)
    node.SetAndObserveTransformNodeID(inner.GetID())
    image = imageFromVolume(node)
    assert_same_places(image, node, some_voxels(grid.shape))
    assert np.allclose(image.grid.spacing, 1.3 * grid.spacing)
    assert np.shares_memory(image.array, scalars(node)), "folded into the geometry, not resampled"


@pytest.mark.parametrize("mirrored", [1, -1])
def test_scaled_and_mirrored_along_its_axes(mirrored):
    grid = GRIDS["oblique"]
    scene = new_scene()
    axes = ijk_to_ras(grid)[:3, :3] / grid.spacing
    scale = TURN @ axes @ np.diag([1.5, 0.5, mirrored * 1.1]) @ axes.T
    node = add_volume(scene, noise(grid.shape), grid)
    node.SetAndObserveTransformNodeID(add_linear(scene, scale, (7, -13, 29)).GetID())
    image = imageFromVolume(node)
    assert_same_places(image, node, some_voxels(grid.shape))
    assert np.allclose(image.grid.spacing, grid.spacing * [1.5, 0.5, 1.1])
    assert np.sign(np.linalg.det(image.grid.direction)) == mirrored
    assert np.shares_memory(image.array, scalars(node))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_the_voxels_are_the_nodes_own_and_read_only(kind):
    grid = GRIDS["left-handed"]
    node = add_volume(new_scene(), (noise(grid.shape) % 100).astype(kind), grid)
    before = node.GetMTime(), node.GetImageData().GetMTime()
    image = imageFromVolume(node)
    assert image.array.dtype == kind
    assert np.shares_memory(image.array, scalars(node))
    with pytest.raises(ValueError, match="read-only"):
        image.array[0, 0, 0] = 1
    assert (node.GetMTime(), node.GetImageData().GetMTime()) == before


def test_the_voxels_outlive_the_node():
    scene = new_scene()
    array = noise((60, 70, 80))
    node = add_volume(scene, array, GRIDS["oblique"].isotropic(2.0))
    image = imageFromVolume(node)
    scene.RemoveNode(node)
    del node
    scene.Clear(1)
    assert np.array_equal(image.array, array)


def test_an_extent_that_does_not_begin_at_zero():
    """As a hardened volume has it."""
    grid = GRIDS["left-handed oblique"]
    node = add_volume(new_scene(), noise(grid.shape), grid)
    start = np.array([3, -2, 5])
    bounds = [int(v) for lo, n in zip(start, grid.size, strict=True) for v in (lo, lo + n - 1)]
    node.GetImageData().SetExtent(bounds)
    image = imageFromVolume(node)
    voxels = some_voxels(grid.shape)
    assert np.allclose(image.grid.index_to_point(voxels), RAS * world_of_voxels(node, voxels + start))
    i, j, k = voxels[0]
    data = node.GetImageData()
    assert image.array[k, j, i] == data.GetScalarComponentAsDouble(*(voxels[0] + start).tolist(), 0)


def bent(scene, kind: str):
    """A parent that no grid can express, RAS."""
    if kind == "shear":
        return add_linear(scene, SHEAR, (7, -13, 29))
    field = Waves(shift=(7.0, -13.0, 29.0)).displacement
    if kind == "from parent":
        return add_grid(scene, field, wide_grid())
    if kind == "to parent":
        return add_grid(scene, field, wide_grid(), to_parent=True)
    return add_grid(scene, field, wide_grid(), parent=add_linear(scene, SHEAR @ TURN, (7, -13, 29)))


every_bend = pytest.mark.parametrize("kind", ["shear", "from parent", "to parent", "composite"])


@every_bend
@pytest.mark.parametrize("name", ["oblique", "left-handed oblique", "permuted oblique"])
def test_bent_volumes_are_resampled_where_they_are_shown(kind, name):
    """Values are a formula of the place in the volume, and MRML says which place of it is at a world point."""
    grid = GRIDS[name]
    scene = new_scene()
    node = add_volume(scene, ramp_array(grid), grid)
    node.SetAndObserveTransformNodeID(bent(scene, kind).GetID())
    before = node.GetMTime(), node.GetImageData().GetMTime()
    image = imageFromVolume(node)
    assert (node.GetMTime(), node.GetImageData().GetMTime()) == before
    corners = RAS * world_of_voxels(node, np.array(np.meshgrid(*([0, n - 1] for n in grid.size))).reshape(3, -1).T)
    assert image.grid.contains(corners).all(), "the grid covers the volume"
    assert np.sign(np.linalg.det(image.grid.direction)) == np.sign(np.linalg.det(grid.direction))
    voxels = some_voxels(image.array.shape, 400)
    local = from_world(node, RAS * image.grid.index_to_point(voxels))
    index = grid.point_to_index(RAS * local)
    inside = ((index >= 0) & (index <= grid.size - 1)).all(axis=1)
    outside = ((index < -0.6) | (index > grid.size - 0.4)).any(axis=1)
    assert inside.sum() > 100 and outside.sum() > 10
    found = image.array[tuple(voxels.T[::-1])]
    assert np.abs(found - ramp(local))[inside].max() < 0.1  # ramps rise by 2.8 per mm; VTK inverts to 0.01 mm
    assert np.allclose(found[outside], ramp_array(grid).min())
    assert image.array.dtype == np.float32


def test_bending_keeps_the_spacing():
    scene = new_scene()
    grid = GRIDS["oblique"]
    node = add_volume(scene, noise(grid.shape), grid)
    node.SetAndObserveTransformNodeID(bent(scene, "from parent").GetID())
    assert np.array_equal(imageFromVolume(node).grid.spacing, grid.spacing)


def test_a_tilted_stack_keeps_its_planes_and_a_scaled_one_its_size():
    scene = new_scene()
    grid = GRIDS["identity"]
    tilt = np.array([[1, 0, 0], [0, 1, 0.4], [0, 0, 1.0]])
    node = add_volume(scene, noise(grid.shape), grid)
    node.SetAndObserveTransformNodeID(add_linear(scene, 2 * tilt).GetID())
    image = imageFromVolume(node)
    assert np.allclose(image.grid.spacing, 2 * grid.spacing)
    assert np.allclose(image.grid.direction, grid.direction)
    assert np.allclose(image.grid.size[[0, 2]], grid.size[[0, 2]])


def test_whole_numbers_are_rounded_not_cut_off():
    scene = new_scene()
    grid = GRIDS["oblique"]
    node = add_volume(scene, np.full(grid.shape, -900, np.int16) + noise(grid.shape) % 2, grid)
    node.SetAndObserveTransformNodeID(bent(scene, "shear").GetID())
    image = imageFromVolume(node)
    values = image.array[image.array > -1000].astype(float)
    assert image.array.dtype == np.int16
    assert set(np.unique(values)) == {-900.0, -899.0}
    assert abs(values.mean() + 899.5) < 0.1


@pytest.mark.parametrize(("lowest", "outside"), [(-1000, -1024), (-3024, -3024), (0, 0), (12, 12)])
def test_outside_a_bent_scan_there_is_padding(lowest, outside):
    scene = new_scene()
    grid = GRIDS["identity"]
    array = np.full(grid.shape, 40, np.int16)
    if lowest < 0:
        array[:, :6] = np.random.default_rng(0).integers(-1000, -950, (9, 6, 15))  # measured air
    array[4, 4, 4] = lowest
    node = add_volume(scene, array, grid)
    node.SetAndObserveTransformNodeID(bent(scene, "shear").GetID())
    image = imageFromVolume(node)
    assert image.array[0, 0, -1] == outside
    assert (image.array == outside).mean() > 0.1
    if outside <= -1000:
        assert not view_mask(image).array[0, 0, -1]


def test_label_maps_are_never_mixed():
    scene = new_scene()
    grid = GRIDS["permuted oblique"]
    labels = np.random.default_rng(0).choice(np.array([0, 3, 200], np.uint8), grid.shape)
    node = add_volume(scene, labels, grid, "labels", "vtkMRMLLabelMapVolumeNode")
    node.SetAndObserveTransformNodeID(bent(scene, "from parent").GetID())
    image = imageFromVolume(node)
    voxels = some_voxels(image.array.shape, 300)
    index = grid.point_to_index(RAS * from_world(node, RAS * image.grid.index_to_point(voxels)))
    clear = (np.abs(index - np.rint(index)) < 0.45).all(axis=1) & ((index > 0) & (index < grid.size - 1)).all(axis=1)
    assert clear.sum() > 50
    nearest = labels[tuple(np.rint(index[clear]).astype(int).T[::-1])]
    assert np.array_equal(image.array[tuple(voxels[clear].T[::-1])], nearest)
    assert image.array[-1, -1, -1] in (0, 3, 200) and set(np.unique(image.array)) == {0, 3, 200}


@pytest.mark.parametrize("kind", ["linear", "from parent"])
def test_ignoring_a_parent_and_all_above_it(kind):
    scene = new_scene()
    grid = GRIDS["oblique"]
    above = add_linear(scene, TURN, (100, 0, 0))
    result = add_grid(scene, lambda points: SHEARED(points) - points, wide_grid(), parent=above)
    below = add_linear(scene, TURN, (1, 2, 3)) if kind == "linear" else bent(scene, kind)
    node = add_volume(scene, ramp_array(grid), grid)
    node.SetAndObserveTransformNodeID(below.GetID())
    expected = imageFromVolume(node)
    below.SetAndObserveTransformNodeID(result.GetID())
    found = imageFromVolume(node, ignoring=result)
    assert found.grid.same_as(expected.grid)
    assert np.array_equal(found.array, expected.array)
    assert not imageFromVolume(node).grid.same_as(expected.grid)


def test_ignoring_what_it_does_not_lie_under_changes_nothing():
    scene = new_scene()
    grid = GRIDS["oblique"]
    node = add_volume(scene, noise(grid.shape), grid)
    stranger = add_linear(scene, TURN, (100, 0, 0))
    assert imageFromVolume(node, ignoring=stranger).grid.same_as(grid)


def test_volumes_that_cannot_be_registered_are_named():
    scene = new_scene()
    grid = GRIDS["oblique"]
    with pytest.raises(InputError, match=r"Photo ä: the volume has 3 values per voxel"):
        imageFromVolume(add_volume(scene, np.zeros((*grid.shape, 3), np.uint8), grid, "Photo ä"))
    with pytest.raises(InputError, match="nothing: the volume has no voxels"):
        imageFromVolume(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing"))
    hollow = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    hollow.SetAndObserveImageData(vtk.vtkImageData())
    with pytest.raises(InputError, match="hollow: the volume has no voxels"):
        imageFromVolume(hollow)
    flat = add_volume(scene, noise(grid.shape), grid, "flat")
    flat.SetAndObserveTransformNodeID(add_linear(scene, np.diag([1.0, 1.0, 0.0])).GetID())
    with pytest.raises(InputError, match="flat: "):
        imageFromVolume(flat)


def new_volume(image: Image, like):
    """A volume of the scene of `like`, of its class, filled with the image."""
    node = like.GetScene().AddNewNodeByClass(like.GetClassName(), "warped")
    updateVolumeFromImage(node, image, like)
    return node


@every_grid
def test_a_new_volume_is_where_the_image_is(grid):
    scene = new_scene()
    model = add_volume(scene, noise((4, 5, 6)), FIXED["coronal"], "moving")
    model.SetAndObserveTransformNodeID(add_linear(scene, TURN).GetID())
    image = Image(noise(grid.shape), grid)
    node = new_volume(image, model)
    assert node.GetName() == "warped" and node.GetScene() is scene
    assert node.GetParentTransformNode() is None
    assert_same_places(image, node, some_voxels(grid.shape))
    assert np.array_equal(scalars(node), image.array)
    assert imageFromVolume(node).grid.same_as(grid)


def test_type_window_level_and_colours_are_the_models():
    scene = new_scene()
    grid = GRIDS["oblique"]
    model = add_volume(scene, noise(grid.shape), grid)
    colours = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "warm")
    colours.SetTypeToWarm1()
    display = model.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(333, 44)
    display.SetInterpolate(False)
    display.SetAndObserveColorNodeID(colours.GetID())
    values = np.full(grid.shape, -1000.6, np.float32)
    values[0, 0, :2] = 1e6, -0.4
    node = new_volume(Image(values, grid), model)
    shown = node.GetDisplayNode()
    assert shown is not display
    assert (shown.GetWindow(), shown.GetLevel(), shown.GetInterpolate()) == (333, 44, 0)
    assert not shown.GetAutoWindowLevel()
    assert shown.GetColorNodeID() == colours.GetID()
    assert scalars(node).dtype == np.int16
    assert scalars(node)[0, 0, :3].tolist() == [32767, 0, -1001]
    assert (display.GetWindow(), display.GetLevel()) == (333, 44)


def test_an_automatic_window_is_kept_as_it_was_on_the_model():
    scene = new_scene()
    grid = GRIDS["oblique"]
    model = add_volume(scene, noise(grid.shape), grid)
    window = model.GetDisplayNode().GetWindow(), model.GetDisplayNode().GetLevel()
    node = new_volume(Image(np.full(grid.shape, 40, np.int16), grid), model)
    assert (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()) == window


def test_a_label_map_stays_one():
    scene = new_scene()
    grid = GRIDS["oblique"]
    model = add_volume(scene, noise(grid.shape, np.uint8), grid, "labels", "vtkMRMLLabelMapVolumeNode")
    node = new_volume(Image(np.ones(grid.shape, bool), grid), model)
    assert node.IsA("vtkMRMLLabelMapVolumeNode") and scalars(node).dtype == np.uint8 and scalars(node).all()


def test_updating_a_volume():
    scene = new_scene()
    grid = GRIDS["left-handed oblique"]
    node = add_volume(scene, noise((4, 5, 6)), FIXED["coronal"])
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(333, 44)
    node.SetAndObserveTransformNodeID(add_linear(scene, TURN).GetID())
    image = Image(noise(grid.shape, np.float32), grid)
    events = []
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: events.append("modified"))
    node.AddObserver(slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, lambda *_: events.append("voxels"))
    updateVolumeFromImage(node, image)
    assert events.count("modified") <= 1 and events.count("voxels") == 1
    assert node.GetParentTransformNode() is None
    assert_same_places(image, node, some_voxels(grid.shape))
    assert scalars(node).dtype == np.float32
    assert not np.shares_memory(scalars(node), image.array)
    assert node.GetDisplayNode().GetWindow() == 333


def test_nothing_changes_when_the_image_cannot_be_stored():
    scene = new_scene()
    grid = GRIDS["oblique"]
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    node = add_volume(scene, noise((4, 5, 6)), FIXED["coronal"])
    voxels = node.GetImageData()
    with pytest.raises(InputError, match="empty"):
        updateVolumeFromImage(node, Image(noise(grid.shape), grid), like=empty)
    assert node.GetImageData() is voxels
    assert vtk_image(noise(grid.shape)).GetNumberOfPoints() == noise(grid.shape).size
