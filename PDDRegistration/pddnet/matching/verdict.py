"""Judge a registration (ok, doubtful or failed) by the measures that the run itself took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..core.result import Verdict
from ..core.structures import ASTRAY, StructureFit, worst_first

DOUBTFUL_RISK, FAILED_RISK = 0.25, 0.75  # probability of a wrong result

# Beyond these limits the verdict states a reason and is at least doubtful, whatever the risk. Chosen by judgement, not
# fitted.
LEAST_OVERLAP = 0.25  # of the smaller body: with less, the alignment has too little to compare
MOST_PEAK_RATIO = 0.97  # another place that scores within 3 % cannot be told from the best one ...
SETTLED_AGREEMENT = 0.9  # ... unless the structures that the network names lie upon each other
SETTLED_RESEMBLANCE = 0.4  # ... or, once aligned, the scans resemble each other in detail, as only one patient's do
LEAST_SIMILARITY = 0.35  # far below the mean of the validation, 0.585
MOST_SIMILARITY_LOSS = 0.02  # a deformation must not lower the similarity; less than this is interpolation
MOST_FOLDING_PERCENT = 1.0  # of the body: single nodes may fold, a whole region is a sign of a wrong match
MOST_INCONSISTENCY_MM = 15.0  # mean between the two directions: about one control spacing of the coarse stages

STRUCTURES_ASTRAY = "structures lie astray"
MOST_NAMED = 4  # structures in the reason that names those astray

# Below these limits the verdict is failed, whatever the risk: hardly any overlap, or no similarity.
NO_OVERLAP = 0.02
NO_SIMILARITY = 0.1

# The risk is the chance of a median error above 20 mm, a logistic function of the logarithm of the expected error (mm),
# or of the similarity where no error was estimated: (constant, weight). Between two people it was fitted to the 112
# pairs of `make validate` by `benchmarks.validate --fit`: similarity, its gain, agreement, overlap, folding,
# uncertainty, inverse consistency and the peak ratio added nothing there; their extremes are reasons. Within one
# patient, and for linear results, it was fitted by `training.error_map --fit`.
BETWEEN_TWO = -16.08, 3.971
WITHIN_ONE = -6.522, 1.69
BY_SIMILARITY = 6.722, -15.35
LEAST_ERROR_MM = 0.1


def judge(measures: dict[str, float], *, one_patient: bool = False, structures: Sequence[StructureFit] = ()) -> Verdict:
    """Judge a run by its measures.

    Args:
        measures: overlap (share of the smaller body that both scans show), similarity_before and similarity
            (correlation within the overlap, -1..1), folding_percent, unfolded_percent (of the body, after the matching
            and before folds were smoothed away), spread (mean uncertainty, mm); and where they were measured,
            peak_ratio (score of the best place elsewhere over the score reached), inverse_consistency (mm, of the last
            stage that has both directions), agreement (cosine of the semantic codes, -1..1), resemblance_before (local
            correlation of the aligned scans, -1..1) and expected_error_mm (median of the expected error over the body
            that both scans show).
        one_patient: whether the run went by detail, or sought a linear transform.
        structures: compared one by one, see `structure_report`; those astray are a reason.
    """
    seen = measures | _similarity_in_detail(measures)
    risk = _risk(seen, one_patient)
    reasons = [*_reasons(seen), *_astray(structures)]
    if risk >= DOUBTFUL_RISK and "expected_error_mm" in seen:
        reasons.append(f"errors of about {seen['expected_error_mm']:.0f} mm are to be expected")
    status = "ok"
    if risk >= DOUBTFUL_RISK or reasons:
        status = "doubtful"
    nothing_in_common = seen["overlap"] < NO_OVERLAP or seen["similarity"] < NO_SIMILARITY
    if risk >= FAILED_RISK or nothing_in_common:
        status = "failed"
    if status != "ok" and not reasons:
        reasons = [f"the scans hardly resemble each other (similarity {seen['similarity']:.2f}, risk {risk:.2f})"]
    return Verdict(status, tuple(reasons), risk, dict(measures))


def _similarity_in_detail(m: dict[str, float]) -> dict[str, float]:
    """Return the similarity, and that before, of scans that resemble each other in detail: the detail counts, too.

    Within a mask of a lung all tissue is alike, and only its vessels tell whether it fits.
    """
    if not resemble_in_detail(m):
        return {}
    pairs = (("similarity", "resemblance"), ("similarity_before", "resemblance_before"))
    return {name: max(m[name], m[detail]) for name, detail in pairs if name in m and detail in m}


def failed_by(verdict: Verdict, faults: Sequence[str]) -> Verdict:
    """Return the verdict failed if the scans have faults with which no result is right: they are its first reasons."""
    return replace(verdict, status="failed", reasons=(*faults, *verdict.reasons)) if faults else verdict


def log_error(measures: dict[str, float]) -> float:
    """Return the logarithm of the expected error (mm)."""
    return math.log(max(measures["expected_error_mm"], LEAST_ERROR_MM))


def _risk(measures: dict[str, float], one_patient: bool) -> float:
    if "expected_error_mm" not in measures:
        constant, weight = BY_SIMILARITY
        return _chance(constant + weight * measures["similarity"])
    constant, weight = WITHIN_ONE if one_patient else BETWEEN_TWO
    return _chance(constant + weight * log_error(measures))


def _chance(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(min(log_odds, 30.0), -30.0)))


def _reasons(m: dict[str, float]) -> list[str]:
    smoothed = m.get("unfolded_percent", 0.0)
    inconsistency = m.get("inverse_consistency", 0.0)
    checks = (
        (
            m["overlap"] < LEAST_OVERLAP,
            f"the scans share only {100 * m['overlap']:.0f} % of the smaller body",
        ),
        (
            m.get("peak_ratio", 0.0) > MOST_PEAK_RATIO and not _is_settled(m),
            "another place, centimetres away, fits nearly as well",
        ),
        (
            m["similarity"] < LEAST_SIMILARITY,
            f"the scans do not resemble each other (similarity {m['similarity']:.2f})",
        ),
        (
            similarity_fell(m),
            f"similarity fell from {m['similarity_before']:.2f} to {m['similarity']:.2f}",
        ),
        (
            m["folding_percent"] > MOST_FOLDING_PERCENT,
            f"the transform folds space in {m['folding_percent']:.1f} % of the body",
        ),
        (
            smoothed > MOST_FOLDING_PERCENT,
            f"the matching folded space in {smoothed:.1f} % of the body and was smoothed there",
        ),
        (
            inconsistency > MOST_INCONSISTENCY_MM,
            f"the two directions disagree by {inconsistency:.0f} mm on average",
        ),
    )
    return [text for wrong, text in checks if wrong]


def similarity_fell(m: dict[str, float]) -> bool:
    """Return whether the deformation made the scans less similar than their alignment had."""
    return m["similarity"] < m["similarity_before"] - MOST_SIMILARITY_LOSS


def _is_settled(m: dict[str, float]) -> bool:
    """Return whether something else than the alignment's score tells the place found from the other one."""
    return m.get("agreement", 0.0) >= SETTLED_AGREEMENT or resemble_in_detail(m)


def resemble_in_detail(m: dict[str, float]) -> bool:
    """Return whether the scans, once aligned, resembled each other in detail, as only one patient's do."""
    return m.get("resemblance_before", 0.0) >= SETTLED_RESEMBLANCE


def _astray(structures: Sequence[StructureFit]) -> list[str]:
    """Name the structures that lie astray, the farthest first, in one sentence."""
    astray = [fit for fit in worst_first(structures) if fit.verdict == ASTRAY]
    named = [f"{fit.name} by {fit.shift_mm or 0.0:.0f} mm" for fit in astray[:MOST_NAMED]]
    more = [f"{len(astray) - MOST_NAMED} more"] if len(astray) > MOST_NAMED else []
    return [f"{STRUCTURES_ASTRAY}: {', '.join([*named, *more])}"] if named else []
