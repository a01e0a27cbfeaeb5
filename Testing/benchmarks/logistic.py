"""Fit a logistic regression to few cases: L2-regularised on standardised inputs, cross-validated by groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

PENALTY = 1.0  # on half the squared standardised weights, against the summed log-loss


@dataclass(frozen=True)
class Model:
    """P(wrong) = 1 / (1 + exp(-(bias + sum of weight * (value - mean)))), in the inputs' own units."""

    bias: float
    means: np.ndarray  # (F,)
    weights: np.ndarray  # (F,)

    def logit(self, values: np.ndarray) -> np.ndarray:
        """Return the log-odds (N,) of inputs (N, F)."""
        return self.bias + (np.asarray(values, float) - self.means) @ self.weights


def fit(values: np.ndarray, wrong: np.ndarray, signs: np.ndarray, penalty: float = PENALTY) -> Model:
    """Find the weights of least penalised log-loss; a constant input gets no weight.

    Args:
        values: (N, F). wrong: (N,) bool.
        signs: (F,), +1 where more can only be worse, -1 where it can only be better. On few cases a free weight takes
            the other sign by chance, against what is known of the measure.
        penalty: factor of half the squared standardised weights.
    """
    values, target = np.asarray(values, float), np.asarray(wrong, float)
    means, scale = values.mean(0), values.std(0)
    scale = np.where(scale > 1e-9, scale, np.inf)
    inputs = np.c_[np.ones(len(values)), (values - means) / scale]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        logit = inputs @ w
        value = np.logaddexp(0, logit).sum() - target @ logit + 0.5 * penalty * w[1:] @ w[1:]
        slope = inputs.T @ (special.expit(logit) - target) + penalty * np.r_[0, w[1:]]
        return value, slope

    bounds = [(None, None), *((0, None) if sign > 0 else (None, 0) for sign in signs)]
    w = optimize.minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Model(float(w[0]), means, w[1:] / scale)


def left_out(values: np.ndarray, wrong: np.ndarray, groups: Sequence[Sequence[str]], signs: np.ndarray) -> np.ndarray:
    """Return the logits (N,) of every case from models that were fitted without its groups.

    A case belongs to several groups (both scans of a pair). For each of them a model is fitted to the cases without
    that group; the case's logit is the mean over its groups. NaN where the rest holds only one kind of case.
    """
    values, wrong = np.asarray(values, float), np.asarray(wrong, bool)
    found: list[list[float]] = [[] for _ in groups]
    for held in sorted({name for names in groups for name in names}):
        inside = np.array([held in names for names in groups])
        if len(set(wrong[~inside].tolist())) < 2:
            continue
        for i, logit in zip(
            np.flatnonzero(inside), fit(values[~inside], wrong[~inside], signs).logit(values[inside]), strict=True
        ):
            found[i].append(float(logit))
    return np.array([np.mean(logits) if logits else np.nan for logits in found])
