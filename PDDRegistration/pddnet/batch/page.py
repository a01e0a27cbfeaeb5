"""The page of a batch: a contact sheet, as HTML by Jinja2, which comes with the packages that only batches need."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from .. import __version__
from ..page.tables import number
from ..page.template import STYLE
from .records import NOT_DONE
from .summary import Line
from .template import PAGE

_KINDS = {"not done": "not-done", "failed": "failed", "doubtful": "doubtful", "ok": "ok"}


def summary_page(lines: Sequence[Line], now: datetime | None = None) -> str:
    """Return the page as HTML text; its pictures are the previews in the folders of the pairs.

    lines: in their order. now: the date that it shows; None: today.
    """
    from jinja2 import Environment

    now = now or datetime.now()
    cards = [_card(line) for line in lines]
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(PAGE)
    return template.render(
        style=STYLE,
        version=__version__,
        date=f"{now.day} {now:%B %Y, %H:%M}",
        counts=[(name, kind, sum(card["kind"] == kind for card in cards)) for name, kind in _KINDS.items()],
        figures=_figures(lines),
        cards=cards,
    )


def _figures(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """List the numbers over all pairs."""
    errors = [line["expected_error_mm"] for line in lines if line["expected_error_mm"] is not None]
    times = [line["seconds"] for line in lines if line["seconds"] is not None]
    found = [(str(len(lines)), "pairs")]
    if errors:
        found.append((f"{number(statistics.median(errors), 1)} mm", "expected error, median of all pairs"))
    if times:
        found.append((f"{number(statistics.median(times), 0)} s", "for a pair, median"))
        found.append((_duration(sum(times)), "for all pairs, if one after the other"))
    return found


def _card(line: Line) -> dict[str, Any]:
    verdict = line["verdict"] or NOT_DONE
    facts = [(f"{number(line['expected_error_mm'], 1)} mm", "expected error")] if line["expected_error_mm"] else []
    if line["dice_after"] is not None:
        facts.append((number(line["dice_after"], 2), "Dice"))
    if line["seconds"] is not None:
        facts.append((f"{number(line['seconds'], 0)} s", ""))
    files = {name: quote(path) for name, path in line["files"].items()}
    shown = {"page": "page", "report": "report", "transform": "transform"}
    return {
        "id": line["id"],
        "verdict": verdict,
        "kind": _KINDS.get(verdict, "not-done"),
        "facts": facts,
        "reasons": line["reasons"],
        "preview": files.get("preview"),
        "links": [(text, files[name]) for name, text in shown.items() if name in files],
        "title": f"{line['moving']} laid over {line['fixed']}",
    }


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
