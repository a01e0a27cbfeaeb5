"""Find the marrow cavity of the femur slice by slice in CT and T1 MR, where its middle is exact to about 1 mm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from pddnet.core.image import Image
from pddnet.io.volumes import read_volume

# Of each pair, for MR and CT: the voxel (i, j) of the cavity in the first slice, and the slices of the shaft.
SHAFTS = {
    "sts_014_ct_mr": (((74, 120), (2, 50)), ((85, 135), (2, 52))),
    "sts_036_ct_mr": (((122, 69), (2, 16)), ((148, 90), (2, 22))),
}
CORTEX_HU = 300.0
MARROW_SIGNAL = 450.0  # fat is bright in T1, cortical bone dark
FEWEST_VOXELS = 15
MOST_STEP_VOXELS = 8.0  # between the middles of neighbouring slices

Shaft = np.ndarray
"""Middles (N, 3) of the cavity, LPS mm, from slice to slice."""


def load_shafts(folder: Path) -> dict[str, tuple[Shaft, Shaft]]:
    """Find the shafts of every pair of SHAFTS in its folder: in MR, and in CT."""
    found = {}
    for name, (mr, ct) in SHAFTS.items():
        scans = (read_volume(folder / name / f"{kind}.nii.gz")[0] for kind in ("mr", "ct"))
        found[name] = follow(next(scans), marrow_in_mr, *mr), follow(next(scans), marrow_in_ct, *ct)
    return found


def marrow_in_mr(plane: np.ndarray) -> np.ndarray:
    """Return where a slice (H, W) of T1 MR is as bright as fat."""
    return plane > MARROW_SIGNAL


def marrow_in_ct(plane: np.ndarray) -> np.ndarray:
    """Return what cortical bone encloses in a slice (H, W) in HU."""
    cortex = plane > CORTEX_HU
    return np.asarray(ndimage.binary_fill_holes(cortex)) & ~cortex


def follow(
    image: Image, marrow: Callable[[np.ndarray], np.ndarray], first: tuple[int, int], slices: tuple[int, int]
) -> Shaft:
    """Follow the cavity from slice to slice, as long as its middle moves by less than MOST_STEP_VOXELS.

    Args:
        first: voxel (i, j) of the cavity in the first slice. slices: the first one, and the one after the last.
    """
    middles, last = [], np.array(first, float)
    for k in range(*slices):
        parts, count = ndimage.label(marrow(image.array[k]))
        numbers = [n for n in range(1, count + 1) if (parts == n).sum() >= FEWEST_VOXELS]
        centres = [np.array(c)[::-1] for c in ndimage.center_of_mass(parts > 0, parts, numbers)]
        nearest = min(centres, key=lambda c: float(np.linalg.norm(c - last)), default=None)
        if nearest is None or np.linalg.norm(nearest - last) > MOST_STEP_VOXELS:
            break
        last = nearest
        middles.append((*last, k))
    return image.grid.index_to_point(np.array(middles, float))


def gaps_of_shafts(fixed: Shaft, moving: Shaft, move: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the distances (N,) in mm, across the body's axis, of moved fixed middles from the line of the moving ones.

    Along the shaft nothing is measured: the line has no marks there.
    """
    line = moving[np.argsort(moving[:, 2])]
    points = move(fixed)
    across = [points[:, axis] - np.interp(points[:, 2], line[:, 2], line[:, axis]) for axis in (0, 1)]
    return np.hypot(*across)
