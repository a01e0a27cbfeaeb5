"""Read DICOM registration objects as ITK transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.affine import Affine
from ..core.field import DisplacementField
from ..core.grid import Grid
from ..errors import InputError
from .dicom_objects import DEFORMABLE, SPATIAL, load_pydicom

_IDENTITY_TOLERANCE = 1e-9


def read_registration(path: Path) -> sitk.Transform:
    """Read a Spatial Registration or Deformable Spatial Registration; fixed to moving points, LPS mm.

    The fixed scan is the one in the object's own frame of reference, the moving scan the other.

    Raises:
        InputError: pydicom is missing, or the file is another object, damaged, or holds several registrations.
    """
    pydicom = load_pydicom()
    try:
        found = pydicom.dcmread(path)
        kind = str(found.SOPClassUID)
        if kind == DEFORMABLE:
            return _deformable(found)
        if kind == SPATIAL:
            return _affine(_spatial(found))
        name = pydicom.uid.UID(kind).name
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # whatever damaged bytes and missing attributes lead to
        raise InputError(f"{path}: not a whole DICOM registration object ({error}); export it again") from error
    raise InputError(f"{path}: holds a {name}, not a registration; give a DICOM registration object (REG)")


def _deformable(found: Any) -> sitk.Transform:
    """Convert x -> post(pre(x) + d(x)), d on a grid in the fixed space: first x + pre^-1 d(x), then post pre.

    The affine map comes last, because it holds outside the grid, too, where there is no d.
    """
    items = list(found.DeformableRegistrationSequence)
    with_grid = [item for item in items if item.get("DeformableRegistrationGridSequence")]
    matrices = [_matrices(item) for item in items if not item.get("DeformableRegistrationGridSequence")]
    if len(with_grid) != 1 or not all(_is_identity(pre) and _is_identity(post) for pre, post in matrices):
        raise InputError("holds several registrations; export one of them alone")
    pre, post = _matrices(with_grid[0])
    field = _field(with_grid[0].DeformableRegistrationGridSequence[0])
    back = np.linalg.inv(pre.matrix)
    inner = DisplacementField(np.einsum("...j,ij->...i", field.array, back), field.grid).to_sitk()
    outer = post @ pre
    return inner if _is_identity(outer) else sitk.CompositeTransform([_affine(outer), inner])


def _matrices(item: Any) -> tuple[Affine, Affine]:
    """Return the maps before and after the displacement; the identity where there is none."""
    names = ("PreDeformationMatrixRegistrationSequence", "PostDeformationMatrixRegistrationSequence")
    sequences = [item.get(name) for name in names]
    pre, post = (_matrix(each[0]) if each else Affine.identity() for each in sequences)
    return pre, post


def _field(item: Any) -> DisplacementField:
    """Read the grid of displacements; where they are undefined (NaN), they are zero."""
    row, column = np.array(item.ImageOrientationPatient, float).reshape(2, 3)
    direction = np.stack([row, column, np.cross(row, column)], axis=1)
    size = [int(n) for n in item.GridDimensions]
    grid = Grid(size[::-1], np.array(item.GridResolution, float), np.array(item.ImagePositionPatient, float), direction)
    values = np.frombuffer(item.VectorGridData, "<f4")[: 3 * int(np.prod(size))]
    return DisplacementField(np.nan_to_num(values.reshape(*grid.shape, 3)), grid)


def _spatial(found: Any) -> Affine:
    """Return the map of fixed to moving points; the object's matrices take both to its own frame of reference."""
    own = found.FrameOfReferenceUID
    items = [(item.FrameOfReferenceUID, _product(item)) for item in found.RegistrationSequence]
    fixed = [map_ for frame, map_ in items if frame == own and _is_identity(map_)]
    moving = [map_ for frame, map_ in items if frame != own]
    moving = moving or [map_ for frame, map_ in items if not _is_identity(map_)]  # both scans in one frame
    if not moving and len(fixed) > 1:
        return Affine.identity()
    if len(moving) != 1:
        raise InputError(f"holds {len(moving)} registrations; export one of them alone")
    return moving[0].inverse


def _product(item: Any) -> Affine:
    """Multiply the matrices of an item; the first one is applied first."""
    result = Affine.identity()
    for registration in item.MatrixRegistrationSequence:
        for matrix in registration.MatrixSequence:
            result = _matrix(matrix) @ result
    return result


def _matrix(item: Any) -> Affine:
    matrix = np.array(item.FrameOfReferenceTransformationMatrix, float).reshape(4, 4)
    return Affine(matrix[:3, :3], matrix[:3, 3])


def _is_identity(map_: Affine) -> bool:
    difference = np.abs(np.c_[map_.matrix - np.eye(3), map_.shift])
    return bool(difference.max() < _IDENTITY_TOLERANCE)


def _affine(map_: Affine) -> sitk.AffineTransform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(map_.matrix.ravel().tolist())
    transform.SetTranslation(map_.shift.tolist())
    return transform
