"""Scenes with nodes that no sign, axis order or half voxel survives. MRML itself says where their points are.

Grids and asymmetric transforms come from the library's tests (`geometry`); nothing here uses the code under test.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest

from helpers.paths import TESTING

slicer = pytest.importorskip("slicer", reason="slicer-core has no wheel for this machine or Python")
if importlib.util.find_spec("slicer.i18n") is None:  # slicer-core has none: the host's
    slicer.__path__.append(str(TESTING / "host" / "slicer_python"))

import vtk  # noqa: E402
from vtk.util import numpy_support  # noqa: E402

from helpers.geometry import grids, node_points  # noqa: E402
from pddnet.core.grid import Grid  # noqa: E402

RAS = np.array([-1.0, -1.0, 1.0])
FIXED = grids((11, 14, 17))
GRIDS = grids((9, 12, 15))
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
SLOPE = np.array([1.0, -2.5, 0.7])  # of `ramp`, per mm along R, A, S


def new_scene():
    """An empty scene that knows all nodes, also segmentations; its logic lives as long as the scene's Python object."""
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    scene.logic = logic
    return scene


def vtk_matrix(array: np.ndarray):
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    return matrix


def ijk_to_ras(grid: Grid) -> np.ndarray:
    """(4, 4) of the grid's definition, written out."""
    matrix = np.eye(4)
    for axis in range(3):
        matrix[:3, axis] = RAS * grid.direction[:, axis] * grid.spacing[axis]
    matrix[:3, 3] = RAS * grid.origin
    return matrix


def vtk_image(array: np.ndarray, kind=vtk.vtkImageData):
    """Image data with a copy of (D, H, W) or (D, H, W, components)."""
    data = kind()
    data.SetDimensions(*array.shape[2::-1])
    flat = np.ascontiguousarray(array).reshape(-1, *array.shape[3:])
    data.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
    return data


def add_volume(scene, array: np.ndarray, grid: Grid, name: str = "CT", kind: str = "vtkMRMLScalarVolumeNode"):
    node = scene.AddNewNodeByClass(kind, name)
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(grid)))
    node.SetAndObserveImageData(vtk_image(array))
    node.CreateDefaultDisplayNodes()
    return node


def noise(shape: tuple[int, ...], kind=np.int16) -> np.ndarray:
    """A different value nearly everywhere."""
    return np.random.default_rng(3).integers(-1000, 1500, shape).astype(kind)


def ramp(points: np.ndarray) -> np.ndarray:
    """Values at RAS points (..., 3): linear, so that linear interpolation is exact."""
    return np.asarray(points) @ SLOPE + 2000.0


def ramp_array(grid: Grid) -> np.ndarray:
    """(D, H, W) float32 of `ramp` at the grid's nodes."""
    return ramp(node_points(grid) * RAS).astype(np.float32)


def add_linear(scene, matrix: np.ndarray, shift=(0, 0, 0), parent=None, name: str = "linear"):
    """A transform node x -> matrix @ x + shift, RAS, to parent."""
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = matrix, shift
    node.SetMatrixTransformToParent(vtk_matrix(whole))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def oriented_grid_transform(displacement, grid: Grid):
    """vtkOrientedGridTransform of displacement(LPS points) -> LPS mm, sampled at the grid's nodes; double."""
    data = vtk_image((displacement(node_points(grid)) * RAS).astype(np.float64))
    data.SetSpacing(*grid.spacing)
    data.SetOrigin(*(RAS * grid.origin))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(data)
    direction = np.eye(4)
    direction[:3, :3] = RAS[:, None] * grid.direction
    transform.SetGridDirectionMatrix(vtk_matrix(direction))
    transform.SetInterpolationModeToLinear()
    return transform


def add_grid(scene, displacement, grid: Grid, *, to_parent: bool = False, parent=None, name: str = "grid"):
    """A grid transform node, stored from parent or to parent."""
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    transform = oriented_grid_transform(displacement, grid)
    (node.SetAndObserveTransformToParent if to_parent else node.SetAndObserveTransformFromParent)(transform)
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def wide_grid(spacing: float = 12.0, margin: float = 60.0) -> Grid:
    """An oblique grid around everything here."""
    return FIXED["left-handed oblique"].isotropic(spacing, margin)


def world_of_voxels(node, index: np.ndarray) -> np.ndarray:
    """RAS world points of voxels (N, 3) given as i, j, k, by MRML alone."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    points = []
    for i, j, k in np.asarray(index, float).tolist():
        local, world = matrix.MultiplyPoint((i, j, k, 1.0))[:3], [0.0, 0.0, 0.0]
        node.TransformPointToWorld(local, world)
        points.append(list(world))
    return np.array(points)


def to_world(node, points: np.ndarray) -> np.ndarray:
    """RAS points (N, 3) of what lies in a node's own coordinates, in the world, by MRML alone."""
    return _mapped(node.TransformPointToWorld, points)


def from_world(node, points: np.ndarray) -> np.ndarray:
    """The other way round."""
    return _mapped(node.TransformPointFromWorld, points)


def _mapped(transformPoint: Callable[[list[float], list[float]], object], points: np.ndarray) -> np.ndarray:
    """The points (N, 3), each by a method that writes into its second argument."""
    result = []
    for point in np.atleast_2d(points).tolist():
        mapped = [0.0, 0.0, 0.0]
        transformPoint(point, mapped)
        result.append(mapped)
    return np.array(result)


def some_voxels(shape: tuple[int, int, int], count: int = 25) -> np.ndarray:
    """(count, 3) random voxels as i, j, k."""
    return np.random.default_rng(5).integers(0, shape[::-1], (count, 3))
