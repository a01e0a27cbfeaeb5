"""The two places that a NIfTI header gives a volume, qform and sform: says where they differ, refuses shear.

Where both are there ITK, and with it Slicer, uses an orthogonal sform of code 1 (scanner coordinates), else the qform;
nibabel uses any sform. The volume is read as ITK reads it, and where that is in doubt the user is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.grid import ORTHOGONAL, Grid
from ..errors import InputError
from .nifti_fields import read_image_fields

_DIFFERENT_MM = 0.5  # quaternions of float32 place the far corner of a scan to about 0.2 mm
_SCANNER, _ALIGNED = 1, 2  # codes of a form: the scanner's coordinates, those of another scan; above: an atlas's
_LPS = np.diag([-1.0, -1.0, 1.0])  # times a vector in RAS, which NIfTI uses


@dataclass(frozen=True)
class Form:
    """Affine map of voxel indices (i, j, k) to LPS mm, as one of the two forms gives it."""

    name: str
    code: int
    steps: np.ndarray  # (3, 3), columns are the steps from voxel to voxel along i, j, k
    origin: np.ndarray  # (3,)

    @property
    def sheared(self) -> bool:
        """Tell whether the axes are not at right angles."""
        lengths = np.linalg.norm(self.steps, axis=0)
        cosines = self.steps.T @ self.steps / np.outer(lengths, lengths).clip(min=1e-12)
        return bool(np.abs(cosines - np.eye(3)).max() > ORTHOGONAL)

    def distance_mm(self, steps: np.ndarray, origin: np.ndarray, size: np.ndarray) -> float:
        """Return how far the other affine map places a corner voxel of a volume of this size elsewhere, at most."""
        ends = np.stack(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij"), axis=-1).reshape(-1, 3)
        return float(np.linalg.norm(ends @ (self.steps - steps).T + self.origin - origin, axis=-1).max())


def check_forms(path: Path, grid: Grid) -> list[str]:
    """Compare both forms of a NIfTI file with the grid that ITK read, and return warnings.

    Raises:
        InputError: a form with the coordinates of a scan is sheared, as by a tilted gantry.
    """
    forms = read_forms(path)
    for form in forms:
        if form.sheared and (form.code in (_SCANNER, _ALIGNED) or len(forms) == 1):
            raise InputError(
                f"{path}: the {form.name} of the header is sheared (gantry tilt); resample the scan to a straight grid "
                "first"
            )
    far = {form.name: form.distance_mm(grid.axes, grid.origin, grid.size) for form in forms}
    worst = max(far, key=lambda name: far[name], default="")
    if not worst or far[worst] < _DIFFERENT_MM:
        return []
    used = min(far, key=lambda name: far[name])
    if far[used] < _DIFFERENT_MM:
        return [
            f"{path}: sform and qform of the header place the volume {far[worst]:.1f} mm apart; the {used} is used, "
            "as ITK and Slicer do"
        ]
    spacing = " x ".join(f"{step:.4g}" for step in grid.spacing)
    return [
        f"{path}: the {worst} of the header does not agree with its voxel spacing (pixdim), by up to "
        f"{far[worst]:.1f} mm; the spacing of {spacing} mm is used, as ITK and Slicer do"
    ]


def read_forms(path: Path) -> list[Form]:
    """Read the forms that the header declares, sform first; none of another kind of file, or without codes."""
    fields = read_image_fields(path)
    if fields is None or not fields.is_nifti:
        return []
    qform_code, sform_code = fields.forms
    forms = []
    if sform_code > 0:
        affine = np.array(fields.rows).reshape(3, 4) * fields.mm_per_unit
        if affine[:, :3].any():  # ITK, too, ignores one that is all zero
            forms.append(Form("sform", sform_code, _LPS @ affine[:, :3], _LPS @ affine[:, 3]))
    if qform_code > 0:
        handedness = -1.0 if fields.pixdim[0] < 0 else 1.0
        steps = _rotation(*fields.quaternion) * np.array(fields.spacing_mm) * [1.0, 1.0, handedness]
        forms.append(Form("qform", qform_code, _LPS @ steps, _LPS @ np.array(fields.offset) * fields.mm_per_unit))
    return [form for form in forms if np.isfinite(form.steps).all() and np.isfinite(form.origin).all()]


def _rotation(b: float, c: float, d: float) -> np.ndarray:
    """Convert the last three numbers of a unit quaternion to a rotation matrix (3, 3)."""
    a = np.sqrt(max(1 - b * b - c * c - d * d, 0.0))
    scale = 1 / np.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = (value * scale for value in (a, b, c, d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
