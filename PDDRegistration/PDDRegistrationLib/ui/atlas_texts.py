"""Phrase atlases, the progress of a segmentation by them, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slicer.i18n import tr as _

from ..base.result_texts import stageText

METHOD_NAMES = {
    "joint": _("joint label fusion"),
    "similarity": _("similarity of features"),
    "majority": _("majority of the votes"),
    "staple": _("STAPLE"),
}
MOST_NAMED = 6  # atlases in a sentence
MOST_ORGANS = 3  # to look at first
LOOK_AT = 0.2  # mean share of the atlases that disagree about an organ, from which it is named


def foundText(names: Sequence[str]) -> str:
    """Say which atlases there are."""
    more = _(" and {count} more").format(count=len(names) - MOST_NAMED) if len(names) > MOST_NAMED else ""
    return _("Atlases ({count}): {names}").format(count=len(names), names=", ".join(names[:MOST_NAMED])) + more


def progressText(stage: str) -> str:
    """Name the atlas, and what is done with it."""
    atlas, colon, step = stage.rpartition(": ")
    return f"{atlas}{colon}{stageText(step)}"


def resultText(report: dict[str, Any]) -> str:
    """Say how many atlases were used, where to look first, and which were dropped; report: of `pddnet segment`."""
    atlases = report["atlases"]
    text = _("{used} of {count} atlases").format(used=sum(each["used"] for each in atlases), count=len(atlases))
    if organs := doubtfulOrgans(report["labels"]):
        text += _("; look first at: {organs} (disagreement)").format(organs=", ".join(organs))
    if dropped := [each["name"] for each in atlases if not each["used"]]:
        text += _(". Not used: {names}; point here for the reasons").format(names=", ".join(dropped))
    return f"{text}."


def detailText(report: dict[str, Any]) -> str:
    """List the warnings of a run, one a line."""
    return "\n".join(report["warnings"])


def doubtfulOrgans(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Name the organs about which the atlases disagree most, the worst first."""
    doubtful = [row for row in rows if (row["disagreement"] or 0.0) >= LOOK_AT]
    worst = sorted(doubtful, key=lambda row: -row["disagreement"])[:MOST_ORGANS]
    return [row["name"].replace("_", " ") for row in worst]
