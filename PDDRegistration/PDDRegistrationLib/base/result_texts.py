"""Phrase a result for the panel: verdict, reasons and numbers, from the run's report."""

from __future__ import annotations

import html
from typing import Any

from slicer.i18n import tr as _

from .numbers import numberText
from .theme import warningColour

STAGES = {
    "start": _("Starting"),
    "prepare": _("Preparing"),
    "structures": _("Finding structures"),
    "features": _("Computing learned features"),
    "align": _("Aligning"),
    "refine": _("Refining"),
    "finish": _("Finishing"),
    "warp": _("Warping"),
    "measure": _("Measuring"),
    "invert": _("Inverting"),
    "draw": _("Drawing"),
    "reading": _("Reading"),
    "fuse": _("Fusing the label maps"),
    "writing": _("Writing"),
}


def stageText(stage: str) -> str:
    """Name a stage of the run in words; 'match 2' is the second stage of the matching."""
    if stage.startswith("match"):
        return _("Matching, stage {number}").format(number=stage.split()[-1])
    return STAGES.get(stage, stage)


def verdictText(status: str) -> str:
    """Say the verdict in words; status: ok, doubtful or failed."""
    words = {
        "ok": _("OK: nothing speaks against this result"),
        "doubtful": _("Doubtful: look closely before you use it"),
        "failed": _("Failed: do not use this result"),
    }
    return words[status]


def summaryText(report: dict[str, Any]) -> str:
    """Summarise a report in a few lines of rich text. Only failure is coloured: the user judges the other numbers."""
    verdict, jacobian = report["verdict"], report["jacobian"]
    title = html.escape(verdictText(verdict["status"]))
    if verdict["status"] == "failed":
        title = f'<span style="color:{warningColour()}">{title}</span>'
    lines = [f"<b>{title}</b>", *(f"&bull; {html.escape(reason)}" for reason in verdict["reasons"])]
    lines += [html.escape(line) for line in linearLines(report)]
    text = _("Folding in {folding} % of the body; {seconds} s on {device}, preset {preset}")
    if isPlane(report):
        text = _("Folding in {folding} % of the image; {seconds} s on {device}, in 2-D")
    lines.append(
        text.format(
            folding=numberText(jacobian["folding_percent"], 2),
            seconds=numberText(report["seconds"]["total"], 1),
            device=html.escape(report["device"]),
            preset=html.escape(report["preset"]),
        )
    )
    expected = verdict.get("measures", {}).get("expected_error_mm")
    if expected is not None:
        text = _("Expected error: {error} mm at half of the body (80 % of the errors lie below)")
        lines.append(text.format(error=numberText(expected, 1)))
    if report.get("structures"):
        lines.append(_("Structures: {summary}").format(summary=html.escape(report["structures"]["summary"])))
    how = {name: bool(report.get(name)) for name in ("guided", "started")}
    lines += [html.escape(line) for line in organLines(report.get("organs", []), **how)]
    lines += [_("Note: {warning}").format(warning=html.escape(warning)) for warning in report["warnings"]]
    return "<br>".join(lines)


def isPlane(report: dict[str, Any]) -> bool:
    """Return whether a report is of two single slices, which are registered in their plane."""
    return report.get("dimension") == 2


def linearLines(report: dict[str, Any]) -> list[str]:
    """Say how a linear result moves the body; nothing of a deformable one, or of one from an older version."""
    linear = report.get("linear")
    if not linear:
        return []
    text = _("The middle of the body moves by {shift} mm; turned by {angle} degrees, scaled by {scale} ({kind})")
    shift = sum(mm**2 for mm in linear["translation_mm"]) ** 0.5
    return [
        text.format(
            shift=numberText(shift, 1),
            angle=numberText(linear["rotation_degrees"], 1),
            scale=numberText(linear["scale"], 3),
            kind=report["transform_type"],
        )
    ]


def organLines(organs: list[dict[str, Any]], guided: bool = False, started: bool = False) -> list[str]:
    """State the mean Dice of the organs that both segmentations have; the report lists every organ.

    guided: whether the segmentations guided the registration: the Dice is then no independent evaluation.
    started: whether the values before are those of the initial transform or landmarks that the run started from.
    """
    known = [row for row in organs if row["dice_before"] is not None and row["dice_after"] is not None]
    if not known:
        return []
    before, after = (sum(row[f"dice_{side}"] for row in known) / len(known) for side in ("before", "after"))
    text = _("Mean Dice of {count} organs: {before} before, {after} after")
    if started:
        text = _("Mean Dice of {count} organs: {before} at the start, {after} after")
    if guided:
        text += _("; guided by them, so no evaluation")
    return [text.format(count=len(known), before=numberText(before, 2), after=numberText(after, 2))]
