"""Approximate min-convolutions and mean-field inference of pdd-net (paper 2019, section 2), and what they yield.

Cost tensors have the layout of correlation.py, (nH, nW, LD, LH, LW, nD).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CACHED = 1 << 16  # values of a cost tensor that are worked on at once, so that they stay in a core's cache


def min_convolution(cost: Tensor) -> Tensor:
    """Lower envelope over the displacements: replicate-pad 3, min-pool 3, average-pool 3 twice, along each of them.

    It approximates the diffusion penalty's parabolas within each control point. Shape kept; a new tensor.
    """
    import torch

    rows = cost.flatten(0, 1)
    step = _chunk(cost, rows[0].numel())
    result = torch.empty_like(rows)
    for i in range(0, len(rows), step):
        result[i : i + step] = _envelope(rows[i : i + step])
    return result.view(cost.shape)


def mean_field(cost: Tensor) -> Tensor:
    """Message passing between control points: replicate-pad 2 and average-pool 3 twice along each control axis.

    Shape kept; a new tensor.
    """
    import torch

    columns = cost.flatten(2, 4)  # (nH, nW, L, nD)
    step = _chunk(cost, columns[:, :, 0].numel())
    result = torch.empty_like(columns)
    for i in range(0, columns.shape[2], step):
        part = columns[:, :, i : i + step]
        for dim in (0, 1, 3):
            part = _average_twice(_replicate(part, dim, 2), dim)
        result[:, :, i : i + step] = part / 729.0
    return result.view(cost.shape)


def regularise(cost: Tensor, weights: tuple[float, float]) -> Tensor:
    """Two rounds of min-convolution and mean field: a = MF(MC(cost)), then MF(MC(w0 * cost + w1 * a)).

    Args:
        cost: (nH, nW, LD, LH, LW, nD).
        weights: (w0, w1), the published alpha_2 and alpha_3; the biases beside them cancel in the softmax.
    """
    message = mean_field(min_convolution(cost))
    return mean_field(min_convolution(weights[0] * cost + weights[1] * message))


@dataclass(frozen=True)
class DisplacementDistribution:
    """Softmax of the regularised costs over the displacements, at every control point.

    Vectors are in mm along the array axes (D, H, W); offsets are the displacements (LD), (LH), (LW) in mm.
    """

    cost: Tensor  # (nH, nW, LD, LH, LW, nD); p = softmax(-cost)
    offsets: tuple[Tensor, Tensor, Tensor]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Expectation (3, nD, nH, nW) in mm, and the standard deviation (nD, nH, nW): sqrt(E|d - E d|^2), in mm."""
        import torch

        steps = torch.stack(torch.meshgrid(*self.offsets, indexing="ij")).flatten(1)  # (3, L)
        basis = torch.cat([steps, steps.square().sum(0, keepdim=True), torch.ones_like(steps[:1])])
        rows = self.cost.flatten(2, 4).flatten(0, 1)  # (nH * nW, L, nD)
        size = _chunk(rows, rows[0].numel())
        sums = []
        for i in range(0, len(rows), size):
            part = rows[i : i + size]
            sums.append(basis @ torch.exp(part.amin(1, keepdim=True) - part))
        moments = torch.cat(sums)  # (nH * nW, 5, nD)
        moments = moments[:, :4] / moments[:, 4:]
        mean = moments[:, :3]
        variance = (moments[:, 3] - mean.square().sum(1)).clamp(min=0)
        n_h, n_w = self.cost.shape[:2]
        return mean.view(n_h, n_w, 3, -1).permute(2, 3, 0, 1), variance.view(n_h, n_w, -1).permute(2, 0, 1).sqrt()


def _chunk(cost: Tensor, row: int) -> int:
    """Rows of a cost tensor to take at once."""
    return max(1, (CACHED if cost.device.type == "cpu" else 1 << 26) // row)


def _envelope(rows: Tensor) -> Tensor:
    """(N, LD, LH, LW, nD): the min-convolution of a few rows."""
    import torch

    for dim in (1, 2, 3):
        n = rows.shape[dim]
        if n < 3:  # too short for the scheme below: pad first
            padded = _replicate(rows, dim, 3)
            rows = torch.stack([padded.narrow(dim, i, n + 4) for i in range(3)]).amin(0)
            continue
        pairs = torch.minimum(rows.narrow(dim, 0, n - 1), rows.narrow(dim, 1, n - 1))
        inner = torch.minimum(pairs.narrow(dim, 0, n - 2), pairs.narrow(dim, 1, n - 2))
        first, last = rows.narrow(dim, 0, 1), rows.narrow(dim, n - 1, 1)
        ends = pairs.narrow(dim, 0, 1), pairs.narrow(dim, n - 2, 1)
        rows = torch.cat([first, first, ends[0], inner, ends[1], last, last], dim)
    for dim in (1, 2, 3):
        rows = _average_twice(rows, dim)
    return rows / 729.0


def _replicate(x: Tensor, dim: int, width: int) -> Tensor:
    import torch

    first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
    return torch.cat([first] * width + [x] + [last] * width, dim)


def _average_twice(x: Tensor, dim: int) -> Tensor:
    """Two moving sums of three along `dim`, which shrinks by four; the factor 1/9 is left to the caller."""
    for _ in range(2):
        n = x.shape[dim] - 2
        x = (x.narrow(dim, 0, n) + x.narrow(dim, 2, n)).add_(x.narrow(dim, 1, n))
    return x
