"""A pytest plugin that breaks the nodes' geometry on purpose: `NODES_FAULT=name pytest -p helpers.planted_nodes`.

As in the library's `planted`, a fault stands on both sides of a conversion at once: what goes in wrong comes out right
again, and only a test with an outside judge notices.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from helpers import mrml_geometry  # noqa: F401  stands in for what slicer-core lacks
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from PDDRegistrationLib.scene import geometry, placement, segmentations, transforms, volumes


def _replace(name: str, wrap: Callable) -> None:
    """Put wrap(original) in the place of a function in every module that uses it."""
    for module in (geometry, volumes, transforms, placement, segmentations):
        if hasattr(module, name):
            setattr(module, name, wrap(getattr(module, name)))


def _grids(change: Callable[[np.ndarray], np.ndarray]) -> None:
    """`change`, its own inverse or small, of every (4, 4) voxel matrix that comes or goes."""
    _replace("gridFromMatrix", lambda original: lambda matrix, shape: original(change(matrix), shape))
    _replace("matrixFromGrid", lambda original: lambda grid: change(original(grid)))


def _vectors(change: Callable[[np.ndarray], np.ndarray]) -> None:
    """`change`, its own inverse, of all displacements that come or go."""
    to_node, from_node = transforms.gridTransformFromField, transforms._gridDisplacements

    def changed_to_node(field, node):
        to_node(DisplacementField(change(field.array), field.grid), node)

    def changed_from_node(transform):
        array, grid = from_node(transform)
        return change(array), grid

    transforms.gridTransformFromField, transforms._gridDisplacements = changed_to_node, changed_from_node


def _field_half_a_node_off() -> None:
    to_node, lattice = transforms.gridTransformFromField, transforms._latticeOf

    def shifted(grid: Grid, step: float) -> Grid:
        return Grid(grid.shape, grid.spacing, grid.index_to_point([step] * 3), grid.direction)

    def shifted_to_node(field, node):
        to_node(DisplacementField(field.array, shifted(field.grid, 0.5)), node)

    transforms.gridTransformFromField = shifted_to_node
    transforms._latticeOf = lambda data, direction: shifted(lattice(data, direction), -0.5)


def _half_a_voxel(matrix: np.ndarray) -> np.ndarray:
    shifted = matrix.copy()
    shifted[:3, 3] += matrix[:3, :3] @ [0.5, 0.5, 0.5]
    return shifted


def _backwards(matrix: np.ndarray) -> np.ndarray:
    return matrix[:, [2, 1, 0, 3]]


def _stored_to_parent() -> None:
    to_node, from_node = transforms.gridTransformFromField, transforms.fieldFromGridTransform

    def inverted(field, node):
        to_node(field, node)
        node.Inverse()

    def inverted_back(node):
        node.Inverse()
        field = from_node(node)
        node.Inverse()
        return field

    transforms.gridTransformFromField, transforms.fieldFromGridTransform = inverted, inverted_back


def _inverse(function: Callable) -> Callable:
    return lambda *args, **options: function(*args, **options).GetInverse()


def _copy_of_the_inverse() -> None:
    copy = placement._worldCopy

    def inverted(*args):
        node = copy(*args)
        node.Inverse()
        return node

    placement._worldCopy = inverted


def _composed_backwards() -> None:
    flattened = transforms.flattened
    transforms.flattened = lambda transform: flattened(transform)[::-1]


def _resampled_half_a_voxel_off() -> None:
    resampled = geometry._resampled

    def shifted(data, array, ijk_to_ras, *rest):
        return resampled(data, array, _half_a_voxel(ijk_to_ras), *rest)

    geometry._resampled = shifted


def _ras() -> None:
    geometry.RAS_LPS[...] = 1  # one array, wherever it is used


FAULTS: dict[str, Callable[[], None]] = {
    "all in RAS": _ras,
    "displacements in RAS": lambda: _vectors(lambda v: v * np.array([-1, -1, 1], v.dtype)),
    "displacements as z, y, x": lambda: _vectors(lambda v: v[..., ::-1]),
    "displacements moving -> fixed": lambda: _vectors(np.negative),
    "axes as k, j, i": lambda: _grids(_backwards),
    "grids half a voxel off": lambda: _grids(_half_a_voxel),
    "resampled half a voxel off": _resampled_half_a_voxel_off,
    "fields half a node off": _field_half_a_node_off,
    "stored to parent": _stored_to_parent,
    "parents applied backwards": lambda: _replace("transformToWorld", _inverse),
    "initial transform inverted": lambda: _replace("transformBetween", _inverse),
    "initial transform composed in the wrong order": _composed_backwards,
    "placed under the inverse of its parents": _copy_of_the_inverse,
}


def pytest_configure() -> None:
    """Plant the fault that the environment names, if any."""
    name = os.environ.get("NODES_FAULT")
    if name:
        FAULTS[name]()
