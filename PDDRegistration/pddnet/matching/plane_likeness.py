"""Measure how alike two 2-D images are: correlation of MIND, mutual information of their values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..tensor.convert import to_array
from .plane_scan import MIND_IN_PLANE, PlanePair

BINS = 24  # of either image's values
LEAST_IN_VIEW = 0.5


@dataclass(frozen=True)
class Likeness:
    """Correlation of MIND where both images show something, and the share of the fixed one where they do."""

    correlation: float  # -1..1
    overlap: float  # 0..1

    @property
    def value(self) -> float:
        """Return the correlation, lowered where only a small part is compared."""
        return self.correlation * min(1.0, self.overlap / LEAST_IN_VIEW)


def likeness(pair: PlanePair) -> Likeness:
    """Correlate MIND of a pair within the views of both.

    Learned features have no say: where a network errs alike in both images, they would be alike for no reason.
    """
    fixed, moving = pair.maps
    weight = fixed.weight * moving.weight
    total = weight.sum().clamp(min=1e-6)
    f, m = (_centred(each.features[:MIND_IN_PLANE], weight, total) for each in (fixed, moving))
    scale = ((weight * f * f).sum() * (weight * m * m).sum()).sqrt().clamp(min=1e-6)
    overlap = float(weight.sum() / fixed.weight.sum().clamp(min=1e-6))
    return Likeness(float((weight * f * m).sum() / scale), overlap)


def compared(pair: PlanePair, suffix: str = "") -> dict[str, float]:
    """Measure a pair: similarity, overlap and mutual information, each name with the suffix."""
    found = likeness(pair)
    information = mutual_information(*pair.values, pair.both_views)
    measures = {"similarity": found.correlation, "overlap": found.overlap, "mutual_information": information}
    return {f"{name}{suffix}": value for name, value in measures.items()}


def _centred(x: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    return x - ((x * weight).flatten(1).sum(1) / total).view(-1, 1, 1, 1)


def mutual_information(fixed: Tensor, moving: Tensor, view: Tensor) -> float:
    """Return the normalised mutual information 2 I / (H_f + H_m) of values within a view, all (1, H, W): 0..1.

    It is 1 where either image tells the other, and 0 where it tells nothing (Studholme et al. 1999,
    doi:10.1016/S0031-3203(98)00091-0, gives the kin (H_f + H_m) / H_fm).
    """
    inside = to_array(view) > LEAST_IN_VIEW
    f, m = to_array(fixed)[inside], to_array(moving)[inside]
    if f.size < BINS:
        return 0.0
    joint = np.histogram2d(f, m, BINS)[0] / f.size
    h_f, h_m, h_both = (_entropy(p) for p in (joint.sum(1), joint.sum(0), joint.ravel()))
    return float(2 * (h_f + h_m - h_both) / max(h_f + h_m, 1e-12))


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
