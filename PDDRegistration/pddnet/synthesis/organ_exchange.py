"""What a patient made from one label map takes over from another: where its structures lie, and whole organs.

A few label maps hold a few shapes of each organ in as many arrangements; mixed, they hold many more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..features.label_table import NUMBER
from ..tensor.convert import to_tensor
from .anatomy import Anatomy

EXCHANGED = frozenset(
    NUMBER[name]
    for name in ("liver", "spleen", "kidney", "pancreas", "stomach", "gallbladder", "bladder", "heart", "colon")
)
HARD = ("bone", "marrow", "cartilage", "disc", "cord")  # no exchanged organ grows into it
FEWEST = 6  # structures that two maps must share before one lends its arrangement to the other
FARTHEST = 45.0  # mm that a structure moves at most towards where the other map has it
CUT = 0.25  # of a structure's largest slice: with so much of it in the map's first or last, the map's end cuts it
ONE_SIDED = 0.8  # share of a label's voxels on one side of the body, from which on it counts as of that side
REACH = 45.0  # mm within which a structure takes its surroundings along
HELD = 0.3  # weight of staying where nothing is near
STEP = 3  # voxels between the points where the arrangement is computed
PAIRED = frozenset(
    NUMBER[name]
    for name in ("kidney", "adrenal_gland", "psoas", "lung", "erector_spinae", "gluteus", "rib", "hip", "femur")
)
Key = tuple[int, int]  # structure, side


@dataclass(frozen=True, eq=False)
class Part:
    """A structure on one side: its codes, the largest first, its middle (3,) LPS mm, and how far it reaches, mm.

    whole: whether the map shows all of it; the middle of what the map's ends cut tells little.
    """

    codes: tuple[int, ...]
    middle: np.ndarray
    radius: float
    whole: bool = True


def parts(anatomy: Anatomy) -> dict[Key, Part]:
    """What of an anatomy can be found in another: per structure and side (-1 right, 0 middle or both, 1 left)."""
    counts, middles = _middles(anatomy)
    left = _left(anatomy, float(np.median(middles[counts > 0, 0])))
    found: dict[Key, list[int]] = {}
    labels = [layer.label for layer in anatomy.layers]
    for code, layer in enumerate(anatomy.layers):
        whole = [other for other, label in enumerate(labels) if label == layer.label]
        if layer.structure and counts[whole].any():
            share = left[whole].sum() / counts[whole].sum()
            side = int(share >= ONE_SIDED) - int(share <= 1 - ONE_SIDED) if layer.structure in PAIRED else 0
            found.setdefault((layer.structure, side), []).append(code)
    by_size = {key: tuple(sorted(codes, key=lambda code: -counts[code])) for key, codes in found.items()}
    return {key: _part(anatomy, codes, counts, middles) for key, codes in by_size.items()}


def _middles(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (codes,) and middles (codes, 3) in LPS mm of every code, from every second voxel."""
    codes = anatomy.codes[::2, ::2, ::2]
    number = len(anatomy.layers)
    flat = codes.ravel()
    counts = np.bincount(flat, minlength=number)
    counts[0] = 0
    sums = [
        np.bincount(flat, np.broadcast_to(np.arange(n).reshape(shape), codes.shape).ravel(), number)
        for n, shape in zip(codes.shape[::-1], ((1, 1, -1), (1, -1, 1), (-1, 1, 1)), strict=True)
    ]
    index = 2.0 * np.stack(sums, -1) / np.maximum(counts, 1)[:, None]
    return counts, anatomy.grid.index_to_point(index)


def _left(anatomy: Anatomy, middle: float) -> np.ndarray:
    """(codes,) of the voxels that `_middles` counts, those to the left of x = middle, LPS mm."""
    codes = anatomy.codes[::2, ::2, ::2]
    z, y, x = (2.0 * axis for axis in np.ogrid[tuple(map(slice, codes.shape))])
    across = anatomy.grid.axes[0]  # mm along x of a step along i, j, k
    place = anatomy.grid.origin[0] + across[0] * x + across[1] * y + across[2] * z
    return np.bincount(codes[place > middle], minlength=len(anatomy.layers))


def _part(anatomy: Anatomy, codes: tuple[int, ...], counts: np.ndarray, middles: np.ndarray) -> Part:
    middle = np.average(middles[list(codes)], axis=0, weights=counts[list(codes)])
    shown = np.isin(anatomy.codes[::4, ::4, ::4], codes)
    away = anatomy.grid.index_to_point(np.argwhere(shown)[:, ::-1] * 4.0) - middle
    ends = np.isin(anatomy.codes[[0, -1], ::4, ::4], codes).sum((1, 2))
    whole = bool(ends.max() <= CUT * shown.sum((1, 2)).max())
    return Part(codes, middle, float(np.linalg.norm(away, axis=1).max(initial=0.0)) + 10.0, whole)


def rearranged(points: Tensor, own: dict[Key, Part], other: dict[Key, Part], share: float) -> Tensor:
    """Points (3, D, H, W) of one anatomy, LPS mm, so that its structures lie where the other has them.

    Args:
        share: how much of the way; negative: away from it. Unchanged when the two have too little in common.
    """
    common = sorted(key for key in own.keys() & other.keys() if own[key].whole and other[key].whole)
    if len(common) < FEWEST:
        return points
    here = np.array([own[key].middle for key in common])
    away = np.array([other[key].middle for key in common]) - here
    away = away - np.median(away, axis=0)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    away = share * away * np.minimum(1.0, FARTHEST / np.maximum(length, 1e-6))
    size = [max(2, round(n / STEP)) for n in points.shape[1:]]
    coarse = functional.interpolate(points[None], size=size, mode="trilinear", align_corners=True)[0]
    target, shift = to_tensor(here + away, points.device), to_tensor(away, points.device)
    near = torch.cdist(coarse.flatten(1).T, target)
    weight = torch.exp(-near.square() / (2 * REACH**2))
    moved = weight @ shift / (weight.sum(1, keepdim=True) + HELD)
    field = functional.interpolate(
        moved.T.reshape(1, 3, *size), size=points.shape[1:], mode="trilinear", align_corners=True
    )
    return points - field[0]


@dataclass(frozen=True, eq=False)
class Exchange:
    """An organ of one anatomy in whose place another's is shown.

    Attributes:
        removed: (own codes so far,) bool, what is replaced. hard: likewise, what stays where it is.
        added: (codes of the other,) bool. offset: what its codes are raised by.
        at: LPS points (3, ...) -> codes of the other.
        scale, shift: own points p lie at (p - own middle) / scale + shift in the other, LPS mm.
    """

    own: Part
    removed: Tensor
    hard: Tensor
    added: Tensor
    offset: int
    at: Callable[[Tensor], Tensor]
    scale: float
    shift: np.ndarray
    radius: float

    def applied(self, codes: Tensor, points: Tensor) -> Tensor:
        """Codes (D, H, W) with the other organ in them; points (3, D, H, W) LPS mm."""
        codes = torch.where(self.removed[codes], 0, codes)
        window = self._window(points)
        if window is None:
            return codes
        middle, shift = (to_tensor(x, points.device).view(3, 1, 1, 1) for x in (self.own.middle, self.shift))
        there = self.at((points[(slice(None), *window)] - middle) / self.scale + shift)
        here = codes[window]
        codes[window] = torch.where(self.added[there] & ~self.hard[here], there + self.offset, here)
        return codes

    def _window(self, points: Tensor) -> tuple[slice, slice, slice] | None:
        """The part of points (3, D, H, W) that the other organ may reach; None where there is none."""
        middle = to_tensor(self.own.middle, points.device).view(3, 1, 1, 1)
        near = (points[:, ::STEP, ::STEP, ::STEP] - middle).square().sum(0) < self.radius**2
        if not bool(near.any()):
            return None
        found = [near.any(2).any(1), near.any(2).any(0), near.any(1).any(0)]
        ends = [(int(f.nonzero()[0]), int(f.nonzero()[-1])) for f in found]
        return tuple(slice(max(first - 1, 0) * STEP, (last + 1) * STEP + 1) for first, last in ends)
