"""Approximate min-convolutions and mean-field inference of pdd-net (paper 2019, section 2), and what they yield.

Cost tensors have the layout of correlation.py, (nH, nW, LD, LH, LW, nD).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .work import ALONE, Work

if TYPE_CHECKING:
    from torch import Tensor


def min_convolution(cost: Tensor, work: Work = ALONE, *, in_place: bool = False) -> Tensor:
    """Lower envelope over the displacements: replicate-pad 3, min-pool 3, average-pool 3 twice, along each of them.

    It approximates the diffusion penalty's parabolas within each control point. Shape kept; a new tensor, or `cost`
    itself where no gradient is needed and it may be overwritten: fresh memory costs about as much as the work.
    """
    return _by_chunks(cost.flatten(0, 1), 0, _envelope, work, in_place).view(cost.shape)


def mean_field(cost: Tensor, work: Work = ALONE, *, in_place: bool = False) -> Tensor:
    """Message passing between control points: replicate-pad 2 and average-pool 3 twice along each control axis.

    Shape kept; a new tensor, or `cost` itself as above.
    """
    return _by_chunks(cost.flatten(2, 4), 2, _message, work, in_place).view(cost.shape)  # (nH, nW, L, nD)


def regularise(cost: Tensor, weights: tuple[float, float], work: Work = ALONE) -> Tensor:
    """Two rounds of min-convolution and mean field: a = MF(MC(cost)), then MF(MC(w0 * cost + w1 * a)).

    Args:
        cost: (nH, nW, LD, LH, LW, nD).
        weights: (w0, w1), the published alpha_2 and alpha_3; the biases beside them cancel in the softmax.
    """
    message = mean_field(min_convolution(cost, work), work, in_place=True)
    message = message.mul_(weights[1]).add_(cost, alpha=weights[0])
    return mean_field(min_convolution(message, work, in_place=True), work, in_place=True)


@dataclass(frozen=True)
class DisplacementDistribution:
    """Softmax of the regularised costs over the displacements, at every control point.

    Vectors are in mm along the array axes (D, H, W); offsets are the displacements (LD), (LH), (LW) in mm.
    """

    cost: Tensor  # (nH, nW, LD, LH, LW, nD); p = softmax(-cost)
    offsets: tuple[Tensor, Tensor, Tensor]

    def moments(self, work: Work = ALONE) -> tuple[Tensor, Tensor]:
        """Expectation (3, nD, nH, nW) in mm, and the standard deviation (nD, nH, nW): sqrt(E|d - E d|^2), in mm."""
        import torch

        steps = torch.stack(torch.meshgrid(*self.offsets, indexing="ij")).flatten(1)  # (3, L)
        basis = torch.cat([steps, steps.square().sum(0, keepdim=True), torch.ones_like(steps[:1])])
        rows = self.cost.flatten(2, 4).flatten(0, 1)  # (nH * nW, L, nD)
        parts = rows.split(_chunk(rows, 0, work))
        sums: list[Tensor] = [basis] * len(parts)

        def add_up(i: int) -> None:  # the shift by the minimum cancels below: no gradient
            sums[i] = basis @ torch.exp(parts[i].detach().amin(1, keepdim=True) - parts[i])

        work.each(add_up, ((i,) for i in range(len(parts))), rows.device)
        moments = torch.cat(sums)  # (nH * nW, 5, nD)
        moments = moments[:, :4] / moments[:, 4:]
        mean = moments[:, :3]
        variance = moments[:, 3] - mean.square().sum(1)
        variance = variance.clamp(min=1e-6)  # (0.001 mm)^2: the root of zero has no slope
        n_h, n_w = self.cost.shape[:2]
        return mean.view(n_h, n_w, 3, -1).permute(2, 3, 0, 1), variance.view(n_h, n_w, -1).permute(2, 0, 1).sqrt()


def _chunk(x: Tensor, dim: int, work: Work) -> int:
    """How many slices along `dim` to take at once."""
    return max(1, work.at_once(x.device) * x.shape[dim] // max(x.numel(), 1))


def _by_chunks(x: Tensor, dim: int, function: Callable[[Tensor], Tensor], work: Work, in_place: bool) -> Tensor:
    """function(x) / 729, computed for a few slices along `dim` at a time.

    The 729 is that of two averages of three along three axes.
    """
    import torch

    parts = x.split(_chunk(x, dim, work), dim)
    if torch.is_grad_enabled() and x.requires_grad:
        return torch.cat([function(part) for part in parts], dim) / 729.0
    result = x if in_place else torch.empty_like(x)
    places = result.split(parts[0].shape[dim], dim)
    work.each(
        lambda part, place: torch.div(function(part), 729.0, out=place), zip(parts, places, strict=True), x.device
    )
    return result


def _envelope(rows: Tensor) -> Tensor:
    """(N, LD, LH, LW, nD): the min-convolution of a few rows, times 729."""
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
    return rows


def _message(columns: Tensor) -> Tensor:
    """(nH, nW, N, nD): the mean field of a few displacements, times 729."""
    for dim in (0, 1, 3):
        columns = _average_twice(_replicate(columns, dim, 2), dim)
    return columns


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
