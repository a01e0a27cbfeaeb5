"""The parts of a registration's page as plain text: `html` and `pdf` only set them."""

from __future__ import annotations

from dataclasses import dataclass

from .pictures import Picture


@dataclass(frozen=True)
class Mark:
    """Text with a coloured mark before it; kind: such as "ok" or "not-compared", see `template`."""

    kind: str
    text: str


@dataclass(frozen=True)
class VerdictText:
    """What is thought of the result; status: ok, doubtful or failed."""

    status: str
    meaning: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Lines:
    """Section of sentences."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Section with a table; the first `text` columns are set to the left, the others hold numbers."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Mark, ...], ...]
    text: int = 1


@dataclass(frozen=True)
class Definitions:
    """Section of names and values."""

    title: str
    rows: tuple[tuple[str, str], ...]


Section = Lines | Table | Definitions


@dataclass(frozen=True)
class Page:
    """All that a page shows, in this order.

    Attributes:
        figures: the numbers that a reader looks for first, each with what it is.
    """

    title: str
    date: str
    verdict: VerdictText
    figures: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    sections: tuple[Section, ...]
    footer: str
    generator: str
