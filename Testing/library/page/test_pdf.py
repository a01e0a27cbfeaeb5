"""The PDF says what the HTML says, within the margins, and nothing lies over anything else."""

from __future__ import annotations

import dataclasses
import io
import re
from datetime import datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image as Pillow

from helpers.page_content import summary
from pddnet.page import paper, pdf
from pddnet.page.content import Page, Table
from pddnet.page.html import html_page
from pddnet.page.page import page_of
from pddnet.page.pictures import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOW = datetime(2026, 3, 4, 15, 6)


def picture(rows: int, columns: int) -> Picture:
    pixels = np.arange(rows * columns * 3, dtype=np.int64).reshape(rows, columns, 3) % 251
    file = io.BytesIO()
    Pillow.fromarray(pixels.astype(np.uint8)).save(file, "png")
    return Picture(("one", "two"), "What it shows.", file.getvalue())


def page(*pictures: Picture, rows: int = 1, **how: str) -> Page:
    made = page_of(summary(), pictures or (picture(30, 40),), now=NOW, **how)
    longer = [
        dataclasses.replace(section, rows=section.rows * rows) if isinstance(section, Table) else section
        for section in made.sections
    ]
    return dataclasses.replace(made, sections=tuple(longer))


def texts_of(sheet: Figure) -> list[str]:
    return [text.get_text() for text in sheet.texts]


class Words(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.skipped = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skipped = tag in ("style", "title")

    def handle_data(self, data: str) -> None:
        if not self.skipped:
            self.words += data.split()


def test_it_holds_every_word_of_the_html_page() -> None:
    made = page()
    lines = [line for sheet in pdf.sheets(made).sheets for line in texts_of(sheet)]
    told = re.sub(r"\s", "", "".join(lines))
    missing = [word for word in Words(html_page(made)).words if word not in told]
    assert [word for word in missing if len(word) < 40] == []  # a longer one is a checksum
    assert "602d" * 16 in told


def test_everything_stands_within_the_margins_and_no_two_lines_overlap() -> None:
    made = page(picture(300, 200), picture(60, 200), rows=40, title="A long heading " * 8)
    sheets = pdf.sheets(made).sheets
    assert len(sheets) > 4
    for sheet in sheets:
        sheet.dpi = 72.0
        boxes = [text.get_window_extent() for text in sheet.texts] + [axes.bbox for axes in sheet.axes]
        assert min(box.x0 for box in boxes) > paper.LEFT - 1
        assert max(box.x1 for box in boxes) < paper.SHEET[0] - paper.LEFT + 1
        assert max(box.y1 for box in boxes) < paper.SHEET[1] - paper.TOP + 1
        assert min(box.y0 for box in boxes) > 20
        shared = [(a, b) for n, a in enumerate(boxes) for b in boxes[:n] if a.shrunk(0.98, 0.98).overlaps(b)]
        assert shared == []


def test_a_table_over_several_sheets_repeats_its_head() -> None:
    sheets = pdf.sheets(page(rows=40)).sheets
    with_rows = [texts_of(sheet) for sheet in sheets if "left kidney" in texts_of(sheet)]
    assert len(with_rows) > 2
    assert all("structure" in texts for texts in with_rows)


@pytest.mark.parametrize("title", ["Case $x_1$ and $y", "Größe <b>"])
def test_what_users_write_is_set_as_it_is(title: str) -> None:
    sheets = pdf.sheets(page(title=title))
    assert texts_of(sheets.sheets[0])[1] == title
    assert sheets.pdf(title=title, creator="test").startswith(b"%PDF-")


def test_no_name_of_a_file_unless_it_is_asked_for() -> None:
    for names in (False, True):
        made = page_of(summary(), [picture(30, 40)], names=names, now=NOW)
        told = "".join(line for sheet in pdf.sheets(made).sheets for line in texts_of(sheet))
        assert ("Muster" in told) is names


def test_the_file_holds_the_pictures_pixels() -> None:
    made = pdf.pdf_page(page(picture(31, 43)))
    assert made.count(b"/Subtype /Image") == 1
    assert b"/Width 43" in made
    assert b"/Height 31" in made
    assert b"/Title (Registration report)" in made


def test_words_that_are_too_long_are_cut() -> None:
    small = paper.Type(8.0)
    lines = paper.wrapped(f"short {'x' * 100} end", small, 60.0)
    assert "".join(lines).replace(" ", "") == f"short{'x' * 100}end"
    assert all(paper.width_of(line, small) <= 60.0 for line in lines)
    assert paper.wrapped("", small, 60.0) == [""]
