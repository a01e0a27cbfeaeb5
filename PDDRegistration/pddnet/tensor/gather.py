"""`Lookup`: maps read between their voxels, with all channels and slopes of a place at once."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as functional
from torch import Tensor


class Lookup:
    """Maps (C, D, H, W) with the channels of a voxel side by side, so that one is read as fast as all.

    An embedding bag reads a cell's eight corners, weighs and adds them; written out, they would be eight times as much.
    """

    def __init__(self, *maps: Tensor) -> None:
        """maps: each (C, D, H, W), of one shape, whose channels follow each other."""

        self.shape = tuple(maps[0].shape[1:])
        self._rows = torch.cat([x.flatten(1) for x in maps]).T.contiguous()
        strides = self.shape[1] * self.shape[2], self.shape[2], 1
        steps = [int(n > 1) * stride for n, stride in zip(self.shape, strides, strict=True)]
        corners = [sum(chosen) for chosen in itertools.product(*((0, step) for step in steps))]
        self._corners = torch.tensor(corners, dtype=torch.int32, device=self._rows.device)

    def at(self, voxels: Tensor) -> Tensor:
        """(N, C) at voxels (N) of the flattened maps."""
        return self._rows.index_select(0, voxels)

    def values_and_slopes(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 4, C) at places (3, N) in voxels along D, H, W: the values, and their slopes per voxel along D, H, W.

        And (3, N) bool, whether the places are inside: beyond the border its value holds, whatever the slopes there.
        """
        corners, (d, h, w), inside = self._cells(place)
        step = d.new_tensor([[-1], [1]])
        return self._sums(corners, (d, h, w), (step, h, w), (d, step, w), (d, h, step)), inside

    def _cells(self, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Corners (N, 8) of the cells, shares (3, 2, N) of the lower and upper side along each axis, what is inside."""

        last = place.new_tensor(self.shape)[:, None] - 1
        inside = (place > 0) & (place < last)
        place = place.clamp(min=0).minimum(last)
        low = place.floor().minimum((last - 1).clamp(min=0))
        d, h, w = low.int()
        corners = ((d * self.shape[1] + h) * self.shape[2] + w)[:, None] + self._corners
        return corners, torch.stack([1 - (place - low), place - low], 1), inside

    def _sums(self, corners: Tensor, *shares: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """(N, K, C): for each of K triples of shares (2, N) along D, H, W the corners' values, so weighed and added."""

        products = [(d[:, None, None] * h[:, None] * w).expand(2, 2, 2, -1) for d, h, w in shares]
        weights = torch.stack(products).flatten(1, 3).permute(2, 0, 1)  # (N, K, 8)
        bags = corners[:, None].expand(weights.shape).reshape(-1, 8)
        sums = functional.embedding_bag(bags, self._rows, mode="sum", per_sample_weights=weights.reshape(-1, 8))
        return sums.view(*weights.shape[:2], -1)
