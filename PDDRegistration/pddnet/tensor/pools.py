"""Pool over blocks and neighbours: average, minimum and maximum.

Computed from slices: torch's own pooling of volumes uses one core, and takes longer on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def block_means(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Average (..., D, H, W) over blocks of `factors` voxels along D, H, W; drop incomplete blocks at the end."""
    for dim, factor in zip((-1, -2, -3), reversed(factors), strict=True):
        whole = x.shape[dim] // factor * factor
        slices = [_every(x, dim, start, whole, factor) for start in range(factor)]
        x = sum(slices[1:], slices[0]) / factor if factor > 1 else slices[0]
    return x


def halved(x: Tensor) -> Tensor:
    """Halve the resolution of (..., D, H, W): the maximum of every 2 x 2 x 2 voxels, of fewer at an odd end."""
    for dim in (-1, -2, -3):
        n = x.shape[dim]
        pairs = torch.maximum(_every(x, dim, 0, n - n % 2, 2), _every(x, dim, 1, n, 2))
        x = torch.cat([pairs, x.narrow(dim, n - 1, 1)], dim) if n % 2 else pairs
    return x


def dilated(x: Tensor) -> Tensor:
    """Dilate (..., D, H, W): take the maximum of the 3 x 3 x 3 voxels around each."""
    for dim in (-1, -2, -3):
        x = pool_three(x, dim, torch.maximum).narrow(dim, 1, x.shape[dim])
    return x


def pool_three(x: Tensor, dim: int, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Pool three neighbours along `dim` with min or max, after padding: (..., n, ...) -> (..., n + 2, ...).

    The padding repeats the border value twice at either end, so there are two results more than values.

    Args:
        pick: torch.minimum or torch.maximum.
    """
    n = x.shape[dim]
    first, last = x.narrow(dim, 0, 1), x.narrow(dim, n - 1, 1)
    if n == 1:
        return torch.cat([x] * 3, dim)
    pairs = pick(x.narrow(dim, 0, n - 1), x.narrow(dim, 1, n - 1))
    ends = pairs.narrow(dim, 0, 1), pairs.narrow(dim, n - 2, 1)
    inner = [pick(pairs.narrow(dim, 0, n - 2), pairs.narrow(dim, 1, n - 2))] if n > 2 else []
    return torch.cat([first, ends[0], *inner, ends[1], last], dim)


def _every(x: Tensor, dim: int, start: int, stop: int, step: int) -> Tensor:
    """Return x[start:stop:step] along one of the last three axes, -1 to -3."""
    part = slice(start, stop, step)
    if dim == -1:
        return x[..., part]
    return x[..., part, :] if dim == -2 else x[..., part, :, :]
