"""The report's section on structures, and its sentence for people."""

from __future__ import annotations

import dataclasses

from helpers.samples import FITS
from pddnet.evaluation.report import structure_section, structure_summary

LIVER, BLADDER, KIDNEY, COLON = FITS


def test_the_sentence_names_what_is_wrong_and_counts_what_is_right() -> None:
    assert structure_summary((LIVER,)) == "1 of 1 ok"
    assert structure_summary((BLADDER,)) == "none could be compared"
    assert structure_summary(FITS) == "left kidney astray by 3 cm; colon doubtful; 1 of 3 ok"


def test_the_sentence_names_a_few_the_farthest_first() -> None:
    kidneys = [dataclasses.replace(KIDNEY, name=f"no. {n}", shift_lps_mm=(0.0, 10.0 * n, 0.0)) for n in range(2, 9)]
    expected = "; ".join(f"no. {n} astray by {n} cm" for n in (8, 7, 6, 5)) + "; 3 more; 0 of 7 ok"
    assert structure_summary(tuple(kidneys)) == expected
    colons = tuple(dataclasses.replace(COLON, name=f"no. {n}", shift_lps_mm=(0.0, 9.0 - n, 0.0)) for n in range(6))
    assert structure_summary(colons) == "no. 0, no. 1, no. 2, no. 3, 2 more doubtful; 0 of 6 ok"


def test_the_table_is_sorted_by_verdict_then_by_shift() -> None:
    near = dataclasses.replace(KIDNEY, name="near", shift_lps_mm=(0.0, 16.0, 0.0))
    rows = structure_section((near, *FITS))["table"]
    assert [row["name"] for row in rows] == ["left kidney", "near", "colon", "liver", "bladder"]
    assert rows[1]["shift_mm"] == 16.0
    assert (rows[4]["shift_mm"], rows[4]["dice"], rows[4]["fixed_ml"]) == (None, None, 90.0)
