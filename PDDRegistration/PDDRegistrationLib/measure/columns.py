"""Define the columns of the three tables: summary, segments, points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slicer.i18n import tr as _

from .metrics import POINT_METRICS, SEGMENT_METRICS, SIDES, Metric


@dataclass(frozen=True)
class Column:
    """Column of a table; name: in scenes and files; title: for the user, who sees the unit behind it; digits: after the
    point, None for text."""

    name: str
    title: str
    description: str
    unit: str = ""
    digits: int | None = None


def _columnsOf(metrics: Iterable[Metric]) -> list[Column]:
    """List two columns for each metric, before and after."""
    titles = {"before": _("{metric} before"), "after": _("{metric} after")}
    columns = []
    for metric in metrics:
        for side in SIDES:
            title = titles[side].format(metric=metric.name)
            columns.append(Column(metric.column(side), title, metric.description, metric.unit, metric.digits))
    return columns


SEGMENT_COLUMNS = (
    Column("Segment", _("Segment"), _("Name in the fixed segmentation")),
    *_columnsOf(SEGMENT_METRICS),
    Column("Matched by", _("Matched by"), _("How the segment was found in the moving segmentation")),
)
POINT_COLUMNS = (
    Column("Point", _("Point"), _("Label in the fixed list")),
    *_columnsOf(POINT_METRICS),
)
MOTION_COLUMNS = (
    Column("Segment", _("Segment"), _("Name in the fixed segmentation")),
    Column(
        "Shift R", _("R"), _("Shift of the centroid to the patient's right, from the fixed to the moving scan"), "mm", 1
    ),
    Column("Shift A", _("A"), _("Shift of the centroid to the front"), "mm", 1),
    Column("Shift S", _("S"), _("Shift of the centroid to the head"), "mm", 1),
    Column(
        "Rotation", _("Rotation"), _("Angle of the rigid motion that is nearest to the displacements"), "degrees", 1
    ),
    Column("Volume fixed", _("Volume fixed"), _("Volume in the fixed scan"), "ml", 1),
    Column("Volume moving", _("Volume moving"), _("Volume that the transform takes it to"), "ml", 1),
    Column("Displacement mean", _("Mean"), _("Mean length of the displacement over it"), "mm", 1),
    Column("Displacement p95", _("95 %"), _("95th percentile of the length of the displacement"), "mm", 1),
    Column("Centre R", _("Centre R"), _("Centroid in the fixed scan, where its arrow starts"), "mm", 1),
    Column("Centre A", _("Centre A"), _("Centroid in the fixed scan, where its arrow starts"), "mm", 1),
    Column("Centre S", _("Centre S"), _("Centroid in the fixed scan, where its arrow starts"), "mm", 1),
)
SUMMARY_COLUMNS = (
    Column("Measure", _("Measure"), _("What was measured")),
    Column("Before", _("Before"), _("Where the scans lie in the scene without the transform")),
    Column("After", _("After"), _("Where the transform puts the moving scan")),
    Column("Unit", _("Unit"), _("Unit of both numbers; none for a ratio")),
    Column("Reference", _("Reference"), _("Published numbers to read this one by; no limit")),
    Column("Source", _("Source"), _("Where they were published")),
)
