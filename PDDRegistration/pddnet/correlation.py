"""The correlation layer of pdd-net (paper 2019, section 2): dense displacement dissimilarities in a fast, exact form.

As published it samples the moving features by a 3-D grid_sample at every control point plus every displacement. Those
positions are a tensor product, so trilinear sampling separates into one linear interpolation per axis. The first axis
is interpolated last, on scalars: with |f - m|^2 = |f|^2 - 2 f.m + |m|^2 the part |m|^2 - 2 f.m of every plane is one
matrix product, and for m between two planes a and b at weight w

    |(1 - w) a + w b|^2 = (1 - w) |a|^2 + w |b|^2 - w (1 - w) |b - a|^2.

A cost tensor has shape (nH, nW, LD, LH, LW, nD): control points n, displacements L. This order keeps the control points
of one column together, which is what both this layer and the inference read and write in one go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def correlate(
    fixed: Tensor, moving: Tensor, points: tuple[Tensor, ...], offsets: tuple[Tensor, ...], *, chunk: int | None = None
) -> Tensor:
    """Mean squared feature difference of every control point and every displacement.

    Args:
        fixed: (C, nD, nH, nW) features of the fixed scan at the control points.
        moving: (C, D, H, W) features of the moving scan.
        points: (nD), (nH), (nW): the control points, in voxel indices of `moving`.
        offsets: (LD), (LH), (LW): the displacements, in voxels of `moving`.
        chunk: control points of one row that are computed together (default: 1 on a CPU, a row on a GPU).

    Returns:
        (nH, nW, LD, LH, LW, nD); positions outside `moving` take its border value.
    """
    import torch

    channels, n_d, n_h, n_w = fixed.shape
    l_d, l_h, l_w = (len(o) for o in offsets)
    chunk = chunk or (1 if fixed.device.type == "cpu" else n_w)
    planes = _Planes(points[0], offsets[0], moving.shape[1])
    low_h, high_h, weight_h = taps(points[1], offsets[1], moving.shape[2])
    low_w, high_w, weight_w = taps(points[2], offsets[2], moving.shape[3])
    centre = moving.mean((1, 2, 3), keepdim=True)  # the sums below cancel less around the mean
    source = (moving - centre).permute(1, 2, 3, 0).contiguous()
    query = (fixed - centre).permute(2, 3, 0, 1)  # (nH, nW, C, nD)
    norm = query.square().sum(2)[:, :, None, None, :]
    cost = torch.empty(n_h, n_w, l_d, l_h * l_w, n_d, device=fixed.device)
    for h in range(n_h):
        row = _lerp(source[:, low_h[h]], source[:, high_h[h]], weight_h[h][:, None, None])  # (D, LH, W, C)
        for w in range(0, n_w, chunk):
            block = slice(w, w + chunk)
            low, high, weight = low_w[block].flatten(), high_w[block].flatten(), weight_w[block].flatten()
            sampled = _lerp(row.index_select(2, low), row.index_select(2, high), weight[:, None])
            sampled = sampled.view(*row.shape[:2], -1, l_w, channels).permute(2, 0, 1, 3, 4)
            cost[h, block] = planes.interpolate(sampled.flatten(2, 3), query[h, block]) + norm[h, block]
    return cost.view(n_h, n_w, l_d, l_h, l_w, n_d).div_(channels).clamp_(min=0)


def taps(points: Tensor, offsets: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper neighbour and the upper one's weight for points + offsets, each (n, L), clamped at the border."""
    where = (points[:, None] + offsets[None, :]).clamp(0, size - 1)
    low = where.floor().clamp(max=max(size - 2, 0))
    return low.long(), (low + 1).clamp(max=size - 1).long(), where - low


def _lerp(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    return low + (high - low) * weight


class _Planes:
    """Dissimilarities between the planes of the first axis, from those on the planes."""

    def __init__(self, points: Tensor, offsets: Tensor, size: int) -> None:
        low, high, weight = taps(points, offsets, size)
        self.low, self.high = low.T[None, :, None, :], high.T[None, :, None, :]  # (1, LD, 1, nD)
        self.weight = weight.T[None, :, None, :]
        curved = weight * (1 - weight)
        self.curvature = curved.T[None, :, None, :] if bool((curved > 1e-6).any()) else None

    def interpolate(self, sampled: Tensor, query: Tensor) -> Tensor:
        """|m|^2 - 2 f.m, (g, LD, LH * LW, nD), for g columns of control points.

        Args:
            sampled: (g, D, LH * LW, C) moving features, already at the displaced positions within each plane.
            query: (g, C, nD) fixed features.
        """
        import torch

        group, depth, area, channels = sampled.shape
        n_d, l_d = self.low.shape[3], self.low.shape[1]
        norms = sampled.square().sum(-1, keepdim=True)
        dots = torch.bmm(sampled.reshape(group, depth * area, channels), -2 * query)
        dots = dots.view(group, depth, area, n_d) + norms
        shape = (group, l_d, area, n_d)
        result = _lerp(dots.gather(1, self.low.expand(shape)), dots.gather(1, self.high.expand(shape)), self.weight)
        if self.curvature is not None:
            steps = (sampled[:, 1:] - sampled[:, :-1]).square().sum(-1, keepdim=True).expand(-1, -1, -1, n_d)
            result = result - self.curvature * steps.gather(1, self.low.expand(shape))
        return result
