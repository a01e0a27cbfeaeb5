"""A pytest plugin that breaks pddnet's geometry on purpose: `PDDNET_FAULT=name pytest -p helpers.planted`.

Every fault is planted on both sides of a conversion at once, as it happens in practice: what goes in wrong comes out
right again, and only a test with an outside judge notices.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid

Change = Callable[[np.ndarray], np.ndarray]


def _points(inwards: Change, outwards: Change) -> None:
    """Between an index and its point, `outwards`; on the way back, `inwards`."""
    to_point, to_index = Grid.index_to_point, Grid.point_to_index
    Grid.index_to_point = lambda self, index: outwards(to_point(self, index))
    Grid.point_to_index = lambda self, points: to_index(self, inwards(np.asarray(points, float)))


def _indices(outwards: Change, inwards: Change) -> None:
    """An index is changed before it becomes a point, and back after it came from one."""
    to_point, to_index = Grid.index_to_point, Grid.point_to_index
    Grid.index_to_point = lambda self, index: to_point(self, outwards(np.asarray(index, float)))
    Grid.point_to_index = lambda self, points: inwards(to_index(self, points))


def _vectors(change: Change) -> None:
    """Displacements are changed on the way to ITK, and back on the way from it; `change` is its own inverse."""
    to_sitk, from_transform = DisplacementField.to_sitk, DisplacementField.from_transform.__func__

    def changed(field: DisplacementField) -> DisplacementField:
        return DisplacementField(change(field.array), field.grid)

    DisplacementField.to_sitk = lambda self: to_sitk(changed(self))
    DisplacementField.from_transform = classmethod(lambda cls, *args: changed(from_transform(cls, *args)))


def _field_half_a_voxel_off() -> None:
    to_sitk = DisplacementField.to_sitk

    def shifted(self: DisplacementField):
        grid = Grid(self.grid.shape, self.grid.spacing, self.grid.index_to_point([0.5, 0.5, 0.5]), self.grid.direction)
        return to_sitk(DisplacementField(self.array, grid))

    DisplacementField.to_sitk = shifted


def _points_to_fixed() -> None:
    DisplacementField.transform_points = lambda self, points: np.asarray(points, float) - self.sample(points)


def _composed_backwards() -> None:
    compose = DisplacementField.compose
    DisplacementField.compose = lambda self, inner: compose(inner, self)


def _warp_by_the_inverse() -> None:
    warp = DisplacementField.warp
    DisplacementField.warp = lambda self, *args, **options: warp(self.invert()[0], *args, **options)


def _flip(values: np.ndarray) -> np.ndarray:
    return values * np.array([-1, -1, 1], values.dtype)


FAULTS: dict[str, Callable[[], None]] = {
    "points in RAS": lambda: _points(_flip, _flip),
    "displacements in RAS": lambda: _vectors(_flip),
    "indices as k, j, i": lambda: _indices(lambda v: v[..., ::-1], lambda v: v[..., ::-1]),
    "displacements as z, y, x": lambda: _vectors(lambda v: v[..., ::-1]),
    "points half a voxel off": lambda: _indices(lambda v: v + 0.5, lambda v: v - 0.5),
    "fields half a voxel off": _field_half_a_voxel_off,
    "volumes warped by the inverse": _warp_by_the_inverse,
    "points moved the other way": _points_to_fixed,
    "displacements moving -> fixed": lambda: _vectors(np.negative),
    "composed in the wrong order": _composed_backwards,
}


def pytest_configure() -> None:
    """Plant the fault that the environment names, if any."""
    name = os.environ.get("PDDNET_FAULT")
    if name:
        FAULTS[name]()
