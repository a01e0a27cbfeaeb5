"""The verdict: what raises the risk, what is said, and that what is measured is what counts."""

from __future__ import annotations

import dataclasses

import pytest

from helpers.samples import FITS
from pddnet.matching.verdict import error_risk, judge

GOOD = {
    "overlap": 0.9, "peak_ratio": 0.85, "similarity": 0.65, "similarity_before": 0.45, "agreement": 0.9,
    "folding_percent": 0.05, "inverse_consistency": 6.0, "spread": 7.5,
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
        ({"expected_error_mm": 41.0}, "errors of about 41 mm"),
    ],
)
def test_every_bad_sign_is_a_reason(change: dict[str, float], words: str) -> None:
    verdict = judge(GOOD | change)
    assert verdict.status != "ok"
    assert any(words in reason for reason in verdict.reasons)


@pytest.mark.parametrize("settled", [{"agreement": 0.95}, {"agreement": 0.85, "resemblance_before": 0.45}])
def test_another_place_is_no_reason_where_structures_or_details_settle_it(settled: dict[str, float]) -> None:
    assert judge(GOOD | settled | {"peak_ratio": 0.98}).status == "ok"


@pytest.mark.parametrize(
    "change",
    [{"similarity": 0.3}, {"agreement": 0.6}, {"similarity_before": 0.62}],
)
def test_bad_signs_raise_the_risk(change: dict[str, float]) -> None:
    assert judge(GOOD | change).risk > judge(GOOD).risk


def test_other_presets_are_judged_by_what_all_runs_measure_alike() -> None:
    coarse = GOOD | {"spread": 21.0, "similarity_before": 0.6, "agreement": 0.7}
    assert judge(coarse).risk > judge(coarse, fitted=False).risk
    assert judge(coarse, fitted=False).risk == judge(coarse | {"spread": 40.0}, fitted=False).risk
    assert judge(coarse | {"similarity": 0.2}, fitted=False).risk > judge(coarse, fitted=False).risk


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


def test_the_larger_of_the_two_risks_counts_with_every_preset() -> None:
    right, wrong = GOOD | {"expected_error_mm": 3.0}, GOOD | {"expected_error_mm": 120.0}
    assert judge(right) == dataclasses.replace(judge(GOOD), measures=right)
    assert judge(wrong).risk > 0.75
    assert judge(wrong).status == "failed"
    assert judge(wrong, fitted=False).risk == judge(wrong).risk == error_risk(wrong)
    assert error_risk(GOOD) == 0.0


def test_the_expected_error_counts_only_where_it_is_asked_to() -> None:
    measures = GOOD | {"expected_error_mm": 120.0}
    within_one_patient, between_two = judge(measures), judge(measures, by_error=False)
    assert any("errors of about 120 mm" in reason for reason in within_one_patient.reasons)
    assert between_two.risk < within_one_patient.risk
    assert (between_two.status, between_two.reasons) == ("ok", ())
