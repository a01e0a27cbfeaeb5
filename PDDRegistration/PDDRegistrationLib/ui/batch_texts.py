"""Phrase what became of the pairs of a batch, for the panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slicer.i18n import tr as _

from pddnet.batch.records import Outcome

from ..base.numbers import numberText
from ..registration.batch_rows import BatchRow
from .tick_table import TickRow

COLUMNS = (
    (_("Pair"), _("The scan that is laid over the fixed one; point at it for both")),
    (_("Verdict"), _("Point at it for the reason; click the row to load the result")),
    (_("Error (mm)"), _("Expected error at half of the body: 80 % of the errors lie below it")),
)
VERDICTS = {"ok": _("ok"), "doubtful": _("doubtful"), "failed": _("failed")}
MOST_NAMED = 5  # pairs in a sentence


def tickRow(row: BatchRow, outcome: Outcome | None, state: str = "") -> TickRow:
    """Show a pair; state: what is happening with it, while nothing is known of it."""
    fixed, moving = row.places
    tip = [_("{moving} laid over {fixed}").format(moving=moving, fixed=fixed)]
    if outcome is None:
        return TickRow((row.pair.id, state, ""), tip[0])
    if not outcome.done:
        return TickRow((row.pair.id, _("not registered"), ""), "\n".join([outcome.reason, *tip]), warns=True)
    found = outcome.row
    texts = (row.pair.id, VERDICTS[found["verdict"]], numberText(found["expected_error_mm"], 1))
    return TickRow(texts, "\n".join([*found["reasons"], *tip]), warns=found["verdict"] == "failed")


def outcomesText(rows: Sequence[BatchRow], outcomes: Mapping[str, Outcome]) -> str:
    """Say how many pairs of a run are registered, and which to look at; outcomes: by the pairs' ids."""
    known = [outcomes[row.pair.id] for row in rows if row.pair.id in outcomes]
    done = [outcome for outcome in known if outcome.done]
    text = _("{done} of {count} pairs are registered.").format(done=len(done), count=len(rows))
    if done:
        text += " " + _("Click a row to load its result.")
    order = ("failed", "doubtful")
    bad = [(verdict, outcome.id) for verdict in order for outcome in done if outcome.row["verdict"] == verdict]
    if bad:
        names = _named([f"{name} ({VERDICTS[verdict]})" for verdict, name in bad])
        text += " " + _("Look at: {pairs}.").format(pairs=names)
    if lost := [outcome.id for outcome in known if not outcome.done]:
        text += " " + _("Not registered: {pairs}.").format(pairs=_named(lost))
    return text


def _named(names: Sequence[str]) -> str:
    more = _(" and {count} more").format(count=len(names) - MOST_NAMED) if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
