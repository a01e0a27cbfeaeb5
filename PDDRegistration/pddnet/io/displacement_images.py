"""Displacement images: reads those of ITK and NiftyReg, refuses those that mean something else.

ITK and ANTs store displacements in LPS mm. NiftyReg stores positions or displacements in RAS mm and says so by the
intent name; FSL by the intent code. Others, such as SPM, store positions without saying so: these are recognised.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..errors import InputError
from .nifti_fields import read_image_fields
from .nifti_forms import check_forms
from .nifti_headers import NIFTI_ENDINGS, count_non_finite
from .paths import itk_name

_RAS = np.array([-1.0, -1.0, 1.0])  # times a vector in RAS it is the vector in LPS
_NIFTYREG = "NREG_TRANS"
_POSITIONS, _DISPLACEMENTS = 0, 1  # NiftyReg's kinds of fields; above: grids of splines, and velocities
_FSL_INTENTS = range(2006, 2019)
_PROBES_PER_AXIS = 12
_POSITION_SLOPE = 0.7  # mm per mm along every axis: positions grow by 1, displacements by far less


def read_displacements(path: Path) -> tuple[sitk.DisplacementFieldTransform, list[str]]:
    """Read a displacement image as a transform, fixed to moving points in LPS mm, with warnings.

    Raises:
        InputError: its values are not finite, or no displacements that can be read.
        RuntimeError: SimpleITK cannot read it as an image of vectors.
    """
    kind = _niftyreg_kind(path)
    if missing := count_non_finite(path):  # ITK reads them as 0
        raise non_finite(path, missing)
    image = sitk.ReadImage(itk_name(path), sitk.sitkVectorFloat64)
    dimension = image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() != dimension or dimension not in (2, 3):
        return sitk.DisplacementFieldTransform(image), []  # ITK says what is wrong
    array = sitk.GetArrayViewFromImage(image)
    if missing := int(np.count_nonzero(~np.isfinite(array))):
        raise non_finite(path, missing)
    if dimension == 2:
        return _plane_displacements(path, image, kind), []
    grid = Grid.of(image)
    warnings = check_forms(path, grid) if path.name.lower().endswith(NIFTI_ENDINGS) else []
    if kind is not None:
        moved = array * _RAS - (grid.points() if kind == _POSITIONS else 0)
        name = "deformation" if kind == _POSITIONS else "displacement"
        warnings.append(f"{path}: a {name} field of NiftyReg (RAS mm); it was converted to displacements in LPS mm")
        return DisplacementField(moved, grid).to_sitk(), warnings
    if _are_positions(array, grid):
        raise _positions(path)
    return sitk.DisplacementFieldTransform(image), warnings


def _plane_displacements(path: Path, image: sitk.Image, kind: int | None) -> sitk.DisplacementFieldTransform:
    """Turn a 2-D image into a transform. Raise InputError where it is NiftyReg's, or holds positions."""
    if kind is not None:
        raise InputError(f"{path}: a 2-D field of NiftyReg; convert it to ITK's displacements in LPS mm first")
    if min(image.GetSize()) < 2:
        return sitk.DisplacementFieldTransform(image)
    slopes = [np.gradient(sitk.GetArrayViewFromImage(image)[..., axis], axis=1 - axis).mean() for axis in (0, 1)]
    steps = np.array(image.GetSpacing()) * np.diag(np.reshape(image.GetDirection(), (2, 2)))
    if (np.array(slopes) / np.where(steps == 0, np.inf, steps) > _POSITION_SLOPE).all():
        raise _positions(path)
    return sitk.DisplacementFieldTransform(image)


def _positions(path: Path) -> InputError:
    return InputError(
        f"{path}: the image holds positions, not displacements; subtract each voxel's position, or convert it with "
        "the program that wrote it"
    )


def non_finite(path: Path, count: int) -> InputError:
    """Make the error of a transform with values that are no numbers."""
    return InputError(f"{path}: {count} numbers of the transform are NaN or infinite; export it again")


def _niftyreg_kind(path: Path) -> int | None:
    """Return the kind of NiftyReg's field; None for a file of another program.

    Raises:
        InputError: the header declares values that are no displacements.
    """
    fields = read_image_fields(path) if path.name.lower().endswith(NIFTI_ENDINGS) else None
    if fields is None:
        return None
    if fields.intent in _FSL_INTENTS:
        raise InputError(f"{path}: a warp of FSL, in coordinates of its own; convert it to ITK's displacements first")
    if fields.intent_name.split(b"\0")[0].decode("latin-1") != _NIFTYREG:
        return None
    if fields.intent_parameter not in (_POSITIONS, _DISPLACEMENTS):
        raise InputError(
            f"{path}: a grid of splines or velocities of NiftyReg; convert it with reg_transform -disp first"
        )
    return int(fields.intent_parameter)


def _are_positions(array: np.ndarray, grid: Grid) -> bool:
    """Tell whether vectors (D, H, W, 3) are positions in RAS or LPS mm, by how they grow along x, y and z."""
    some = [np.unique(np.linspace(0, n - 1, _PROBES_PER_AXIS).astype(int)) for n in grid.shape]
    k, j, i = np.meshgrid(*some, indexing="ij")
    points = grid.index_to_point(np.stack([i, j, k], axis=-1)).reshape(-1, 3)
    values = array[np.ix_(*some)].reshape(-1, 3)
    slopes = np.linalg.lstsq(points - points.mean(axis=0), values - values.mean(axis=0), rcond=None)[0]
    x, y, z = np.diag(slopes)  # x and y change their sign in RAS; those of a turn are all negative
    return bool(z > _POSITION_SLOPE and abs(x) > _POSITION_SLOPE and abs(y) > _POSITION_SLOPE)
