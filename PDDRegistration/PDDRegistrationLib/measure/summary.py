"""What a measurement says in a few lines: means, folding, inverse, similarity, verdict, beside what was published."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from ..base.result_texts import verdictText
from ..base.theme import warningColour
from ..registration.job import reportOf
from .references import referencesFor

if TYPE_CHECKING:
    from .measurement import MeasureFindings

SUMMARY_COLUMNS = (  # name, title, description
    ("Measure", _("Measure"), _("What was measured")),
    ("Before", _("Before"), _("Where the scans lie in the scene without the transform")),
    ("After", _("After"), _("Where the transform puts the moving scan")),
    ("Unit", _("Unit"), _("Unit of both numbers; none for a ratio")),
    ("Reference", _("Reference"), _("Published numbers to read this one by; no limit")),
    ("Source", _("Source"), _("Where they were published")),
)

Row = tuple[str, str, str, str, str, str]


def summaryRows(transform: slicer.vtkMRMLTransformNode, findings: MeasureFindings) -> list[Row]:
    """The rows of the table, see `SUMMARY_COLUMNS`; what was not measured has none."""
    return [
        *_verdictRows(transform),
        *_guideRows(transform),
        *_segmentRows(findings),
        *_pointRows(findings),
        *_jacobianRows(findings.jacobian),
        *_inverseRows(findings.inverseError),
        *_similarityRows(findings.similarity),
    ]


def summaryHtml(transform: slicer.vtkMRMLTransformNode, jacobian: dict[str, Any] | None) -> str:
    """The verdict, if the transform carries one, and folding, as rich text. Only folding and failure have a colour."""
    lines, status = [], _status(transform)
    if status:
        lines.append(_coloured(_verdict(status), status == "failed"))
    if jacobian is not None:
        folding = jacobian["folding_percent"]
        text = _("Folding in {percent} % of the {region}").format(
            percent=_number(folding, 3), region=_region(jacobian["region"])
        )
        lines.append(_coloured(text, bool(folding)))
    return "<br>".join(lines)


def _status(transform: slicer.vtkMRMLTransformNode) -> str:
    """Of the verdict that the transform carries; empty without one."""
    try:
        return str((reportOf(transform) or {})["verdict"]["status"])
    except (LookupError, TypeError):  # none, or another version wrote it
        return ""


def _verdictRows(transform: slicer.vtkMRMLTransformNode) -> list[Row]:
    status = _status(transform)
    return [_row(_("Verdict of PDD Registration"), None, _verdict(status))] if status else []


def _guideRows(transform: slicer.vtkMRMLTransformNode) -> list[Row]:
    """What led the transform says little about it."""
    report = reportOf(transform)
    guided = isinstance(report, dict) and report.get("guided")
    return [_row(_("Segmentations guided this transform"), None, _("their Dice is no evaluation"))] if guided else []


def _segmentRows(findings: MeasureFindings) -> list[Row]:
    rows = []
    for key, name, unit, digits in (("dice", _("Dice"), "", 3), ("hd95", "HD95", "mm", 1), ("asd", "ASD", "mm", 2)):
        sides = (f"{key}_before", f"{key}_after")
        known = [row for row in findings.organs if all(row[side] is not None for side in sides)]
        if known:
            text = _("Mean {measure} of {count} segments").format(measure=name, count=len(known))
            means = (_number(sum(row[side] for row in known) / len(known), digits) for side in sides)
            rows.append(_row(text, *means, unit, key))
    if findings.segments is not None:
        measured = {row["name"] for row in findings.organs if row["dice_before"] is not None}
        absent = [match.fixed.name for match in findings.segments.pairs if match.fixed.name not in measured]
        alone = [segment.name for segment in (*findings.segments.unmatchedFixed, *findings.segments.unmatchedMoving)]
        if absent:
            rows.append(_row(_("Segments that are empty or lie outside the fixed volume"), None, ", ".join(absent)))
        if alone:
            rows.append(_row(_("Segments without a partner"), None, ", ".join(alone)))
    return rows


def _pointRows(findings: MeasureFindings) -> list[Row]:
    if findings.tre is None or findings.points is None:
        return []
    by = {"label": _("by label"), "order": _("by order")}[findings.points.how]
    rows = []
    for key, name in (("mean", _("mean")), ("median", _("median")), ("max", _("largest"))):
        text = _("TRE of {count} points, {which}, matched {by}").format(
            count=len(findings.points.names), which=name, by=by
        )
        numbers = (_number(findings.tre[key][side], 2) for side in ("before", "after"))
        rows.append(_row(text, *numbers, "mm", "tre" if key == "mean" else ""))
    if findings.points.left:
        rows.append(_row(_("Points without a partner"), None, str(findings.points.left)))
    return rows


def _jacobianRows(jacobian: dict[str, Any] | None) -> list[Row]:
    if jacobian is None:
        return []
    where = _("in the {region}, every {spacing} mm").format(
        region=_region(jacobian["region"]), spacing=_number(jacobian["spacing_mm"], 1)
    )
    return [
        _row(_("Folding {where}").format(where=where), None, _number(jacobian["folding_percent"], 3), "%", "folding"),
        _row(_("Jacobian determinant, mean"), None, _number(jacobian["mean"], 3)),
        _row(_("Jacobian determinant, standard deviation"), None, _number(jacobian["std"], 3)),
        _row(_("Jacobian determinant, smallest"), None, _number(jacobian["min"], 3)),
        _row(_("Jacobian determinant, largest"), None, _number(jacobian["max"], 3)),
        _row(_("Standard deviation of its logarithm (of at least 0.001)"), None, _number(jacobian["sdlogj"], 3)),
    ]


def _inverseRows(error: dict[str, Any] | None) -> list[Row]:
    if error is None:
        return []
    kinds = {
        "given": _("the chosen inverse"),
        "exact": _("its exact inverse"),
        "numerical": _("its inverse found on a grid"),
    }
    rows = []
    for key, name in (("mean", _("mean")), ("p95", _("95th percentile")), ("max", _("largest"))):
        text = _("There and back with {inverse}, {which}").format(inverse=kinds[error["inverse"]], which=name)
        rows.append(_row(text, None, _number(error[key], 2), "mm", "inverse" if key == "mean" else ""))
    return rows


def _similarityRows(similarity: dict[str, Any] | None) -> list[Row]:
    if similarity is None:
        return []
    overlap = (_number(100 * similarity[f"overlap_{side}"], 1) for side in ("before", "after"))
    return [
        _row(
            _("Correlation of intensities where both bodies are"),
            *(_number(similarity[side], 3) for side in ("before", "after")),
        ),
        _row(_("Share of the fixed body that the moving one covers"), *overlap, "%"),
    ]


def _row(measure: str, before: str | None, after: str, unit: str = "", reference: str = "") -> Row:
    return (measure, before or "", after, unit, *referencesFor(reference))


def _verdict(status: str) -> str:
    try:
        return verdictText(status)
    except LookupError:  # another version wrote it
        return status


def _region(region: str) -> str:
    return {"fixed body": _("fixed body"), "fixed view": _("fixed view")}.get(region, region)


def _coloured(text: str, alarming: bool) -> str:
    escaped = html.escape(text)
    return f'<span style="color:{warningColour()}">{escaped}</span>' if alarming else escaped


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
