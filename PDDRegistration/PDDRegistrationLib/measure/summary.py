"""Summarise a measurement: means, folding, inverse, similarity and verdict, beside published numbers."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import slicer
from slicer.i18n import tr as _

from ..base.numbers import numberText
from ..base.result_texts import verdictText
from ..base.theme import warningColour
from ..registration.job import reportOf
from .findings import MeasureFindings
from .metrics import SEGMENT_METRICS, SIDES, TRE, Metric
from .references import referencesFor


class SummaryRow(NamedTuple):
    """Cells of one row, in the order of `columns.SUMMARY_COLUMNS`."""

    measure: str
    before: str
    after: str
    unit: str
    reference: str
    source: str


def summaryRows(transform: slicer.vtkMRMLTransformNode, findings: MeasureFindings) -> list[SummaryRow]:
    """List the rows of the summary table, one for each measure."""
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
    """Format folding, and the verdict if there is one, as rich text; only folding and failure are coloured."""
    lines, status = [], _status(transform)
    if status:
        lines.append(_coloured(_verdict(status), status == "failed"))
    if jacobian is not None:
        folding = jacobian["folding_percent"]
        text = _("Folding in {percent} % of the {region}").format(
            percent=numberText(folding, 3), region=_region(jacobian["region"])
        )
        lines.append(_coloured(text, bool(folding)))
    return "<br>".join(lines)


def _status(transform: slicer.vtkMRMLTransformNode) -> str:
    """Return the status of the verdict that the transform carries; empty without one."""
    try:
        return str((reportOf(transform) or {})["verdict"]["status"])
    except (LookupError, TypeError):  # there is none, or another version wrote it
        return ""


def _verdictRows(transform: slicer.vtkMRMLTransformNode) -> list[SummaryRow]:
    status = _status(transform)
    return [_row(_("Verdict of PDD Registration"), None, _verdict(status))] if status else []


def _guideRows(transform: slicer.vtkMRMLTransformNode) -> list[SummaryRow]:
    """List a note where segmentations guided the transform: their Dice is no independent evaluation then."""
    report = reportOf(transform)
    guided = isinstance(report, dict) and report.get("guided")
    return [_row(_("Segmentations guided this transform"), None, _("their Dice is no evaluation"))] if guided else []


def _segmentRows(findings: MeasureFindings) -> list[SummaryRow]:
    means = [_meanRow(metric, findings.organs) for metric in SEGMENT_METRICS]
    return [*(row for row in means if row is not None), *_unmeasuredRows(findings)]


def _meanRow(metric: Metric, organs: list[dict[str, Any]]) -> SummaryRow | None:
    """Average one metric over the segments that have it before and after; None where there are none."""
    fields = [metric.field(side) for side in SIDES]
    known = [row for row in organs if all(row[field] is not None for field in fields)]
    if not known:
        return None
    text = _("Mean {measure} of {count} segments").format(measure=metric.name, count=len(known))
    before, after = (numberText(sum(row[field] for row in known) / len(known), metric.meanDigits) for field in fields)
    return _row(text, before, after, metric.unit, metric.key)


def _unmeasuredRows(findings: MeasureFindings) -> list[SummaryRow]:
    """List the names of segments that could not be measured, and of those that only one segmentation has."""
    if findings.segments is None:
        return []
    measured = {row["name"] for row in findings.organs if row["dice_before"] is not None}
    absent = [match.fixed.name for match in findings.segments.pairs if match.fixed.name not in measured]
    alone = [segment.name for segment in (*findings.segments.unmatchedFixed, *findings.segments.unmatchedMoving)]
    rows = []
    if absent:
        rows.append(_row(_("Segments that are empty or lie outside the fixed volume"), None, ", ".join(absent)))
    if alone:
        rows.append(_row(_("Segments without a partner"), None, ", ".join(alone)))
    return rows


def _pointRows(findings: MeasureFindings) -> list[SummaryRow]:
    if findings.tre is None or findings.points is None:
        return []
    by = {"label": _("by label"), "order": _("by order")}[findings.points.how]
    rows = []
    for key, name in (("mean", _("mean")), ("median", _("median")), ("max", _("largest"))):
        text = _("TRE of {count} points, {which}, matched {by}")
        text = text.format(count=len(findings.points.names), which=name, by=by)
        before, after = (numberText(findings.tre[key][side], TRE.meanDigits) for side in SIDES)
        rows.append(_row(text, before, after, TRE.unit, TRE.key if key == "mean" else ""))
    if findings.points.unpaired:
        rows.append(_row(_("Points without a partner"), None, str(findings.points.unpaired)))
    return rows


def _jacobianRows(jacobian: dict[str, Any] | None) -> list[SummaryRow]:
    if jacobian is None:
        return []
    where = _("in the {region}, every {spacing} mm").format(
        region=_region(jacobian["region"]), spacing=numberText(jacobian["spacing_mm"], 1)
    )
    folding = numberText(jacobian["folding_percent"], 3)
    return [
        _row(_("Folding {where}").format(where=where), None, folding, "%", "folding"),
        _row(_("Jacobian determinant, mean"), None, numberText(jacobian["mean"], 3)),
        _row(_("Jacobian determinant, standard deviation"), None, numberText(jacobian["std"], 3)),
        _row(_("Jacobian determinant, smallest"), None, numberText(jacobian["min"], 3)),
        _row(_("Jacobian determinant, largest"), None, numberText(jacobian["max"], 3)),
        _row(_("Standard deviation of its logarithm (of at least 0.001)"), None, numberText(jacobian["sdlogj"], 3)),
    ]


def _inverseRows(error: dict[str, Any] | None) -> list[SummaryRow]:
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
        rows.append(_row(text, None, numberText(error[key], 2), "mm", "inverse" if key == "mean" else ""))
    return rows


def _similarityRows(similarity: dict[str, Any] | None) -> list[SummaryRow]:
    if similarity is None:
        return []
    correlation = [numberText(similarity[side], 3) for side in SIDES]
    overlap = [numberText(100 * similarity[f"overlap_{side}"], 1) for side in SIDES]
    return [
        _row(_("Correlation of intensities where both bodies are"), correlation[0], correlation[1]),
        _row(_("Share of the fixed body that the moving one covers"), overlap[0], overlap[1], "%"),
    ]


def _row(measure: str, before: str | None, after: str, unit: str = "", reference: str = "") -> SummaryRow:
    return SummaryRow(measure, before or "", after, unit, *referencesFor(reference))


def _verdict(status: str) -> str:
    try:
        return verdictText(status)
    except LookupError:  # another version wrote it
        return status


def _region(region: str) -> str:
    return {"fixed body": _("fixed body"), "fixed view": _("fixed view"), "fixed image": _("fixed image")}.get(
        region, region
    )


def _coloured(text: str, alarming: bool) -> str:
    escaped = html.escape(text)
    return f'<span style="color:{warningColour()}">{escaped}</span>' if alarming else escaped
