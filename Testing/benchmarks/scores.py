"""Measure how well one number ranks or predicts another: AUROC, Spearman's correlation, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

RESAMPLES = 2000


def auroc(score: np.ndarray, wrong: np.ndarray) -> float:
    """Return the chance that a random wrong case scores higher than a random right one; ties count half.

    Args:
        score: (N,) higher means worse.
        wrong: (N,) bool. NaN is returned unless there are both kinds.
    """
    score, wrong = np.asarray(score, float), np.asarray(wrong, bool)
    n, m = np.count_nonzero(wrong), np.count_nonzero(~wrong)
    if not n or not m:
        return float("nan")
    return float((stats.rankdata(score)[wrong].sum() - n * (n + 1) / 2) / (n * m))


def auroc_interval(score: np.ndarray, wrong: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of `auroc` over RESAMPLES bootstrap samples; NaN without both kinds."""
    score, wrong = np.asarray(score, float), np.asarray(wrong, bool)
    picks = np.random.default_rng(seed).integers(0, len(score), (RESAMPLES, len(score)))
    values = [auroc(score[pick], wrong[pick]) for pick in picks]
    known = np.array([v for v in values if np.isfinite(v)])
    return _central(known) if known.size else (float("nan"), float("nan"))


def interval(statistic: Callable[[np.ndarray], float], values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic of values (N,) over RESAMPLES bootstrap samples."""
    values = np.asarray(values, float)
    picks = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    return _central(np.array([statistic(values[pick]) for pick in picks]))


def _central(values: np.ndarray) -> tuple[float, float]:
    """Return the limits of the central 95 % of values (N,)."""
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return low, high


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation; NaN for fewer than three cases or a constant side."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)
