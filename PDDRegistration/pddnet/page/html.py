"""Set a registration's page as HTML: one file that needs no other."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from .content import Definitions, Lines, Mark, Page, Section, Table, VerdictText
from .pictures import Picture
from .template import PAGE, STYLE


def html_page(page: Page) -> str:
    """Return the page as HTML text."""
    parts = [
        _verdict(page.verdict),
        _key_figures(page.figures),
        *(_figure(picture) for picture in page.pictures),
        *(_section(section) for section in page.sections),
    ]
    return PAGE.substitute(
        title=escape(page.title),
        generator=escape(page.generator),
        date=escape(page.date),
        style=STYLE,
        content="\n".join(parts),
        footer=escape(page.footer),
    )


def _verdict(verdict: VerdictText) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons)
    return (
        f'<section class="verdict {escape(verdict.status)}"><strong>Verdict: {escape(verdict.status)}</strong>'
        f'<div class="soft">{escape(verdict.meaning)}</div>{f"<ul>{reasons}</ul>" if reasons else ""}</section>'
    )


def _key_figures(figures: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<li><b>{escape(value)}</b><span>{escape(name)}</span></li>" for value, name in figures)
    return f'<ul class="figures">{items}</ul>'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    caption = escape(picture.caption)
    titles = "".join(f"<span>{escape(title)}</span>" for title in picture.titles)
    return (
        f'<figure><div class="titles">{titles}</div><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _section(section: Section) -> str:
    if isinstance(section, Lines):
        content = _list(section)
    elif isinstance(section, Table):
        content = _table(section)
    else:
        content = _definitions(section)
    return f"<section><h2>{escape(section.title)}</h2>{content}</section>"


def _list(section: Lines) -> str:
    return f'<ul class="list">{"".join(f"<li>{escape(line)}</li>" for line in section.lines)}</ul>'


def _definitions(section: Definitions) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in section.rows)}</dl>"


def _table(section: Table) -> str:
    def cells(kind: str, row: Iterable[str | Mark]) -> str:
        sides = (" class=text" if n < section.text else "" for n in range(len(section.head)))
        return "".join(f"<{kind}{side}>{_cell(cell)}</{kind}>" for side, cell in zip(sides, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in section.rows)
    return (
        f'<p class="note">{escape(section.note)}</p>'
        f"<table><thead><tr>{cells('th', section.head)}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(cell: str | Mark) -> str:
    if isinstance(cell, Mark):
        return f'<span class="mark {escape(cell.kind)}">{escape(cell.text)}</span>'
    return escape(cell)
