"""Set a registration's page as PDF, on A4 paper."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from .content import Definitions, Lines, Mark, Page, Section, Table, VerdictText
from .paper import LEFT, WIDTH, Paper, Type, width_of, wrapped
from .pictures import Picture

_TITLE = Type(17.0, bold=True)
_HEADING = Type(11.0, bold=True)
_STATUS = Type(12.0, bold=True)
_FIGURE = Type(12.5, bold=True)
_TEXT = Type(7.5)
_HEAD = Type(7.5, "soft", bold=True)
_NOTE = Type(7.0, "soft")
_COLUMN_GAP, _ROW_GAP = 9.0, 3.2
_DOT, _INDENT = 2.3, 8.0  # radius of a mark; where the text beside it begins
_LEAST_SCALE = 0.72  # to which a picture shrinks to stand on the sheet that is begun


def pdf_page(page: Page) -> bytes:
    """Return the page as a PDF file.

    Raises:
        ImportError: matplotlib is not installed, see `pictures.check_matplotlib`.
    """
    return sheets(page).pdf(title=page.title, creator=page.generator)


def sheets(page: Page) -> Paper:
    """Lay the page out."""
    paper = Paper()
    _heading(paper, page)
    _verdict(paper, page.verdict)
    _key_figures(paper, page.figures)
    for picture in page.pictures:
        _picture(paper, picture)
    for section in page.sections:
        _section(paper, section)
    _footer(paper, page.footer)
    paper.number(page.title)
    return paper


def _heading(paper: Paper, page: Page) -> None:
    room = WIDTH - width_of(page.date, _TEXT) - _COLUMN_GAP
    paper.text(LEFT + WIDTH, paper.y + _TITLE.size - _TEXT.size, page.date, _TEXT, "right")
    paper.y = paper.lines(LEFT, paper.y, wrapped(page.title, _TITLE, room), _TITLE) + 2.0
    paper.rule(paper.y, "ink", 1.4)
    paper.y += 12.0


def _verdict(paper: Paper, verdict: VerdictText) -> None:
    """Set a box with a bar in the verdict's colour."""
    inside, edge, bar = WIDTH - 30.0, 9.0, 3.5
    meaning = wrapped(verdict.meaning, _TEXT, inside)
    reasons = [wrapped(reason, _TEXT, inside - _INDENT) for reason in verdict.reasons]
    count = len(meaning) + sum(len(reason) for reason in reasons)
    height = 2 * edge + _STATUS.line + count * _TEXT.line + (4.0 if reasons else 0.0)
    paper.box(LEFT, paper.y, WIDTH, height, "box")
    paper.box(LEFT, paper.y, bar, height, verdict.status)
    x, y = LEFT + 14.0, paper.y + edge - 1.0
    paper.text(x, y, f"Verdict: {verdict.status}", Type(_STATUS.size, verdict.status, bold=True))
    y = paper.lines(x, y + _STATUS.line, meaning, _TEXT) + 4.0
    for reason in reasons:
        y = _bullet(paper, x, y, reason)
    paper.y += height + 10.0


def _bullet(paper: Paper, x: float, y: float, lines: list[str]) -> float:
    paper.dot(x + 2.0, y + _TEXT.line / 2, 1.1, "ink")
    return paper.lines(x + _INDENT, y, lines, _TEXT)


def _key_figures(paper: Paper, figures: Sequence[tuple[str, str]]) -> None:
    """Set the numbers side by side, each over its name."""
    wide = WIDTH / max(len(figures), 1)
    names = [wrapped(name, _NOTE, wide - 12.0) for _, name in figures]
    height = _FIGURE.line + max((len(name) for name in names), default=0) * _NOTE.line
    for n, ((value, _), name) in enumerate(zip(figures, names, strict=True)):
        x = LEFT + n * wide
        if n:
            paper.box(x - 6.0, paper.y, 0.6, height, "line")
        paper.text(x, paper.y, value, _FIGURE)
        paper.lines(x, paper.y + _FIGURE.line, name, _NOTE)
    paper.y += height + 4.0


def _picture(paper: Paper, picture: Picture) -> None:
    """Set a picture with its titles and its sentence; it shrinks a little rather than begin another sheet."""
    pixels = _pixels(picture.png)
    height = WIDTH * pixels.shape[0] / pixels.shape[1]
    caption = wrapped(picture.caption, _NOTE, WIDTH)
    around = 10.0 + _TEXT.line + 4.0 + len(caption) * _NOTE.line
    if (paper.room - around) / height < _LEAST_SCALE:
        paper.need(paper.room + 1.0)
    scale = min((paper.room - around) / height, 1.0)
    wide = scale * WIDTH
    x = LEFT + (WIDTH - wide) / 2
    paper.skip(10.0)
    for n, title in enumerate(picture.titles):
        centre = x + wide * (n + 0.5) / len(picture.titles)
        paper.text(centre, paper.y, title, _TEXT, "center")
    paper.y += _TEXT.line + 1.0
    paper.image(x, paper.y, wide, scale * height, pixels)
    paper.y = paper.lines(LEFT, paper.y + scale * height + 3.0, caption, _NOTE)


def _pixels(png: bytes) -> np.ndarray:
    """Decode a picture: (rows, columns, 3), uint8."""
    from matplotlib.image import imread

    return np.asarray(np.round(imread(io.BytesIO(png), format="png")[..., :3] * 255.0), np.uint8)


def _section(paper: Paper, section: Section) -> None:
    if isinstance(section, Lines):
        _lines(paper, section)
    elif isinstance(section, Table):
        _table(paper, section)
    else:
        _definitions(paper, section)


def _section_title(paper: Paper, title: str, follows: float) -> None:
    """Set a heading on a sheet where what follows has room, too."""
    paper.need(20.0 + _HEADING.line + follows)
    paper.skip(16.0)
    paper.text(LEFT, paper.y, title, _HEADING)
    paper.y += _HEADING.line + 3.0


def _lines(paper: Paper, section: Lines) -> None:
    _section_title(paper, section.title, 2 * _TEXT.line)
    for line in section.lines:
        lines = wrapped(line, _TEXT, WIDTH - _INDENT)
        paper.need(len(lines) * _TEXT.line)
        paper.y = _bullet(paper, LEFT, paper.y, lines) + 1.5


def _definitions(paper: Paper, section: Definitions) -> None:
    names = max((width_of(name, _TEXT) for name, _ in section.rows), default=0.0) + 14.0
    values = [wrapped(value, _TEXT, WIDTH - names) for _, value in section.rows]
    _section_title(paper, section.title, sum(len(value) * _TEXT.line + 1.5 for value in values))
    for (name, _), value in zip(section.rows, values, strict=True):
        paper.need(len(value) * _TEXT.line)
        paper.text(LEFT, paper.y, name, Type(_TEXT.size, "soft"))
        paper.y = paper.lines(LEFT + names, paper.y, value, _TEXT) + 1.5


def _table(paper: Paper, table: Table) -> None:
    widths = _column_widths(table)
    note = wrapped(table.note, _NOTE, WIDTH) if table.note else []
    head = [wrapped(text, _HEAD, width) for text, width in zip(table.head, widths, strict=True)]
    _section_title(paper, table.title, (len(note) + 2) * _NOTE.line + 4 * _TEXT.line)
    paper.y = paper.lines(LEFT, paper.y, note, _NOTE) + 5.0
    _head(paper, table, widths, head)
    for row in table.rows:
        cells = [wrapped(_text(cell), _TEXT, width - _indent(cell)) for cell, width in zip(row, widths, strict=True)]
        height = max(len(lines) for lines in cells) * _TEXT.line + _ROW_GAP
        if height > paper.room:
            paper.new_sheet()
            _head(paper, table, widths, head)
        _row(paper, table, widths, row, cells)
        paper.y += height
        paper.rule(paper.y, "line", 0.5)


def _head(paper: Paper, table: Table, widths: list[float], head: list[list[str]]) -> None:
    """Set the columns' names, which end on one line."""
    most = max(len(lines) for lines in head)
    x = LEFT
    for n, (lines, width) in enumerate(zip(head, widths, strict=True)):
        y = paper.y + (most - len(lines)) * _HEAD.line
        left = n < table.text
        paper.lines(x if left else x + width, y, lines, _HEAD, "left" if left else "right")
        x += width + _COLUMN_GAP
    paper.y += most * _HEAD.line + 2.0
    paper.rule(paper.y, "ink")


def _row(paper: Paper, table: Table, widths: list[float], row: Sequence[str | Mark], cells: list[list[str]]) -> None:
    x, y = LEFT, paper.y + _ROW_GAP / 2
    for n, (cell, lines, width) in enumerate(zip(row, cells, widths, strict=True)):
        if isinstance(cell, Mark):
            paper.dot(x + _DOT, y + _TEXT.line / 2, _DOT, cell.kind)
        left = n < table.text
        paper.lines(x + _indent(cell) if left else x + width, y, lines, _TEXT, "left" if left else "right")
        x += width + _COLUMN_GAP


def _column_widths(table: Table) -> list[float]:
    """Divide the sheet's width between the columns, with their names on one line where there is room for that."""
    columns = list(zip(*table.rows, strict=True)) or [() for _ in table.head]
    gaps = _COLUMN_GAP * (len(table.head) - 1)
    cells = [max((width_of(_text(cell), _TEXT) + _indent(cell) for cell in column), default=0.0) for column in columns]
    for parts in ([[name] for name in table.head], [name.split() for name in table.head]):
        heads = [max(width_of(part, _HEAD) for part in words) for words in parts]
        widths = [max(pair) + 0.5 for pair in zip(cells, heads, strict=True)]
        spare = WIDTH - gaps - sum(widths)
        if spare >= 0:
            return [width + spare / len(widths) for width in widths]
    widest = widths.index(max(widths))  # gives way
    widths[widest] = max(widths[widest] + spare, _COLUMN_GAP)
    return widths


def _text(cell: str | Mark) -> str:
    return cell.text if isinstance(cell, Mark) else cell


def _indent(cell: str | Mark) -> float:
    return _INDENT if isinstance(cell, Mark) else 0.0


def _footer(paper: Paper, text: str) -> None:
    lines = wrapped(text, _NOTE, WIDTH)
    paper.need(14.0 + len(lines) * _NOTE.line)
    paper.skip(14.0)
    paper.rule(paper.y, "line")
    paper.y = paper.lines(LEFT, paper.y + 5.0, lines, _NOTE)
