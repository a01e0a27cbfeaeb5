"""Compute the cost volume (the correlation layer): the feature dissimilarity of every displacement, fast and exactly.

Heinrich, MICCAI 2019 (pdd-net, doi:10.1007/978-3-030-32226-7_6), section 2.

The published layer samples the moving features by a 3-D grid_sample at every control point plus every displacement.
These positions are a tensor product, so trilinear sampling separates into one linear interpolation per axis: along H
and W a product with a narrow matrix of two-voxel rows, along D an interpolation of scalars. In
|f - m|^2 = |f|^2 - 2 f.m + |m|^2 one matrix product gives f.m for a whole plane, and for m between two planes a and b
at weight w

    |(1 - w) a + w b|^2 = (1 - w) |a|^2 + w |b|^2 - w (1 - w) |b - a|^2.

A cost tensor has shape (nH, nW, LD, LH, LW, nD): control points n, displacements L. In this order the control points of
one column are contiguous in memory; both this layer and the inference read and write them together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..tensor.execution import ALONE, Work
from ..tensor.lattice import linear_weights


def cost_volume(
    fixed: Tensor, moving: Tensor, points: tuple[Tensor, ...], offsets: tuple[Tensor, ...], work: Work = ALONE, *,
    columns: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Compute the mean squared feature difference of every control point and every displacement.

    Args:
        fixed: (C, nD, nH, nW) features of the fixed scan at the control points.
        moving: (C, D, H, W) features of the moving scan.
        points: (nD), (nH), (nW): the control points, in voxel indices of `moving`.
        offsets: (LD), (LH), (LW): the displacements, in voxels of `moving`.
        columns: (nH, nW) bool, columns in which any control point has weight; elsewhere the cost may be left zero.

    Returns:
        (nH, nW, LD, LH, LW, nD); positions outside `moving` take its border value.
    """
    channels, n_d, n_h, n_w = fixed.shape
    l_d, l_h, l_w = (len(o) for o in offsets)
    depth, height, width = moving.shape[1:]
    chunk = work.at_once(fixed.device) // (l_h * l_w * depth * channels)
    chunk = min(max(chunk, 1), n_w)  # control points of one row that are computed together
    planes = _Planes(points[0], offsets[0], depth)
    across = _interpolation(points[1], offsets[1], height, 1)
    along = _interpolation(points[2], offsets[2], width, chunk)
    centre = moving.mean((1, 2, 3), keepdim=True)  # the sums below cancel less around the mean
    source = (moving - centre).permute(2, 3, 1, 0).reshape(height, -1)  # (H, W * D * C)
    query = (fixed - centre).permute(2, 3, 0, 1)  # (nH, nW, C, nD)
    norm = query.square().sum(2)[:, :, None, None, :]
    rows = _Rows((n_h, n_w, l_d, l_h * l_w, n_d), source, query)
    wanted = None if columns is None or rows.traced else columns.tolist()

    def fill(h: int) -> None:
        window, weights = across[h]
        row = (weights @ source[window]).view(l_h, width, depth * channels)
        for w, (window, weights) in zip(range(0, n_w, chunk), along, strict=True):
            block = slice(w, w + chunk)
            if wanted is not None and not any(wanted[h][block]):
                rows.skip(h, block)
                continue
            sampled = torch.bmm(weights.expand(l_h, -1, -1), row[:, window])  # (LH, g * LW, D * C)
            sampled = sampled.view(l_h, -1, l_w, depth, channels).transpose(0, 1).flatten(1, 2)
            rows.put(h, block, planes.interpolate(sampled, query[h, block]), norm[h, block])

    work.each(fill, ((h,) for h in range(n_h)), fixed.device)
    return rows.joined().view(n_h, n_w, l_d, l_h, l_w, n_d).div_(channels).clamp_(min=0)


def taps(points: Tensor, offsets: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return lower and upper neighbour and the upper's weight at points + offsets, each (n, L), border clamped."""
    index = (points[:, None] + offsets[None, :]).clamp(0, size - 1)
    low = index.floor().clamp(max=max(size - 2, 0))
    return low.long(), (low + 1).clamp(max=size - 1).long(), index - low


def _interpolation(points: Tensor, offsets: Tensor, size: int, chunk: int) -> list[tuple[slice, Tensor]]:
    """Write linear interpolation as matrices: per `chunk` points the voxels read, and weights (points * L, voxels)."""
    result = []
    for part in points.split(chunk):
        at = (part[:, None] + offsets[None, :]).flatten().clamp(0, size - 1)
        start, stop = int(at.min()), min(int(at.max()) + 2, size)
        result.append((slice(start, stop), linear_weights(at - start, stop - start)))
    return result


class _Rows:
    """Cost tensor that is filled block by block: in place, or concatenated at the end where gradients are needed."""

    def __init__(self, shape: tuple[int, ...], *sources: Tensor) -> None:
        self.traced = torch.is_grad_enabled() and any(x.requires_grad for x in sources)
        self.shape = shape
        self.blocks: dict[tuple[int, int], Tensor] = {}
        if not self.traced:
            self.cost = torch.empty(shape, device=sources[0].device)

    def put(self, h: int, block: slice, a: Tensor, b: Tensor) -> None:
        """Write a + b, (g, LD, LH * LW, nD), to one block of row h."""
        if self.traced:
            self.blocks[h, block.start] = a + b
        else:
            torch.add(a, b, out=self.cost[h, block])

    def skip(self, h: int, block: slice) -> None:
        """Leave a block of row h zero."""
        self.cost[h, block] = 0

    def joined(self) -> Tensor:
        """Return the whole cost tensor, of the shape given."""
        if not self.traced:
            return self.cost
        return torch.cat([self.blocks[at] for at in sorted(self.blocks)]).view(self.shape)


class _Planes:
    """Interpolate dissimilarities between the planes of the first axis from those on the planes."""

    def __init__(self, points: Tensor, offsets: Tensor, size: int) -> None:
        low, high, weight = (x.T for x in taps(points, offsets, size))  # (LD, nD)
        self.shape = weight.shape
        self.low, self.high, self.weight = low.flatten(), high.flatten(), weight.flatten()
        columns = torch.arange(weight.shape[1], device=weight.device)
        self.low_dot = (low * len(columns) + columns).flatten()  # in a row of D * nD
        self.high_dot = (high * len(columns) + columns).flatten()
        curved = self.weight * (1 - self.weight)
        self.curvature = curved if bool((curved > 1e-6).any()) else None

    def interpolate(self, sampled: Tensor, query: Tensor) -> Tensor:
        """Return |m|^2 - 2 f.m, (g, LD, LH * LW, nD), for g columns of control points.

        Args:
            sampled: (g, LH * LW, D, C) moving features, already at the displaced positions within each plane.
            query: (g, C, nD) fixed features.
        """
        group, area, depth, channels = sampled.shape
        ones = sampled.new_ones(channels)  # a product with ones is faster than a sum over so few channels
        norms = sampled.square() @ ones
        result = torch.lerp(norms.index_select(2, self.low), norms.index_select(2, self.high), self.weight)
        if self.curvature is not None:
            steps = (sampled[:, :, 1:] - sampled[:, :, :-1]).square() @ ones
            result = result - self.curvature * steps.index_select(2, self.low)
        dots = torch.bmm(sampled.reshape(group, area * depth, channels), -2 * query).view(group, area, -1)
        shape = (group, area, len(self.low))
        low, high = dots.gather(2, self.low_dot.expand(shape)), dots.gather(2, self.high_dot.expand(shape))
        result = result + torch.lerp(low, high, self.weight)
        return result.view(group, area, *self.shape).transpose(1, 2)
