"""Infer the displacement distribution from a cost volume by approximate min-convolutions and mean field.

Heinrich, MICCAI 2019 (pdd-net, doi:10.1007/978-3-030-32226-7_6), section 2. Cost tensors have the layout of
cost_volume.py, (nH, nW, LD, LH, LW, nD): control points n, displacements L.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..tensor.execution import ALONE, Work
from ..tensor.pools import pool_three


def min_convolution(cost: Tensor, work: Work = ALONE, *, in_place: bool = False) -> Tensor:
    """Min-convolve over the displacements: replicate-pad 3, min-pool 3, average-pool 3 twice, along each axis.

    It approximates, at each control point, the lower envelope of the diffusion penalty's parabolas. Returns the same
    shape: a new tensor, or with `in_place`, where no gradient is needed, `cost` itself, overwritten: allocating memory
    takes about as long as the computation.
    """
    averages = [_averages(n, 1, cost) for n in cost.shape[2:5]]
    rows = cost.flatten(0, 1)
    return _by_chunks(rows, 0, lambda part: _envelope(part, averages), work, in_place).view(cost.shape)


def mean_field(cost: Tensor, work: Work = ALONE, *, in_place: bool = False) -> Tensor:
    """Pass messages between control points (mean field): replicate-pad 2, average-pool 3 twice, along each axis.

    Returns the same shape: a new tensor or `cost` itself, see `min_convolution`.
    """
    averages = [_averages(n, 0, cost) for n in (*cost.shape[:2], cost.shape[-1])]
    columns = cost.flatten(2, 4)  # (nH, nW, L, nD)
    return _by_chunks(columns, 2, lambda part: _message(part, averages), work, in_place).view(cost.shape)


def regularise(cost: Tensor, weights: tuple[float, float | Tensor], work: Work = ALONE) -> Tensor:
    """Regularise by two rounds of min-convolution and mean field: a = MF(MC(cost)), then MF(MC(w0 * cost + w1 * a)).

    Args:
        cost: (nH, nW, LD, LH, LW, nD).
        weights: (w0, w1), the published alpha_2 and alpha_3; the published biases cancel in the softmax.
    """
    message = mean_field(min_convolution(cost, work), work, in_place=True)
    message = message.mul_(weights[1]).add_(cost, alpha=weights[0])
    return mean_field(min_convolution(message, work, in_place=True), work, in_place=True)


@dataclass(frozen=True)
class DisplacementDistribution:
    """Distribution over the displacements at every control point: softmax of the negative regularised costs.

    Vectors are in mm along the array axes (D, H, W); offsets are the displacements (LD), (LH), (LW) in mm.
    """

    cost: Tensor  # (nH, nW, LD, LH, LW, nD); p = softmax(-cost)
    offsets: tuple[Tensor, Tensor, Tensor]

    def moments(self, work: Work = ALONE) -> tuple[Tensor, Tensor]:
        """Compute the expectation (3, nD, nH, nW) and the uncertainty (nD, nH, nW), sqrt(E|d - E d|^2), both in mm."""
        steps = torch.stack(torch.meshgrid(*self.offsets, indexing="ij")).flatten(1)  # (3, L)
        basis = torch.cat([steps, steps.square().sum(0, keepdim=True), torch.ones_like(steps[:1])])
        rows = self.cost.flatten(2, 4).flatten(0, 1)  # (nH * nW, L, nD)
        parts = rows.split(_chunk(rows, 0, work))
        sums: list[Tensor] = [basis] * len(parts)

        def add_up(i: int) -> None:
            least = parts[i].detach().amin(1, keepdim=True)  # cancels in the quotient below, so it needs no gradient
            sums[i] = basis @ torch.exp(least - parts[i])

        work.each(add_up, ((i,) for i in range(len(parts))), rows.device)
        moments = torch.cat(sums)  # (nH * nW, 5, nD)
        moments = moments[:, :4] / moments[:, 4:]
        mean = moments[:, :3]
        variance = moments[:, 3] - mean.square().sum(1)
        variance = variance.clamp(min=1e-6)  # (0.001 mm)^2: the square root is not differentiable at zero
        n_h, n_w = self.cost.shape[:2]
        return mean.view(n_h, n_w, 3, -1).permute(2, 3, 0, 1), variance.view(n_h, n_w, -1).permute(2, 0, 1).sqrt()


def _chunk(x: Tensor, dim: int, work: Work) -> int:
    """Return how many slices along `dim` to compute at once."""
    return max(1, work.at_once(x.device) * x.shape[dim] // max(x.numel(), 1))


def _by_chunks(x: Tensor, dim: int, function: Callable[[Tensor], Tensor], work: Work, in_place: bool) -> Tensor:
    """Compute function(x) for a few slices along `dim` at a time."""
    parts = x.split(_chunk(x, dim, work), dim)
    if torch.is_grad_enabled() and x.requires_grad:
        return torch.cat([function(part) for part in parts], dim)
    result = x if in_place else torch.empty_like(x)
    places = result.split(parts[0].shape[dim], dim)
    work.each(lambda part, place: place.copy_(function(part)), zip(parts, places, strict=True), x.device)
    return result


def _averages(n: int, beyond: int, like: Tensor) -> Tensor:
    """Write two moving averages of three as a matrix (n, n + 2 * beyond): n values and `beyond` more at either end.

    The outermost value is repeated. One matrix product is faster than four sums.
    """
    node = torch.arange(n, device=like.device)
    matrix = like.new_zeros(n, n + 2 * beyond)
    for offset, weight in zip(range(-2, 3), (1, 2, 3, 2, 1), strict=True):
        matrix[node, (node + offset).clamp(-beyond, n - 1 + beyond) + beyond] += weight / 9
    return matrix


def _envelope(rows: Tensor, averages: list[Tensor]) -> Tensor:
    """Min-convolve a few rows of control points, (N, LD, LH, LW, nD)."""
    for dim in (1, 2, 3):
        rows = pool_three(rows, dim, torch.minimum)
    for dim, average in zip((1, 2, 3), averages, strict=True):
        rows = (average @ rows.flatten(0, dim - 1).flatten(2)).view(*rows.shape[:dim], -1, *rows.shape[dim + 1 :])
    return rows


def _message(columns: Tensor, averages: list[Tensor]) -> Tensor:
    """Compute the mean field of a few displacements, (nH, nW, N, nD)."""
    h, w, d = averages
    columns = w @ (columns.contiguous() @ d.T).flatten(2)
    return (h @ columns.flatten(1)).view(len(h), len(w), -1, len(d))
