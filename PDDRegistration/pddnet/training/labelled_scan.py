"""Hold a scan and its structures, bring two of them together, and measure the Dice between them (`LabelledScan`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core.grid import Grid
from ..features.label_table import STRUCTURES
from ..features.semantic_net import SEMANTIC_SPACING_MM
from ..tensor.convert import to_array, to_tensor
from ..tensor.lattice import spatial_shape, to_lps
from ..tensor.scan import Scan

FEWEST_VOXELS = 20  # of a structure whose centre counts


@dataclass(frozen=True)
class LabelledScan:
    """Scan and its structures (D, H, W) on the scan's grid, int64; -1 where nothing is known."""

    scan: Scan
    structures: Tensor

    @classmethod
    def from_sample(cls, values: Tensor, structures: Tensor, shift: npt.ArrayLike = (0.0, 0.0, 0.0)) -> LabelledScan:
        """Make a scan of a drawn view (3, D, H, W) whose centre lies `shift` (3,) LPS mm from the origin."""
        grid = view_grid(structures, shift)
        return cls(Scan(values, values.new_zeros(0, *grid.shape), grid, grid, grid, False), structures)

    @classmethod
    def on_device(cls, scan: Scan, structures: np.ndarray, device: torch.device) -> LabelledScan:
        """Move a scan and its structures (D, H, W) to a device."""
        scan = dataclasses.replace(scan, values=scan.values.to(device), features=scan.features.to(device))
        return cls(scan, to_tensor(structures, device).long())

    def translate(self, shift: np.ndarray) -> LabelledScan:
        """Return the scan translated by `shift` (3,) LPS mm."""
        grids = {name: getattr(self.scan, name) for name in ("grid", "box", "features_grid")}
        grids = {name: dataclasses.replace(grid, origin=grid.origin + shift) for name, grid in grids.items()}
        return LabelledScan(dataclasses.replace(self.scan, **grids), self.structures)

    def keep_structures(self, common: Tensor) -> LabelledScan:
        """Replace the structures that are not distinguished in both by the background; common (structures,) bool."""
        known = self.structures.clamp(min=0)
        kept = torch.where(common[known], known, 0)
        return LabelledScan(self.scan, torch.where(self.structures < 0, -1, kept))


def view_grid(structures: Tensor, shift: npt.ArrayLike) -> Grid:
    """Return the grid of a drawn view (D, H, W) whose centre lies `shift` (3,) LPS mm from the origin."""
    shape = spatial_shape(structures)
    origin = np.asarray(shift, np.float64) - (np.array(shape[::-1]) - 1) / 2 * SEMANTIC_SPACING_MM
    return Grid(shape, np.full(3, SEMANTIC_SPACING_MM), origin, np.eye(3))


def content_similarity(fixed: LabelledScan, moving: LabelledScan) -> float:
    """Measure how much of their structures both views show: the smaller volumes over the larger ones, 0..1."""
    fixed_counts, moving_counts = (_counts_and_centres(side)[0] for side in (fixed, moving))
    return float(
        np.minimum(fixed_counts, moving_counts).sum() / max(np.maximum(fixed_counts, moving_counts).sum(), 1.0)
    )


def centre_offset(fixed: LabelledScan, moving: LabelledScan) -> np.ndarray:
    """Return the translation (3,) LPS mm of the moving scan that aligns the centres of its structures with those of the
    fixed one.

    A structure is weighted by the square root of the number of voxels that both show. Without a common structure, the
    centres of the views are aligned.
    """
    fixed_counts, fixed_centres = _counts_and_centres(fixed)
    moving_counts, moving_centres = _counts_and_centres(moving)
    common = np.minimum(fixed_counts, moving_counts)
    weight = np.sqrt(common) * (common >= FEWEST_VOXELS)
    if not weight.any():
        return fixed.scan.box.centre - moving.scan.box.centre
    return weight @ (fixed_centres - moving_centres) / weight.sum()


def _counts_and_centres(side: LabelledScan) -> tuple[np.ndarray, np.ndarray]:
    """Return voxel counts (structures - 1,) and centres (structures - 1, 3) in LPS mm, without the background."""
    labels = to_array(side.structures).astype(np.int64).ravel()
    labels = np.where(labels < 0, 0, labels)
    counts = np.bincount(labels, minlength=len(STRUCTURES)).astype(float)
    index = np.indices(side.structures.shape).reshape(3, -1)[::-1]
    sums = np.stack([np.bincount(labels, weights=along, minlength=len(STRUCTURES)) for along in index], -1)
    centres = side.scan.grid.index_to_point(sums / np.maximum(counts, 1)[:, None])
    return counts[1:], centres[1:]


def dice_after_warp(fixed: LabelledScan, moving: LabelledScan, displacement: Tensor, common: Tensor) -> list[float]:
    """Compute the Dice of every common structure that the fixed scan shows, with the moving labels warped to it.

    Args:
        displacement: (3, D, H, W) on the fixed scan's grid, fixed to moving, in mm along its array axes.
        common: (structures,) bool.
    """
    grid = fixed.scan.grid
    warped = _structures_at(moving, grid.points() + to_lps(displacement, grid))
    labels = to_array(fixed.structures).astype(np.int64)
    known = (labels >= 0) & (warped >= 0)
    labels, warped = labels[known], warped[known]
    size = len(STRUCTURES)
    both = np.bincount(labels[labels == warped], minlength=size)
    fixed_counts, moving_counts = np.bincount(labels, minlength=size), np.bincount(warped, minlength=size)
    measured = (fixed_counts > 0) & (to_array(common) > 0.5)
    measured[0] = False
    return (2 * both / np.maximum(fixed_counts + moving_counts, 1))[measured].tolist()


def _structures_at(side: LabelledScan, points: np.ndarray) -> np.ndarray:
    """Look up structures at LPS points (..., 3): those of the nearest voxel, -1 beyond the scan or its view."""
    grid = side.scan.grid
    index = np.rint(grid.point_to_index(points)).astype(np.int64)
    inside = ((index >= 0) & (index < grid.size)).all(-1)
    i, j, k = np.moveaxis(np.clip(index, 0, grid.size - 1), -1, 0)
    in_view = inside & (to_array(side.scan.view)[k, j, i] > 0.5)
    return np.where(in_view, to_array(side.structures).astype(np.int64)[k, j, i], -1)
