"""Search over all translations by the masked normalised cross-correlation of coarse features (Padfield 2012).

Padfield: Masked object registration in the Fourier domain, doi:10.1109/TIP.2011.2181402. Correlations are
computed and normalised over the overlap of both views only, so that the air outside a view never counts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ..tensor.execution import ALONE, Work
from .coarse_scan import CoarseScan

PEAKS = 5
CELLS_APART = 3  # between two peaks
# A larger overlap is better evidence, the more so among thousands of shifts with little overlap.
SHIFT_OVERLAP_POWER = 0.5
LEAST_OVERLAP_CELLS = 300.0  # about 0.15 litres
LEAST_SCALE = 1e-4  # of the largest product of the standard deviations: smaller ones are raised to it
REJECTED = -1.0  # score of shifts that are no candidates: the lowest possible correlation


def best_translations(fixed: CoarseScan, moving: CoarseScan, work: Work = ALONE) -> list[np.ndarray]:
    """Return the shifts (LPS mm, fixed to moving) at the PEAKS highest peaks of the correlation, best first.

    The score is the correlation over all channels together, for every whole-cell shift, times the share of the overlap
    to the power of SHIFT_OVERLAP_POWER.
    """
    sizes = zip(fixed.weight.shape, moving.weight.shape, strict=True)
    shape = [next_fast_len(f + m - 1, real=True) for f, m in sizes]
    correlation, overlap = _correlation(fixed, moving, shape, work)
    full = min(float(fixed.weight.sum()), float(moving.weight.sum()))
    score = correlation * (overlap / full).clamp(0, 1) ** SHIFT_OVERLAP_POWER
    score = score.masked_fill(overlap < min(LEAST_OVERLAP_CELLS, 0.5 * full), REJECTED)
    return [_shift(index, shape, fixed, moving) for index in _peaks(score)]


def _correlation(fixed: CoarseScan, moving: CoarseScan, shape: list[int], work: Work) -> tuple[Tensor, Tensor]:
    """Return for every circular shift the normalised correlation and the overlap in cells, both of shape `shape`."""

    def spectrum(x: Tensor) -> Tensor:
        return torch.fft.rfftn(x, s=shape)

    def correlate(a: Tensor, b: Tensor) -> Tensor:
        """Sum a(x) b(x + shift) over x, given the spectra of a and b."""
        work.tick()
        return torch.fft.irfftn(a.conj() * b, s=shape)

    fixed_weight, moving_weight = spectrum(fixed.weight), spectrum(moving.weight)
    overlap = correlate(fixed_weight, moving_weight)
    safe = overlap.clamp(min=1.0)
    covariance = torch.zeros_like(overlap)
    fixed_variance = correlate(spectrum(fixed.features.square().sum(0) * fixed.weight), moving_weight)
    moving_variance = correlate(fixed_weight, spectrum(moving.features.square().sum(0) * moving.weight))
    for fixed_channel, moving_channel in zip(fixed.features, moving.features, strict=True):
        f, m = spectrum(fixed_channel * fixed.weight), spectrum(moving_channel * moving.weight)
        fixed_sum, moving_sum = correlate(f, moving_weight), correlate(fixed_weight, m)
        covariance += correlate(f, m) - fixed_sum * moving_sum / safe
        fixed_variance -= fixed_sum.square() / safe
        moving_variance -= moving_sum.square() / safe
    scale = (fixed_variance.clamp(min=0) * moving_variance.clamp(min=0)).sqrt()
    return covariance / scale.clamp(min=LEAST_SCALE * float(scale.max()) + 1e-6), overlap


def _peaks(score: Tensor) -> Iterator[np.ndarray]:
    """Yield indices (3,) of the highest values, more than CELLS_APART cells apart; overwrites `score` around them."""
    reach = torch.arange(-CELLS_APART, CELLS_APART + 1, device=score.device)
    for _ in range(PEAKS):
        peak = [int(i) for i in np.unravel_index(int(score.argmax()), score.shape)]
        if float(score[tuple(peak)]) <= 0:
            return
        yield np.array(peak)
        d, h, w = ((reach + i) % n for i, n in zip(peak, score.shape, strict=True))
        score[d[:, None, None], h[None, :, None], w[None, None, :]] = REJECTED


def _shift(index: np.ndarray, shape: list[int], fixed: CoarseScan, moving: CoarseScan) -> np.ndarray:
    """Convert an index of the circular correlation to LPS mm; indices beyond the moving size are negative shifts."""
    cells = np.where(index >= np.array(moving.weight.shape), index - np.array(shape), index)
    return fixed.grid.axes @ cells[::-1] + moving.grid.origin - fixed.grid.origin
