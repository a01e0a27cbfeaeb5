"""The summary shows what needs looking at first, in a table and on a page."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from helpers import batches
from pddnet.batch.page import summary_page
from pddnet.batch.records import Outcome
from pddnet.batch.run import Batch
from pddnet.batch.summary import COLUMNS, Line, csv_table, sorted_lines

TOLD = {  # verdict, risk, expected error in mm
    "a": ("ok", 0.1, 2.0),
    "b": ("doubtful", 0.5, 3.25),
    "c": ("failed", 0.9, None),
    "d": ("ok", 0.2, 1.0),
    "e": ("doubtful", 0.5, 4.0),
}


def _outcome(name: str) -> Outcome:
    verdict, risk, error = TOLD[name]
    row = {"verdict": verdict, "risk": risk, "expected_error_mm": error, "reasons": [f"because of <{name}>"]}
    row |= {"dice_before": None, "dice_after": 0.5 if name == "a" else None, "seconds": 60.0, "warnings": 0}
    return Outcome(name, row)


@pytest.fixture
def lines(tmp_path: Path) -> list[Line]:
    jobs = [batches.make_job(tmp_path, name) for name in (*TOLD, "lost", "never")]
    outcomes = {name: _outcome(name) for name in TOLD} | {"lost": Outcome("lost", reason="the scan; is broken")}
    return sorted_lines(jobs, outcomes)


def test_what_needs_looking_at_stands_first(lines: list[Line]) -> None:
    assert [line["id"] for line in lines] == ["lost", "never", "c", "e", "b", "d", "a"]


def test_the_table_holds_every_pair(lines: list[Line], tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table(lines))))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["state"] for row in rows] == ["not done"] * 2 + ["done"] * 5
    assert rows[0]["reasons"] == "the scan; is broken" and rows[1]["reasons"] == "the run ended before"
    by_name = {row["id"]: row for row in rows}
    assert (by_name["b"]["expected_error_mm"], by_name["c"]["expected_error_mm"]) == ("3.25", "")
    assert by_name["b"]["transform"] == "b/from-b_to-fixed_mode-image_xfm.h5"
    assert by_name["b"]["moving"] == str(tmp_path / "b.nii.gz")


def test_the_page_shows_a_card_for_every_pair_in_order(lines: list[Line]) -> None:
    page = summary_page(lines, datetime(2026, 1, 2, 3, 4))
    assert re.findall(r'<article class="card ([\w-]+)" id="(\w+)"', page) == [
        *(("not-done", "lost"), ("not-done", "never"), ("failed", "c"), ("doubtful", "e"), ("doubtful", "b")),
        *(("ok", "d"), ("ok", "a")),
    ]
    assert re.findall(r'<img loading="lazy" src="(.*?)"', page) == [f"{name}/preview.png" for name in "cebda"]
    assert re.findall(r"<label for=\"show-([\w-]+)\".*?<b>(\d)</b>", page) == [
        *(("all", "7"), ("not-done", "2"), ("failed", "1"), ("doubtful", "2"), ("ok", "2")),
    ]
    assert "2 January 2026, 03:04" in page
    assert "because of &lt;a&gt;" in page and "<a>" not in page
    assert "5 min" in page  # all pairs


def test_the_summaries_lie_in_the_folder(tmp_path: Path) -> None:
    batch = Batch(tmp_path, [batches.make_job(tmp_path, "a")])
    batch.outcomes["a"] = _outcome("a")
    batch.write_summaries()
    assert "because of &lt;a&gt;" in (tmp_path / "summary.html").read_text("utf-8")
    assert (tmp_path / "summary.csv").read_text("utf-8").splitlines()[1].startswith("a,done,ok,0.1,2,,0.5,60,0,")
    described = json.loads((tmp_path / "dataset_description.json").read_text("utf-8"))
    assert described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "pddnet"
