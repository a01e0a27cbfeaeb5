"""Build the U-Nets of this room: strided convolutions down, interpolation and skip connections up (`UNet`).

Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28). Every level is a `Grid`, so that a map can be placed in mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..core.grid import Grid
from ..errors import InputError
from ..tensor.lattice import resample

SLOPE = 0.1  # of the leaky ReLU below zero, as in the guided networks' paper


class UNet(nn.Module):
    """U-Net from a map at one level of a pyramid to maps at all coarser levels that it passes on its way up.

    Args:
        channels_in: channels of its input.
        widths: channels of each level on the way down, from half the input's resolution on.
        ups: how many levels it climbs again; it ends at the input's resolution with as many as there are `widths`.
        norm: the normalisation, made from a number of channels.
        guides: channels that are given besides, at the input's level and those after it.
    """

    def __init__(
        self, channels_in: int, widths: Sequence[int], ups: int, norm: Callable[[int], nn.Module],
        guides: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        more = [*guides, *[0] * (len(widths) - len(guides))]
        ends = [channels_in, *widths]
        self.down = nn.ModuleList(_block(ends[n] + more[n], width, norm, stride=2) for n, width in enumerate(widths))
        self.up = nn.ModuleList()
        for level in range(len(widths) - 1, len(widths) - 1 - ups, -1):
            skip = widths[level - 1] if level else 0
            self.up.append(_block(widths[level] + skip, widths[max(level - 1, 0)], norm))

    def forward(self, x: Tensor, grids: Sequence[Grid], guides: Sequence[Tensor] = ()) -> list[Tensor]:
        """Return the maps (B, C, D, H, W) from the coarsest level on, one more than there are steps up.

        Args:
            x: (B, channels_in, D, H, W) on `grids[0]`.
            grids: see `pyramid`.
            guides: (B, C, D, H, W) on `grids[0]` and those after it.

        Raises:
            InputError: the scans are so small that the coarsest level of a network in training is a single node.
        """
        if self.training and max(grids[len(self.down)].shape) == 1:
            raise InputError(
                "'view' is too small for this network to train on; give twice as many voxels along an axis"
            )
        maps = [x]
        for level, down in enumerate(self.down):
            given = torch.cat([x, guides[level]], 1) if level < len(guides) else x
            x = down(given)
            maps.append(x)
        found = [x]
        for level, up in zip(range(len(self.down) - 1, -1, -1), self.up, strict=False):
            x = onto(x, grids[level + 1], grids[level])
            x = up(torch.cat([x, maps[level]], 1) if level else x)
            found.append(x)
        return found


def pyramid(grid: Grid, levels: int) -> list[Grid]:
    """List a grid and those on which strided convolutions of 3^3 leave its maps: every second node, from the first."""
    found = [grid]
    for _ in range(levels):
        last = found[-1]
        half = tuple((np.array(last.shape) + 1) // 2)
        found.append(Grid(half, last.spacing * 2, last.origin, last.direction))
    return found


def onto(x: Tensor, source: Grid, target: Grid) -> Tensor:
    """Resample maps (B, C, D, H, W) from one grid linearly onto another."""
    return resample(x.flatten(0, 1), source, target).unflatten(0, x.shape[:2])


def _block(channels_in: int, channels_out: int, norm: Callable[[int], nn.Module], stride: int = 1) -> nn.Module:
    convolution = nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, norm(channels_out), nn.LeakyReLU(SLOPE, inplace=True))
