"""Checks of transforms: refuses what flattens space, leads nowhere, or holds nothing. torch-free."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.composite import leaves
from ..errors import InputError
from .transform_parts import Part, hdf5_parts, matlab_parts, text_parts

HDF5_ENDINGS = (".h5", ".hdf5")
FARTHEST_MM = 1e6  # no scan lies so far away
_FLATTEST = 1e-4  # smallest over largest singular value of a linear map; less flattens space
_STEP_MM = 100.0
_TURNS = {  # first parameters: a quaternion, or its vector part; ITK makes a rotation of any numbers
    **dict.fromkeys(("VersorTransform", "VersorRigid3DTransform", "Similarity3DTransform"), 3),
    **dict.fromkeys(("ScaleVersor3DTransform", "ScaleSkewVersor3DTransform"), 3),
    "QuaternionRigidTransform": 4,
}
_COUNTS_3D = {  # parameters and fixed parameters: where there are fewer, ITK reads what stands behind them
    "TranslationTransform": (3, 0),
    **dict.fromkeys(("ScaleTransform", "ScaleLogarithmicTransform", "VersorTransform"), (3, 3)),
    **dict.fromkeys(("Euler3DTransform", "VersorRigid3DTransform"), (6, 3)),
    **dict.fromkeys(("Similarity3DTransform", "QuaternionRigidTransform"), (7, 3)),
    "ScaleVersor3DTransform": (9, 3),
    **dict.fromkeys(("AffineTransform", "MatrixOffsetTransformBase", "Rigid3DTransform"), (12, 3)),
    "ComposeScaleSkewVersor3DTransform": (12, 3),
    "ScaleSkewVersor3DTransform": (15, 3),
}
_COUNTS_2D = {
    "TranslationTransform": (2, 0),
    **dict.fromkeys(("ScaleTransform", "ScaleLogarithmicTransform"), (2, 2)),
    **dict.fromkeys(("Euler2DTransform", "Rigid2DTransform"), (3, 2)),
    "Similarity2DTransform": (4, 2),
    **dict.fromkeys(("AffineTransform", "MatrixOffsetTransformBase"), (6, 2)),
}
_COUNTS = {2: _COUNTS_2D, 3: _COUNTS_3D}
_RIGID = ("Euler3D", "VersorTransform", "VersorRigid3D", "QuaternionRigid", "Rigid3D")
_NOT_RIGID = 1e-2  # from 1: singular values of the matrix of a rotation
_MOST_NODES = 1e9


def check_map(path: Path, transform: sitk.Transform) -> None:
    """Check a transform in 2-D or 3-D, and the parts of a composite one.

    Raises:
        InputError: it is an empty composite, moves points to no place or very far, or flattens space; or a rotation is
            none.
    """
    parts = leaves(transform)
    if not parts:
        raise InputError(f"{path}: the composite transform is empty; give one that holds a transform")
    for part in [*parts, *([transform] if len(parts) > 1 else [])]:
        _check_single(path, part)


def _check_single(path: Path, transform: sitk.Transform) -> None:
    kind, dimension = transform.GetName(), transform.GetDimension()
    probes = np.vstack([np.zeros(dimension), _STEP_MM * np.eye(dimension), _points_of(transform)])
    moved = np.array([_moved(transform, point) for point in probes.tolist()])
    if not np.isfinite(moved).all() or np.abs(moved).max() > FARTHEST_MM:
        raise InputError(f"{path}: the transform moves points by more than 1 km, or to no place; give another one")
    if transform.IsLinear():
        stretches = np.linalg.svd((moved[1 : 1 + dimension] - moved[0]) / _STEP_MM, compute_uv=False)
        if stretches[-1] < _FLATTEST * stretches[0] or stretches[0] < _FLATTEST:
            raise InputError(f"{path}: the transform is singular, it flattens space; give one that can be inverted")
        if any(name in kind for name in _RIGID) and np.abs(stretches - 1).max() > _NOT_RIGID:
            raise InputError(f"{path}: the rotation in the transform is none; correct or write it again")


def check_text(path: Path, text: str) -> None:
    """Check the numbers of a text file of transforms (.tfm, .txt), before ITK makes room for what they ask for.

    Raises:
        InputError: as for `check_binary`, or a number is not finite.
    """
    for part in text_parts(text):
        if not all(map(math.isfinite, part.parameters + part.fixed)):
            raise InputError(
                f"{path}: the parameters of {part.kind} are not all finite numbers; write the transform again"
            )
        _check_part(path, part)


def check_binary(path: Path) -> None:
    """Check the numbers of a .mat or .h5 file of transforms likewise; other files pass.

    Raises:
        InputError: a transform has too few or too many parameters, a grid not as many nodes as there are parameters, or
            a versor is none; or a .mat file holds something else.
    """
    try:
        name = path.name.lower()
        parts = matlab_parts(path) if name.endswith(".mat") else hdf5_parts(path) if name.endswith(HDF5_ENDINGS) else []
    except ValueError:
        raise InputError(f"{path}: this is no transform in Matlab's version 4; write it again as .tfm or .h5") from None
    for part in parts:
        _check_part(path, part)


def _check_part(path: Path, part: Part) -> None:
    kind, fixed, d = part.kind, len(part.fixed), part.dimension
    wanted = _COUNTS.get(d, {}).get(kind)
    if wanted and (part.count != wanted[0] or not wanted[1] <= fixed <= wanted[1] + 1):
        raise InputError(
            f"{path}: {kind} has {wanted[0]} parameters and {wanted[1]} fixed ones, and the file gives "
            f"{part.count} and {fixed}; write it again"
        )
    if ("BSpline" in kind or "DisplacementField" in kind) and d in _COUNTS:
        nodes = math.prod(part.fixed[:d])
        if fixed < _grid_numbers(d) or not (0 < nodes < _MOST_NODES) or part.count != d * nodes:
            raise InputError(f"{path}: the grid of {kind} and its parameters do not agree; write it again")
    turn = part.parameters[: _TURNS.get(kind, 0)]
    length = math.hypot(*turn)
    if not length <= 1 + _NOT_RIGID or (len(turn) == 4 and length < 1 - _NOT_RIGID):
        raise InputError(f"{path}: the rotation of {kind} is none; correct or write it again")


def has_end(text: str) -> bool:
    """Tell whether the last transform of a text file is complete, up to the line feed, which ITK needs."""
    parts = text_parts(text)
    if not parts or not text.rstrip().rpartition("\n")[2].startswith("FixedParameters:"):
        return False
    kind, d = parts[-1].kind, parts[-1].dimension
    wanted = 0 if "Translation" in kind else _grid_numbers(d) if "BSpline" in kind or "Field" in kind else d
    return len(parts[-1].fixed) >= wanted


def _grid_numbers(dimension: int) -> int:
    """Count the fixed parameters of a grid: size, origin, spacing, direction."""
    return dimension * (dimension + 3)


def _points_of(transform: sitk.Transform) -> np.ndarray:
    """Return points (2^d, d) within the grid of a transform that has one, else none (0, d)."""
    fixed, d = np.array(transform.GetFixedParameters()), transform.GetDimension()
    if transform.GetName() not in ("DisplacementFieldTransform", "BSplineTransform") or len(fixed) < _grid_numbers(d):
        return np.zeros((0, d))
    size, origin, spacing = fixed[: 3 * d].reshape(3, d)
    direction = fixed[3 * d : _grid_numbers(d)].reshape(d, d)
    shares = np.stack(np.meshgrid(*[[0.3, 0.7]] * d, indexing="ij"), axis=-1).reshape(-1, d)
    return origin + (shares * (size - 1) * spacing) @ direction.T


def _moved(transform: sitk.Transform, point: list[float]) -> tuple[float, ...]:
    try:
        return tuple(transform.TransformPoint(point))
    except (RuntimeError, OverflowError):
        return (math.nan,) * len(point)
