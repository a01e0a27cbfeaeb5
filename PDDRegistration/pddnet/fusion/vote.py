"""Let atlases vote on the label of each voxel."""

from __future__ import annotations

import numpy as np

_TIE = 1e-5  # of the sum of all weights: sums that differ by less differ by rounding only


def vote(labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take at each voxel the label with the largest sum of weights; at a tie the one that stands first.

    Args:
        labels: (N, ...) of N atlases.
        weights: (N, ...), 0 or more, in any unit.

    Returns:
        (...) the labels in their type, and (...) float32, the share of the weights that they have, 0..1; both are 0
        where all weights are.
    """
    total = weights.sum(0)
    fused, most = np.zeros_like(labels[0]), np.zeros_like(total)
    for label in labels:
        support = np.zeros_like(total)
        for other, weight in zip(labels, weights, strict=True):
            support += np.where(other == label, weight, 0)
        better = support > most + _TIE * total
        fused, most = np.where(better, label, fused), np.where(better, support, most)
    return fused, _share(most, total)


def disagreement(labels: np.ndarray, seen: np.ndarray, fused: np.ndarray) -> np.ndarray:
    """Return the share of the atlases that name another label than the fused one, (...) float32, 0..1.

    labels: (N, ...). seen: (N, ...) bool, where each atlas shows anything; the others do not count. fused: (...).
    """
    return _share((seen & (labels != fused)).sum(0), seen.sum(0))


def _share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.divide(part, total, out=np.zeros(total.shape, np.float32), where=total > 0, casting="unsafe")
    return share
