"""Whether to trust a registration, from what the run itself measured."""

from __future__ import annotations

import math

from ..core.result import Verdict

DOUBTFUL, FAILED = 0.25, 0.75  # of the risk

# The risk is a logistic function of these: measure -> (its mean, weight per unit above it). Fitted by
# Testing/benchmarks/validate.py --fit to the 112 pairs of its validation, for the default preset: chance of a median
# error above 20 mm. Overlap, folding, spread, inverse consistency and the next place's score added nothing there; what
# is extreme in them the reasons say.
BIAS = -1.533
WEIGHTS: dict[str, tuple[float, float]] = {
    "similarity": (0.585, -6.988),
    "gain": (0.2466, -8.769),
    "agreement": (0.8561, -5.453),
}

ALIKE = ("similarity",)


def judge(measures: dict[str, float], *, fitted: bool = True) -> Verdict:
    """The verdict on a run.

    Args:
        measures: overlap (share of the smaller body that both scans show), similarity_before and similarity
            (correlation within the overlap, -1..1), folding_percent, unfolded_percent (of the body, after the matching
            and before folds were smoothed away), spread (mm); and where they were measured, peak_ratio (score of the
            best place elsewhere over the score reached), inverse_consistency (mm, of the last stage that has both
            directions) and agreement (cosine of what the network says is where, -1..1).
        fitted: whether the run used stages like those of the pairs that the risk was fitted to; otherwise only what
            any run measures alike (ALIKE) counts, besides the reasons.
    """
    risk = _risk(measures if fitted else {name: measures[name] for name in ALIKE if name in measures})
    reasons = list(_reasons(measures))
    status = "failed" if risk >= FAILED else "doubtful" if risk >= DOUBTFUL or reasons else "ok"
    if measures["overlap"] < 0.02 or measures["similarity"] < 0.1:
        status = "failed"
    if status != "ok" and not reasons:
        reasons = [f"taken together, the signs are bad (similarity {measures['similarity']:.2f}, risk {risk:.2f})"]
    return Verdict(status, tuple(reasons), risk, dict(measures))


def inputs(measures: dict[str, float]) -> dict[str, float]:
    """The measures and what the risk is computed from besides: the gain of similarity."""
    if "similarity_before" not in measures:
        return measures
    return measures | {"gain": measures["similarity"] - measures["similarity_before"]}


def _risk(measures: dict[str, float]) -> float:
    values = inputs(measures)
    known = {name: pair for name, pair in WEIGHTS.items() if name in values}  # what was not measured tells nothing
    x = BIAS + sum(weight * (values[name] - typical) for name, (typical, weight) in known.items())
    return 1.0 / (1.0 + math.exp(-max(min(x, 30.0), -30.0)))


def _reasons(m: dict[str, float]) -> list[str]:
    checks = (
        (m["overlap"] < 0.25, f"the scans share only {100 * m['overlap']:.0f} % of the smaller body"),
        (m.get("peak_ratio", 0.0) > 0.97, "another place, centimetres away, fits nearly as well"),
        (m["similarity"] < 0.35, f"the scans do not resemble each other (similarity {m['similarity']:.2f})"),
        (
            m["similarity"] < m["similarity_before"] - 0.02,
            f"similarity fell from {m['similarity_before']:.2f} to {m['similarity']:.2f}",
        ),
        (m["folding_percent"] > 1.0, f"the transform folds space in {m['folding_percent']:.1f} % of the body"),
        (
            m.get("unfolded_percent", 0.0) > 1.0,
            f"the matching folded space in {m.get('unfolded_percent', 0.0):.1f} % of the body and was smoothed there",
        ),
        (
            m.get("inverse_consistency", 0.0) > 15.0,
            f"the two directions disagree by {m.get('inverse_consistency', 0.0):.0f} mm on average",
        ),
    )
    return [text for wrong, text in checks if wrong]
