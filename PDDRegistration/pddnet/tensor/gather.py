"""Interpolate feature maps trilinearly, with the gradient, all channels of a point at once: `Lookup`."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as functional
from torch import Tensor


class Lookup:
    """Feature maps (C, D, H, W), stored with the channels of a voxel contiguous, so that they are read together.

    An embedding bag gathers, weights and adds a cell's eight corners, without eight intermediate results.
    """

    def __init__(self, *maps: Tensor) -> None:
        """Store maps (C, D, H, W), all of one spatial shape; their channels are concatenated."""
        self.shape = tuple(maps[0].shape[1:])
        self._rows = torch.cat([x.flatten(1) for x in maps]).T.contiguous()
        strides = self.shape[1] * self.shape[2], self.shape[2], 1
        steps = [int(n > 1) * stride for n, stride in zip(self.shape, strides, strict=True)]
        corners = [sum(chosen) for chosen in itertools.product(*((0, step) for step in steps))]
        self._corners = torch.tensor(corners, dtype=torch.int32, device=self._rows.device)

    def at(self, voxels: Tensor) -> Tensor:
        """Return the channels (N, C) at voxels (N) of the flattened maps."""
        return self._rows.index_select(0, voxels)

    def values_and_slopes(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Interpolate values and their derivatives at positions (3, N), in voxels along D, H, W.

        Returns:
            (N, 4, C): the value, and its derivatives per voxel along D, H, W; and (3, N) bool, whether a position is
            inside along each axis. Outside, the value is that of the border; take the derivative as zero.
        """
        corners, (d, h, w), inside = self._cells(place)
        step = d.new_tensor([[-1], [1]])
        return self._sums(corners, (d, h, w), (step, h, w), (d, step, w), (d, h, step)), inside

    def _cells(self, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the cells' corners (N, 8), linear weights (3, 2, N) along each axis, and whether inside (3, N)."""
        last = place.new_tensor(self.shape)[:, None] - 1
        inside = (place > 0) & (place < last)
        place = place.clamp(min=0).minimum(last)
        low = place.floor().minimum((last - 1).clamp(min=0))
        d, h, w = low.int()
        corners = ((d * self.shape[1] + h) * self.shape[2] + w)[:, None] + self._corners
        return corners, torch.stack([1 - (place - low), place - low], 1), inside

    def _sums(self, corners: Tensor, *per_axis: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Add up the corners' values, weighted by each of K triples of weights (2, N) along D, H, W: (N, K, C)."""
        products = [(d[:, None, None] * h[:, None] * w).expand(2, 2, 2, -1) for d, h, w in per_axis]
        weights = torch.stack(products).flatten(1, 3).permute(2, 0, 1)  # (N, K, 8)
        bags = corners[:, None].expand(weights.shape).reshape(-1, 8)
        sums = functional.embedding_bag(bags, self._rows, mode="sum", per_sample_weights=weights.reshape(-1, 8))
        return sums.view(*weights.shape[:2], -1)
