"""Draw axial slices of scans, synthesised or augmented, for the network that names structures in 2-D."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..features.plane_net import BLOCK, to_range
from ..tensor.convert import to_array, to_tensor
from .datasets import LARGEST_SEED, ScanDataset, annotation_mask, with_foreign
from .plane_surroundings import with_surroundings

SLICES, APART = 12, 3  # of one scan; voxels from one to the next, because neighbours are nearly the same
VIEW_SIZES = ((48, 56, 64, 72, 80), (64, 72, 80, 96))  # pixels along H, W
LOG_ZOOM = (-0.45, 0.25)  # a unit of length is what makes the longer side of the image 400 of them
WINDOWED = 0.6  # share of the scans whose values are clipped to a window, as pictures of a CT are
LEVEL_HU, LEVEL_VARIATION_HU = 40.0, 30.0
HALF_WIDTH_HU = (120.0, 400.0)


class PlaneDataset(ScanDataset):
    """Endless batches (values, structures, annotated) of the axial slices of one scan.

    values (3, S, H, W): the slices by `to_range`, body, view; structures (S, H, W) int64, -1 where unknown; annotated
    (structures,) bool.
    """

    def draw_item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Draw the slices of one scan."""
        source = self.draw_source(rng)
        h, w = (int(rng.choice(sizes)) for sizes in VIEW_SIZES)
        sample = source.draw((SLICES * APART, h, w), int(rng.integers(LARGEST_SEED)))
        values, structures = with_surroundings(sample.values[:, ::APART], with_foreign(sample)[::APART], rng)
        values, size = _windowed(values, rng), _zoomed_size(structures.shape[1], structures.shape[2], rng)
        values = functional.interpolate(values.transpose(0, 1), size=size, mode="bilinear")
        values = values.transpose(0, 1).clone()
        values[0] = to_tensor(np.stack([to_range(each) for each in to_array(values[0])]))
        values[1:] = (values[1:] > 0.5).float()
        structures = functional.interpolate(structures[None].float(), size=size, mode="nearest-exact")[0]
        return values, structures.long(), annotation_mask(source.annotated)


def _zoomed_size(h: int, w: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw another size of the pixels: return how many there are, multiples of BLOCK."""
    factor = np.exp(rng.uniform(*LOG_ZOOM))
    new_h, new_w = (max(BLOCK, BLOCK * round(n * factor / BLOCK)) for n in (h, w))
    return new_h, new_w


def _windowed(values: Tensor, rng: np.random.Generator) -> Tensor:
    """Clip the HU of a scan (3, D, H, W) to a window, or not."""
    if rng.random() > WINDOWED:
        return values
    level, half = rng.normal(LEVEL_HU, LEVEL_VARIATION_HU), rng.uniform(*HALF_WIDTH_HU)
    return torch.cat([values[:1].clamp(level - half, level + half), values[1:]])
