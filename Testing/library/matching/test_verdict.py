"""The verdict: what raises the risk, what is said, and that what is measured is what counts."""

from __future__ import annotations

import dataclasses

import pytest

from helpers.samples import FITS
from pddnet.matching.verdict import judge

GOOD = {
    "overlap": 0.9, "peak_ratio": 0.85, "similarity": 0.65, "similarity_before": 0.45, "agreement": 0.9,
    "folding_percent": 0.05, "inverse_consistency": 6.0, "spread": 7.5, "expected_error_mm": 20.0,
}  # fmt: skip


def test_a_good_run_is_ok_without_reasons() -> None:
    verdict = judge(GOOD)
    assert verdict.status == "ok"
    assert verdict.reasons == ()
    assert verdict.risk < 0.25
    assert verdict.measures == GOOD


def test_structures_astray_are_a_reason_that_names_them_the_farthest_first() -> None:
    """The others are none: colon and bladder of two people differ."""
    liver, bladder, kidney, colon = FITS
    assert judge(GOOD, structures=(liver, bladder, colon)).reasons == ()
    farther = dataclasses.replace(kidney, name="spleen", shift_lps_mm=(0.0, 0.0, -40.0))
    verdict = judge(GOOD, structures=(liver, kidney, farther, colon))
    assert (verdict.status, verdict.risk) == ("doubtful", judge(GOOD).risk)
    assert verdict.reasons == ("structures lie astray: spleen by 40 mm, left kidney by 30 mm",)
    many = judge(GOOD, structures=[kidney] * 6).reasons[0]
    assert many.count("left kidney") == 4
    assert many.endswith("by 30 mm, 2 more")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overlap": 0.2}, "share only 20 %"),
        ({"similarity": 0.3}, "similarity 0.30"),
        ({"similarity": 0.40, "similarity_before": 0.45}, "fell from 0.45 to 0.40"),
        ({"peak_ratio": 0.98, "agreement": 0.85}, "another place"),
        ({"folding_percent": 2.3}, "2.3 % of the body"),
        ({"unfolded_percent": 1.4}, "1.4 % of the body and was smoothed"),
        ({"inverse_consistency": 27.0}, "27 mm"),
        ({"expected_error_mm": 61.0}, "errors of about 61 mm"),
    ],
)
def test_every_bad_sign_is_a_reason(change: dict[str, float], words: str) -> None:
    verdict = judge(GOOD | change)
    assert verdict.status != "ok"
    assert any(words in reason for reason in verdict.reasons)


@pytest.mark.parametrize("settled", [{"agreement": 0.95}, {"agreement": 0.85, "resemblance_before": 0.45}])
def test_another_place_is_no_reason_where_structures_or_details_settle_it(settled: dict[str, float]) -> None:
    assert judge(GOOD | settled | {"peak_ratio": 0.98}).status == "ok"


def test_the_expected_error_is_the_risk() -> None:
    """A median error above 20 mm is as likely as not at 60 mm between two people, at 47 mm within one patient."""
    assert judge(GOOD | {"expected_error_mm": 57.4}).risk == pytest.approx(0.5, abs=0.01)
    assert judge(GOOD | {"expected_error_mm": 47.4}, one_patient=True).risk == pytest.approx(0.5, abs=0.01)
    found = judge(GOOD | {"expected_error_mm": 120.0})
    assert found.status == "failed"
    assert found.reasons == ("errors of about 120 mm are to be expected",)
    assert judge(GOOD | {"similarity": 0.4, "agreement": 0.7}).risk == judge(GOOD).risk


def test_where_no_error_is_estimated_the_similarity_is_the_risk() -> None:
    """As with scans that are no CT."""
    other = {name: value for name, value in GOOD.items() if name != "expected_error_mm"}
    assert judge(other | {"similarity": 0.438, "similarity_before": 0.4}).risk == pytest.approx(0.5, abs=0.01)
    assert judge(other).status == "ok"
    found = judge(other | {"similarity": 0.45, "similarity_before": 0.4})
    assert (found.status, len(found.reasons)) == ("doubtful", 1)
    assert "hardly resemble" in found.reasons[0]


def test_scans_that_resemble_each_other_in_detail_need_no_similar_tissues() -> None:
    """As within the mask of a lung, where all tissue is alike."""
    alike = GOOD | {"similarity": 0.05, "similarity_before": 0.02, "resemblance_before": 0.5, "resemblance": 0.8}
    assert judge(alike).status == "ok"
    assert judge(alike | {"resemblance_before": 0.3}).status == "failed"
    assert judge(alike).measures == alike


def test_nothing_in_common_is_failed() -> None:
    verdict = judge(GOOD | {"overlap": 0.0, "similarity": 0.0})
    assert verdict.status == "failed"
    assert verdict.reasons
