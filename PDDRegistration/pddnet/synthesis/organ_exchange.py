"""Augment the anatomy: a patient takes over whole organs, and the arrangement of its structures, from another map.

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
from ..phantom.canvas import Window
from ..tensor.convert import to_tensor
from .anatomy import Anatomy

EXCHANGEABLE = frozenset(
    NUMBER[name]
    for name in ("liver", "spleen", "kidney", "pancreas", "stomach", "gallbladder", "bladder", "heart", "colon")
)
PAIRED = frozenset(
    NUMBER[name]
    for name in ("kidney", "adrenal_gland", "psoas", "lung", "erector_spinae", "gluteus", "rib", "hip", "femur")
)
RIGID_MATERIALS = ("bone", "marrow", "cartilage", "disc", "cord")  # no exchanged organ grows into them

ONE_SIDED = 0.8  # share of a label's voxels on one side of the body, from which on it counts as of that side
CUT_SHARE = 0.25  # of a structure's largest slice: with so much of it in the map's first or last, the map's end cuts it
RADIUS_MARGIN_MM = 10.0  # the radius is measured on every fourth voxel

FEWEST_IN_COMMON = 6  # structures that two maps must share before one lends its arrangement to the other
MOST_SHIFT_MM = 45.0  # that a structure moves towards its position in the other map
SURROUNDINGS_MM = 45.0  # within which the surroundings of a structure move with it
STAY_WEIGHT = 0.3  # of staying in place, where no structure is near
COARSE_STEP = 3  # voxels between the points where displacements and windows are computed

StructureKey = tuple[int, int]
"""Number of a structure in the common table; side: -1 right, 0 in the middle or on both sides, 1 left."""


@dataclass(frozen=True, eq=False)
class SidedStructure:
    """Structure of an anatomy on one side of the body.

    Attributes:
        codes: its codes in the anatomy, the largest first.
        centre: (3,) LPS mm.
        radius_mm: from the centre to its farthest voxel.
        complete: whether the map shows all of it; the centre of a structure that the map's ends cut is unreliable.
    """

    codes: tuple[int, ...]
    centre: np.ndarray
    radius_mm: float
    complete: bool = True


def find_structures(anatomy: Anatomy) -> dict[StructureKey, SidedStructure]:
    """Find the structures of an anatomy that may occur in another one, by number and side."""
    counts, centres = _count_and_centre(anatomy)
    left_counts = _count_left_of(anatomy, float(np.median(centres[counts > 0, 0])))
    labels = [layer.label for layer in anatomy.layers]
    codes_of: dict[StructureKey, list[int]] = {}
    for code, layer in enumerate(anatomy.layers):
        of_label = [other for other, label in enumerate(labels) if label == layer.label]
        if not layer.structure or not counts[of_label].any():
            continue
        left_share = left_counts[of_label].sum() / counts[of_label].sum()
        side = _side(left_share) if layer.structure in PAIRED else 0
        codes_of.setdefault((layer.structure, side), []).append(code)
    by_size = {key: tuple(sorted(codes, key=lambda code: -counts[code])) for key, codes in codes_of.items()}
    return {key: _describe(anatomy, codes, counts, centres) for key, codes in by_size.items()}


def _side(left_share: float) -> int:
    """Return -1 right, 0 both, 1 left, by the fraction of a label's voxels that lie left of the body's middle."""
    return int(left_share >= ONE_SIDED) - int(left_share <= 1 - ONE_SIDED)


def _count_and_centre(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Count the voxels (codes,) and compute the centres (codes, 3) in LPS mm of every code, from every second voxel."""
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


def _count_left_of(anatomy: Anatomy, middle: float) -> np.ndarray:
    """Count (codes,) the voxels of `_count_and_centre` that lie to the left of x = middle, LPS mm."""
    codes = anatomy.codes[::2, ::2, ::2]
    k, j, i = (2.0 * axis for axis in np.ogrid[tuple(map(slice, codes.shape))])
    x_per_voxel = anatomy.grid.axes[0]  # mm along x of a step along i, j, k
    x = anatomy.grid.origin[0] + x_per_voxel[0] * i + x_per_voxel[1] * j + x_per_voxel[2] * k
    return np.bincount(codes[x > middle], minlength=len(anatomy.layers))


def _describe(anatomy: Anatomy, codes: tuple[int, ...], counts: np.ndarray, centres: np.ndarray) -> SidedStructure:
    """Compute centre, radius and completeness of the structure that these codes make up together."""
    centre = np.average(centres[list(codes)], axis=0, weights=counts[list(codes)])
    mask = np.isin(anatomy.codes[::4, ::4, ::4], codes)
    offsets = anatomy.grid.index_to_point(np.argwhere(mask)[:, ::-1] * 4.0) - centre
    radius = float(np.linalg.norm(offsets, axis=1).max(initial=0.0)) + RADIUS_MARGIN_MM
    in_end_slices = np.isin(anatomy.codes[[0, -1], ::4, ::4], codes).sum((1, 2))
    complete = bool(in_end_slices.max() <= CUT_SHARE * mask.sum((1, 2)).max())
    return SidedStructure(codes, centre, radius, complete)


def rearrange_structures(
    points: Tensor,
    own: dict[StructureKey, SidedStructure],
    other: dict[StructureKey, SidedStructure],
    share: float,
) -> Tensor:
    """Displace points (3, D, H, W) of one anatomy, LPS mm, so that its structures lie where another one has them.

    Args:
        share: the fraction of the way; negative: away from it.

    Returns:
        Displaced points (3, D, H, W) LPS mm; unchanged where the two anatomies have too little in common.
    """
    common = sorted(key for key in own.keys() & other.keys() if own[key].complete and other[key].complete)
    if len(common) < FEWEST_IN_COMMON:
        return points
    own_centres = np.array([own[key].centre for key in common])
    other_centres = np.array([other[key].centre for key in common])
    shifts = _limited_shifts(own_centres, other_centres, share)
    size = [max(2, round(n / COARSE_STEP)) for n in points.shape[1:]]
    coarse = functional.interpolate(points[None], size=size, mode="trilinear", align_corners=True)[0]
    targets, shifts_there = to_tensor(own_centres + shifts, points.device), to_tensor(shifts, points.device)
    distance = torch.cdist(coarse.flatten(1).T, targets)
    weight = torch.exp(-distance.square() / (2 * SURROUNDINGS_MM**2))
    mean_shift = weight @ shifts_there / (weight.sum(1, keepdim=True) + STAY_WEIGHT)
    coarse_field = mean_shift.T.reshape(1, 3, *size)
    field = functional.interpolate(coarse_field, size=points.shape[1:], mode="trilinear", align_corners=True)
    return points - field[0]


def _limited_shifts(own_centres: np.ndarray, other_centres: np.ndarray, share: float) -> np.ndarray:
    """Compute shifts (N, 3) mm: a fraction of the way from own centres to the other's, less the median (the bodies'
    offset).

    The whole way is limited to MOST_SHIFT_MM.
    """
    shifts = other_centres - own_centres
    shifts = shifts - np.median(shifts, axis=0)
    length = np.linalg.norm(shifts, axis=1, keepdims=True)
    return share * shifts * np.minimum(1.0, MOST_SHIFT_MM / np.maximum(length, 1e-6))


@dataclass(frozen=True, eq=False)
class OrganExchange:
    """Replace an organ of one anatomy by that of another.

    Attributes:
        own: the organ that is replaced.
        removed: (own codes so far,) bool, the codes that are replaced.
        rigid: (own codes so far,) bool, the codes that stay where the other organ would overlap them.
        added: (codes of the other,) bool, the codes of the other organ.
        code_offset: the number added to the other's codes.
        other_codes_at: LPS points (3, ...) -> codes of the other.
        scale, other_centre: own points p lie at (p - own.centre) / scale + other_centre in the other, LPS mm.
        radius_mm: radius around own.centre that contains the other organ.
    """

    own: SidedStructure
    removed: Tensor
    rigid: Tensor
    added: Tensor
    code_offset: int
    other_codes_at: Callable[[Tensor], Tensor]
    scale: float
    other_centre: np.ndarray
    radius_mm: float

    def apply(self, codes: Tensor, points: Tensor) -> Tensor:
        """Return codes (D, H, W) with the other organ in them; points (3, D, H, W) LPS mm."""
        codes = torch.where(self.removed[codes], 0, codes)
        window = self._window(points)
        if window is None:
            return codes
        own_centre, other_centre = (
            to_tensor(centre, points.device).view(3, 1, 1, 1) for centre in (self.own.centre, self.other_centre)
        )
        other_points = (points[(slice(None), *window)] - own_centre) / self.scale + other_centre
        other_codes = self.other_codes_at(other_points)
        own_codes = codes[window]
        shown = self.added[other_codes] & ~self.rigid[own_codes]
        codes[window] = torch.where(shown, other_codes + self.code_offset, own_codes)
        return codes

    def _window(self, points: Tensor) -> Window | None:
        """Return the part of points (3, D, H, W) that the other organ may reach; None where there is none."""
        centre = to_tensor(self.own.centre, points.device).view(3, 1, 1, 1)
        step = COARSE_STEP
        near = (points[:, ::step, ::step, ::step] - centre).square().sum(0) < self.radius_mm**2
        if not bool(near.any()):
            return None
        k, j, i = near.any(2).any(1), near.any(2).any(0), near.any(1).any(0)
        return _slice_around(k), _slice_around(j), _slice_around(i)


def _slice_around(near: Tensor) -> slice:
    """Return the voxels from one coarse step before the first true entry of `near` (coarse points,) to one after the
    last."""
    places = near.nonzero()
    first, last = int(places[0]), int(places[-1])
    return slice(max(first - 1, 0) * COARSE_STEP, (last + 1) * COARSE_STEP + 1)
