"""Tell the left of paired structures from the right, by the spine: the network names both alike."""

from __future__ import annotations

import numpy as np

from ..core.image import Image
from ..features.label_table import LEVELS, NUMBER, PAIRED

LEFT, RIGHT = 64, 128  # added to the number of a structure on that side of the patient
SIDES = {LEFT: "left", RIGHT: "right"}
LEAST_SPINE_VOXELS = 100  # of all vertebrae and the sacrum; with fewer, there are no sides
LEAST_HEART_ML = 200.0
SECTION_MM = 20.0  # height over which the middle of the spine is averaged

_SPINE = np.array([NUMBER[name] for name in (*(f"vertebra_{level}" for level in LEVELS), "sacrum")])
_HEART = np.array([NUMBER["heart"]])
_PAIRED = np.array([NUMBER[name] for name in PAIRED])


def with_sides(numbers: Image) -> Image | None:
    """Add LEFT or RIGHT to the numbers of paired structures; None without enough of a spine to tell the sides.

    The patient's left is +x in LPS. The middle follows the spine from bottom to top, because spines are bent; above
    and below the view of the spine it goes straight on.

    Args:
        numbers: (D, H, W) uint8, numbers of the common label table.
    """
    middle = _middle(numbers)
    if middle is None:
        return None
    place, points = _points(numbers, _PAIRED)
    left = points[:, 0] > np.interp(points[:, 2], *middle)
    sided = numbers.array.copy()
    sided.reshape(-1)[place] += np.where(left, LEFT, RIGHT).astype(np.uint8)
    return Image(sided, numbers.grid)


def heart_lies_right(numbers: Image) -> bool:
    """Return whether the centroid of the heart lies on the right of the spine; False where either is hardly in view.

    Args:
        numbers: (D, H, W) uint8, numbers of the common label table.
    """
    heart, middle = _points(numbers, _HEART)[1], _middle(numbers)
    volume_ml = len(heart) * float(np.prod(numbers.grid.spacing)) / 1000.0
    if middle is None or volume_ml < LEAST_HEART_ML:
        return False
    return float((heart[:, 0] - np.interp(heart[:, 2], *middle)).mean()) < 0


def name_of(sided: int, names: tuple[str, ...]) -> str:
    """Return the name for people of a number with its side: 'left kidney', 'vertebra L1'."""
    side = SIDES.get(sided & (LEFT | RIGHT), "")
    return f"{side} {names[sided % LEFT]}".strip().replace("_", " ")


def _middle(numbers: Image) -> tuple[np.ndarray, np.ndarray] | None:
    """Return heights z, ascending, and the x of the middle of the spine there, LPS mm; None without enough of it."""
    spine = _points(numbers, _SPINE)[1]
    if len(spine) < LEAST_SPINE_VOXELS:
        return None
    section = np.floor(spine[:, 2] / SECTION_MM).astype(int)
    section -= section.min()
    count = np.bincount(section)
    seen = count > 0
    x, z = (np.bincount(section, spine[:, axis])[seen] / count[seen] for axis in (0, 2))
    return z, x


def _points(numbers: Image, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the voxels with one of the wanted numbers: places in the flat array (N,), points (N, 3) LPS mm."""
    chosen = np.zeros(256, bool)
    chosen[wanted] = True
    place = np.flatnonzero(chosen[numbers.array])
    k, j, i = np.unravel_index(place, numbers.array.shape)
    return place, numbers.grid.index_to_point(np.stack([i, j, k], -1))
