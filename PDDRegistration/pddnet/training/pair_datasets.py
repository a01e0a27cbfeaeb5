"""Pairs of scans for pdd-net: drawn by number, laid upon each other by their structures, and compared by them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.grid import Grid
from ..features.label_table import STRUCTURES
from ..synthesis.patient import SPACING
from ..tensor.convert import to_array, to_tensor
from ..tensor.lattice import to_lps
from ..tensor.scan import Scan
from .datasets import SampleSource, ScanDataset, among

ASIDE = 8.0  # mm, standard deviation of what drawn pairs are off their common structures, as an alignment would be
ALIKE, TRIES = 0.3, 3  # how much of their structures both scans of a pair should show; how many are drawn for that
FEWEST = 20  # voxels of a structure whose middle counts


@dataclass(frozen=True)
class Labelled:
    """A scan and its structures (D, H, W) on the scan's grid, int64; -1 where nothing is known."""

    scan: Scan
    structures: Tensor

    @classmethod
    def drawn(cls, values: Tensor, structures: Tensor, shift: np.ndarray | None = None) -> Labelled:
        """A synthesised view (3, D, H, W) around the origin, or as far from it as `shift` (3,) LPS mm says."""
        middle = np.zeros(3) if shift is None else np.asarray(shift, np.float64)
        shape = tuple(structures.shape)
        grid = Grid(shape, np.full(3, SPACING), middle - (np.array(shape[::-1]) - 1) / 2 * SPACING, np.eye(3))
        return cls(Scan(values, values.new_zeros(0, *shape), grid, grid, grid, False), structures)

    def moved(self, shift: np.ndarray) -> Labelled:
        """The same (3,) LPS mm away."""
        grids = {name: getattr(self.scan, name) for name in ("grid", "box", "features_grid")}
        grids = {name: dataclasses.replace(grid, origin=grid.origin + shift) for name, grid in grids.items()}
        return Labelled(dataclasses.replace(self.scan, **grids), self.structures)

    def only(self, common: Tensor) -> Labelled:
        """With the background in place of structures that are not told apart in both; common (structures,) bool."""
        known = self.structures.clamp(min=0)
        kept = torch.where(common[known], known, 0)
        return Labelled(self.scan, torch.where(self.structures < 0, -1, kept))


class PairDataset(ScanDataset):
    """Endless (values, structures, common, shift): two scans of one source or two, fixed and moving.

    values (2, 3, D, H, W) and structures (2, D, H, W); common (structures,) bool, what is told apart in both; shift
    (3,) LPS mm of the moving view from the fixed one, with which their structures lie about upon each other.
    """

    def __init__(
        self, sources: list[SampleSource], shares: list[float], seed: int, first: int, view: tuple[int, int, int]
    ) -> None:
        super().__init__(sources, shares, seed, first)
        self._view = view

    def item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """One pair."""
        ours, theirs = self.chosen(rng), self.chosen(rng)
        common = among(ours.annotated & theirs.annotated)
        fixed, tries = self._seen(ours, rng, common), list[tuple[float, Labelled]]()
        while len(tries) < TRIES and all(share < ALIKE for share, _ in tries):
            moving = self._seen(theirs, rng, common)
            tries.append((alike(fixed, moving), moving))
        moving = max(tries, key=lambda one: one[0])[1]
        shift = to_tensor(offset(fixed, moving) + rng.normal(0, ASIDE, 3))
        values = torch.stack([fixed.scan.values, moving.scan.values])
        return values, torch.stack([fixed.structures, moving.structures]), common, shift

    def _seen(self, source: SampleSource, rng: np.random.Generator, common: Tensor) -> Labelled:
        sample = source.draw(self._view, int(rng.integers(2**62)))
        return Labelled.drawn(sample.values, sample.structures).only(common)


def alike(fixed: Labelled, moving: Labelled) -> float:
    """How much of their structures both views show: the smaller volumes over the larger ones, 0..1."""
    ours, theirs = (_middles(side)[0] for side in (fixed, moving))
    return float(np.minimum(ours, theirs).sum() / max(np.maximum(ours, theirs).sum(), 1.0))


def offset(fixed: Labelled, moving: Labelled) -> np.ndarray:
    """(3,) LPS mm to move the moving scan by, so that the middles of its structures lie on those of the fixed one.

    A structure counts by the root of how much both show of it. Without a common one, the views' middles do.
    """
    (ours, here), (theirs, there) = (_middles(side) for side in (fixed, moving))
    weight = np.sqrt(np.minimum(ours, theirs)) * (np.minimum(ours, theirs) >= FEWEST)
    if not weight.any():
        return fixed.scan.box.centre - moving.scan.box.centre
    return weight @ (here - there) / weight.sum()


def _middles(side: Labelled) -> tuple[np.ndarray, np.ndarray]:
    """Of every structure but the background: how many voxels it has, and its middle (structures - 1, 3) in LPS mm."""
    labels = to_array(side.structures).astype(np.int64).ravel()
    labels = np.where(labels < 0, 0, labels)
    count = np.bincount(labels, minlength=len(STRUCTURES)).astype(float)
    index = np.indices(side.structures.shape).reshape(3, -1)[::-1]
    sums = np.stack([np.bincount(labels, weights=along, minlength=len(STRUCTURES)) for along in index], -1)
    middles = side.scan.grid.index_to_point(sums / np.maximum(count, 1)[:, None])
    return count[1:], middles[1:]


def overlaps(fixed: Labelled, moving: Labelled, displacement: Tensor, common: Tensor) -> list[float]:
    """Dice of every common structure that the fixed scan shows, the moving one carried to it.

    Args:
        displacement: (3, D, H, W) on the fixed scan's grid, fixed to moving, in mm along its array axes.
    """
    grid = fixed.scan.grid
    theirs = _at(moving, grid.points() + to_lps(displacement, grid))
    ours = to_array(fixed.structures).astype(np.int64)
    known = (ours >= 0) & (theirs >= 0)
    ours, theirs = ours[known], theirs[known]
    size = len(STRUCTURES)
    both = np.bincount(ours[ours == theirs], minlength=size)
    here, there = np.bincount(ours, minlength=size), np.bincount(theirs, minlength=size)
    shown = (here > 0) & (to_array(common) > 0.5)
    shown[0] = False
    return (2 * both / np.maximum(here + there, 1))[shown].tolist()


def _at(side: Labelled, points: np.ndarray) -> np.ndarray:
    """Structures at LPS points (..., 3): those of the nearest voxel, -1 beyond the scan or its view."""
    grid = side.scan.grid
    index = np.rint(grid.point_to_index(points)).astype(np.int64)
    inside = ((index >= 0) & (index < grid.size)).all(-1)
    i, j, k = np.moveaxis(np.clip(index, 0, grid.size - 1), -1, 0)
    seen = inside & (to_array(side.scan.view)[k, j, i] > 0.5)
    return np.where(seen, to_array(side.structures).astype(np.int64)[k, j, i], -1)
