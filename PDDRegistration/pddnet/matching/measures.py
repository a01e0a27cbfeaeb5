"""Measure the result of a run, for the verdict: similarity, folding, uncertainty, inverse consistency.

Fields are (3, D, H, W) displacements on the fixed view's lattice, in mm along its array axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..core.affine import Affine
from ..tensor.convert import to_array
from ..tensor.execution import Work
from ..tensor.folding import determinant
from ..tensor.lattice import resample
from ..tensor.scan import Scan
from .similarity import Similarity
from .stage import StageResult

IN_BODY = 0.5  # a node counts as body if more of it than this is body


@dataclass(frozen=True)
class Measured:
    """Measures of a result, under the names that the verdict and the report use, and its uncertainty."""

    measures: dict[str, float]
    uncertainty: Tensor  # (D, H, W) mm
    inverse_consistency: float | None  # mm, also among the measures


def measure(
    fixed: Scan, similarity: Similarity, affine: Affine, field: Tensor, steps: Sequence[StageResult], work: Work
) -> Measured:
    """Measure a field after all stages.

    Args:
        fixed: the fixed scan on the field's lattice.
        affine: fixed to moving points, LPS mm, after the field.
        steps: the results of the stages of discrete matching.
    """
    similarity_after, overlap = similarity(affine, field)
    measures = {"overlap": overlap, "similarity": similarity_after, "folding_percent": folding_percent(field, fixed)}
    work.tick()
    uncertainty = _uncertainty(fixed, steps)
    measures["spread"] = _mean_in_body(uncertainty, fixed)
    inconsistency = _mean_inconsistency(fixed, steps)
    if inconsistency is not None:
        measures["inverse_consistency"] = inconsistency
    work.tick()
    return Measured(measures, uncertainty, inconsistency)


def folding_percent(field: Tensor, fixed: Scan) -> float:
    """Return the percentage of the body in which the field folds; fixed: the fixed scan on the field's lattice."""
    folded = determinant(field, fixed.grid) <= 0
    body = fixed.body > IN_BODY
    return 100.0 * float((folded & body).sum()) / max(float(body.sum()), 1.0)


def _uncertainty(fixed: Scan, steps: Sequence[StageResult]) -> Tensor:
    """Return the standard deviation of the displacements in the last stage, (D, H, W) mm; zero without any stage."""
    if not steps:
        return fixed.values.new_zeros(fixed.grid.shape)
    return resample(steps[-1].uncertainty[None], steps[-1].control, fixed.grid)[0]


def _mean_inconsistency(fixed: Scan, steps: Sequence[StageResult]) -> float | None:
    """Return the mean inconsistency (mm) in the body, last stage with both directions; None without one or a body."""
    both_ways = [(step.inconsistency, step.control) for step in steps if step.inconsistency is not None]
    if not both_ways or not bool((fixed.body > IN_BODY).any()):
        return None
    inconsistency, control = both_ways[-1]
    return _mean_in_body(resample(inconsistency[None], control, fixed.grid)[0], fixed)


def _mean_in_body(x: Tensor, fixed: Scan) -> float:
    """Average x (D, H, W) over the body; over everything where there is no body."""
    body, values = to_array(fixed.body) > IN_BODY, to_array(x)
    return float(values[body].mean() if body.any() else values.mean())
