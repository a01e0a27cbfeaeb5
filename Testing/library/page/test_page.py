"""The page is whole and needs no other file, escapes what it shows, and names no patient unless it is asked to."""

from __future__ import annotations

import re
from datetime import datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from helpers.page_content import summary
from pddnet.page import html
from pddnet.page.page import page_of, without_paths
from pddnet.page.pictures import Picture
from pddnet.page.tables import MINUS

NOW = datetime(2026, 3, 4, 15, 6)
PICTURES = [Picture(("one", "two"), "Fat & water, 1 < 2", b"\x89PNG one"), Picture(("three",), "Third", b"\x89PNG two")]
VOID = {"meta", "img"}


def html_page(report: dict[str, Any], shown: list[Picture], **how: Any) -> str:
    return html.html_page(page_of(report, shown, **how))


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps cells, texts and what is fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        if "style" not in self.open:
            self.text += data


def test_the_page_is_one_file_with_all_pictures() -> None:
    page = html_page(summary(), PICTURES, now=NOW)
    reader = Reader(page)
    assert reader.sources == ["data:image/png;base64,iVBORyBvbmU=", "data:image/png;base64,iVBORyB0d28="]
    assert not re.search(r"https?:|@import|<script|url\(", page)
    assert "Fat & water, 1 < 2" in reader.text
    assert "4 March 2026, 15:06" in reader.text
    for fact in (
        "Verdict: doubtful",
        "the views hardly overlap",
        "602d" * 16,
        "1 of 3structures in place",
        "Risk 0.25",
    ):
        assert fact in reader.text


def test_the_tables_hold_the_reports_numbers() -> None:
    rows = Reader(html_page(summary(), PICTURES, now=NOW)).rows
    assert ["left kidney", "astray: lies 3 cm away from its counterpart", "0.41", "9.5", "29.7", "14.5"] in rows
    turn, growth = "\u2013", f"{MINUS}20"
    assert ["label 6", "1.0", f"{MINUS}2.2", "3.0", turn, "10.0", "8.0", growth, "4.0", "5.0"] in rows
    assert ["6", "0.500", "0.500", "0.5", "0.5", "0.50", "0.50"] in rows


def test_no_name_of_a_file_unless_it_is_asked_for() -> None:
    page = html_page(summary(), PICTURES, now=NOW)
    assert "Muster" not in page
    assert "the fixed labels: the label map is empty" in page
    named = html_page(summary(), PICTURES, names=True, now=NOW)
    assert "Muster^Erika/ct/organs.nii.gz: the label map is empty" in named
    assert "/out/Muster.h5" in named


def test_what_users_write_is_text_not_html() -> None:
    page = html_page(summary(), PICTURES, title="<b>Case & 17</b>$title", now=NOW)
    assert "<b>Case" not in page
    assert Reader(page).text.count("<b>Case & 17</b>$title") == 2  # the window's and the page's


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_a_page_without_structures_labels_and_settings(status: str) -> None:
    bare = summary(status) | {
        "structures": None,
        "labels": None,
        "motion": [],
        "settings": {},
        "weights": {},
        "warnings": [],
    }
    reader = Reader(html_page(bare, PICTURES[:1], now=NOW))
    assert f"Verdict: {status}" in reader.text
    assert reader.rows == []


@pytest.mark.parametrize(
    ("given", "text", "shown"),
    [
        ("/data/Muster^Erika/ct/", "/data/Muster^Erika/ct: several slices", "the fixed: several slices"),
        ("./Muster/ct", "Muster/ct: uneven", "the fixed: uneven"),
        ("/data/Muster", "/data/Muster/IM001.dcm: damaged", "the fixed/IM001.dcm: damaged"),
        ("ct", "ct: the structures of the direction differ", "the fixed: the structures of the direction differ"),
        ("a.nii", "b/a.nii and a.nii.gz, a.nii.", "b/a.nii and a.nii.gz, the fixed."),
        (
            "ct",
            "taken, 'Muster^Erika' (120 slices); left out: 'O'Brien 3 mm'",
            "taken, '...' (120 slices); left out: '...'",
        ),
        ("ct", "the scan's values and the others' are alike", "the scan's values and the others' are alike"),
    ],
)
def test_sentences_name_no_file_and_no_patient(given: str, text: str, shown: str) -> None:
    assert without_paths(text, {"fixed": given}) == shown


def test_the_region_of_the_folds_is_the_one_that_was_measured() -> None:
    told = summary()
    told["jacobian"]["region"] = "fixed view"
    assert "of the view folds" in Reader(html_page(told, PICTURES, now=NOW)).text
