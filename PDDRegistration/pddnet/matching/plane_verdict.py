"""Judge the registration of two 2-D images by what it measured."""

from __future__ import annotations

from ..core.result import Verdict

# Limits chosen on slices of real and painted patients, their mirror images, and textures that have nothing in common.
# A deformation makes any two images somewhat alike in their features, but not in their values.
LEAST_SIMILARITY, NO_SIMILARITY = 0.3, 0.15  # of the features
LEAST_INFORMATION, NO_INFORMATION = 0.15, 0.05  # of the values; 0.03 to 0.1 of textures that have nothing in common
LEAST_OVERLAP, NO_OVERLAP = 0.25, 0.02  # of the fixed image
MOST_INFORMATION_LOSS = 0.01  # the values must not tell less of each other after the deformation than before it
MOST_FOLDING_PERCENT = 1.0
MOST_INCONSISTENCY = 0.04  # of the longer side: mean distance between both directions


def judge(m: dict[str, float], across_mm: float) -> Verdict:
    """Judge a run: ok, doubtful with reasons, or failed.

    Args:
        m: similarity and mutual_information, both also as `..._start`; overlap, folding_percent, inverse_consistency.
        across_mm: the longer side of the fixed image.
    """
    away_mm = m["inverse_consistency"]
    checks = (
        (m["similarity"] < LEAST_SIMILARITY, f"the images hardly resemble each other ({m['similarity']:.2f})"),
        (
            m["mutual_information"] < LEAST_INFORMATION,
            f"the values of one image tell little of the other's ({m['mutual_information']:.2f})",
        ),
        (m["overlap"] < LEAST_OVERLAP, f"the images share only {100 * m['overlap']:.0f} % of the fixed one"),
        (
            m["mutual_information"] < m["mutual_information_start"] - MOST_INFORMATION_LOSS,
            "the values tell less of each other after the deformation than before it",
        ),
        (m["folding_percent"] > MOST_FOLDING_PERCENT, f"the transform folds {m['folding_percent']:.1f} % of the image"),
        (away_mm > MOST_INCONSISTENCY * across_mm, f"the two directions disagree by {away_mm:.1f} mm on average"),
    )
    reasons = tuple(text for wrong, text in checks if wrong)
    nothing_in_common = m["similarity"] < NO_SIMILARITY or m["mutual_information"] < NO_INFORMATION
    failed = nothing_in_common or m["overlap"] <= NO_OVERLAP
    status = "failed" if failed else "doubtful" if reasons else "ok"
    return Verdict(status, reasons, {"ok": 0.0, "doubtful": 0.5, "failed": 1.0}[status], dict(m))
