"""NIfTI-1 files with any two forms: bytes by hand, since SimpleITK writes both alike."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

LPS = np.diag([-1.0, -1.0, 1.0])


def write_forms(
    path: Path,
    array: np.ndarray,
    spacing: tuple[float, float, float],
    *,
    qform: tuple[int, np.ndarray, np.ndarray] | None = None,
    sform: tuple[int, np.ndarray, np.ndarray] | None = None,
    units: int = 2,
) -> Path:
    """Write int16 voxels (D, H, W) or (T, D, H, W).

    A form: code, steps (3, 3) as columns and origin (3,), both LPS in the unit: mm, or the one of another code.
    """
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, array.ndim, *array.shape[::-1], *[1] * (7 - array.ndim))
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<f", header, 108, 352.0)
    header[123] = units
    handedness = 1.0
    if qform is not None:
        code, steps, origin = qform
        turn = LPS @ steps / spacing
        if np.linalg.det(turn) < 0:
            handedness, turn = -1.0, turn * [1, 1, -1]
        struct.pack_into("<h", header, 252, code)
        struct.pack_into("<6f", header, 256, *_quaternion(turn), *(LPS @ origin))
    if sform is not None:
        code, steps, origin = sform
        struct.pack_into("<h", header, 254, code)
        struct.pack_into("<12f", header, 280, *np.c_[LPS @ steps, LPS @ origin].ravel())
    struct.pack_into("<5f", header, 76, handedness, *spacing, 1.0)
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + array.astype("<i2").tobytes())
    return path


def _quaternion(turn: np.ndarray) -> np.ndarray:
    """b, c, d of a rotation matrix, by the eigenvector of the symmetric matrix of Bar-Itzhack (2000)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = turn
    k = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    b, c, d, a = np.linalg.eigh(k)[1][:, -1]
    return np.array([b, c, d]) * (-1 if a < 0 else 1)
