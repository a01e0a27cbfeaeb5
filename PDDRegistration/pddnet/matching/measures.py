"""What a run measures of its own result: similarity, folding, uncertainty, inverse consistency. The verdict's input.

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

IN_BODY = 0.5  # share of a node that is body, from which on it counts


@dataclass(frozen=True)
class Measured:
    """The measures of a result under the names that the verdict and the report know, and its uncertainty."""

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
        steps: what the stages of discrete matching added.
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
    """% of the body in which the field folds; fixed: the fixed scan on the field's lattice."""
    folded = determinant(field, fixed.grid) <= 0
    body = fixed.body > IN_BODY
    return 100.0 * float((folded & body).sum()) / max(float(body.sum()), 1.0)


def _uncertainty(fixed: Scan, steps: Sequence[StageResult]) -> Tensor:
    """(D, H, W) mm: standard deviation of the displacements in the last step; zero without any."""
    if not steps:
        return fixed.values.new_zeros(fixed.grid.shape)
    return resample(steps[-1].uncertainty[None], steps[-1].control, fixed.grid)[0]


def _mean_inconsistency(fixed: Scan, steps: Sequence[StageResult]) -> float | None:
    """mm between both directions, mean over the body, of the last step that has both; None without any or a body."""
    both_ways = [(step.inconsistency, step.control) for step in steps if step.inconsistency is not None]
    if not both_ways or not bool((fixed.body > IN_BODY).any()):
        return None
    inconsistency, control = both_ways[-1]
    return _mean_in_body(resample(inconsistency[None], control, fixed.grid)[0], fixed)


def _mean_in_body(x: Tensor, fixed: Scan) -> float:
    """Mean of (D, H, W) over the body; over everything where there is none."""
    body, values = to_array(fixed.body) > IN_BODY, to_array(x)
    return float(values[body].mean() if body.any() else values.mean())
