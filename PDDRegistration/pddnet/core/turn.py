"""Turn scans about their middle, and express a result between turned scans between the scans as they are."""

from __future__ import annotations

import dataclasses

import numpy as np

from .affine import Affine
from .field import DisplacementField
from .grid import Grid
from .image import Image
from .linear import LinearTransform
from .result import InverseParts, Registration
from .structures import StructureFit


def about(centre: np.ndarray, matrix: np.ndarray) -> Affine:
    """Return the map by an orthogonal matrix (3, 3) that leaves `centre` (3,) LPS mm where it is."""
    return Affine(matrix, centre - matrix @ centre)


def turned_image(image: Image, turn: Affine) -> Image:
    """Turn an image: its voxels stay, and its grid moves by an orthogonal map of points, LPS mm."""
    return Image(image.array, turned_grid(image.grid, turn))


def turned_grid(grid: Grid, turn: Affine) -> Grid:
    """Move a grid by an orthogonal map of points, LPS mm."""
    return Grid(grid.shape, grid.spacing, turn.points(grid.origin), turn.matrix @ grid.direction)


def turned_back(result: Registration, fixed: Affine, moving: Affine) -> Registration:
    """Express a result between turned scans between the scans before they were turned.

    If T maps turned fixed points to turned moving points, moving^-1 T fixed maps the others. The nodes of the field's
    grid are turned back with the fixed scan, so that nothing is interpolated. The motion of the structures stays: it is
    measured between the scans before they were turned.

    Args:
        fixed, moving: the orthogonal maps by which the scans were turned, LPS mm.
    """
    back = fixed.inverse
    linear, parts, error = result.linear, result.inverse_parts, result.expected_error
    return dataclasses.replace(
        result,
        field=field_back(result.field, fixed, moving),
        uncertainty=turned_image(result.uncertainty, back),
        fixed_grid=turned_grid(result.fixed_grid, back),
        linear=None if linear is None else _linear(linear, fixed, moving),
        inverse_parts=None if parts is None else _parts(parts, fixed, moving),
        expected_error=None if error is None else turned_image(error, back),
        structures=tuple(_structure(each, back) for each in result.structures),
    )


def field_back(field: DisplacementField, fixed: Affine, moving: Affine) -> DisplacementField:
    """Express a field between turned scans between the scans before they were turned; see `turned_back`."""
    back, nodes = fixed.inverse, field.grid.points()
    landed = moving.inverse.points(nodes + field.array)
    return DisplacementField((landed - back.points(nodes)).astype(np.float32), turned_grid(field.grid, back))


def _linear(linear: LinearTransform, fixed: Affine, moving: Affine) -> LinearTransform:
    affine = moving.inverse @ linear.affine @ fixed
    return LinearTransform(affine, linear.transform_type, fixed.inverse.points(linear.centre))


def _parts(parts: InverseParts, fixed: Affine, moving: Affine) -> InverseParts:
    """Turn the inverse's two parts: the affine map between the scans as they are, and the field within the fixed."""
    back = fixed.inverse
    vectors = np.einsum("ij,...j->...i", back.matrix, parts.back.array)
    field = DisplacementField(vectors.astype(np.float32), turned_grid(parts.back.grid, back))
    return InverseParts(moving.inverse @ parts.affine @ fixed, field)


def _structure(fit: StructureFit, back: Affine) -> StructureFit:
    """Turn the place and the shift of a structure, which are in the fixed space."""
    centre, shift = fit.centre_lps_mm, fit.shift_lps_mm
    return dataclasses.replace(
        fit,
        centre_lps_mm=None if centre is None else _vector(back.points(np.array(centre))),
        shift_lps_mm=None if shift is None else _vector(back.matrix @ np.array(shift)),
    )


def _vector(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
