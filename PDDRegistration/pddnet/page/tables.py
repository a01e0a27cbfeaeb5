"""Tables of a registration's page, made of its report."""

from __future__ import annotations

import math
from typing import Any

from ..evaluation.metrics import LABEL_METRICS
from ..evaluation.motion import NETWORK
from .content import Mark, Table

DASH, MINUS = "\u2013", "\u2212"


def number(value: float | None, digits: int) -> str:
    """Format a number; a dash where it is not known."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", MINUS)


def structures(section: dict[str, Any] | None) -> Table | None:
    """Build the table of the structures that the network names; see `evaluation.report.structure_section`."""
    if not section:
        return None
    note = (
        "Found by the network in both scans, and compared within what both show. The shift is what is left between the "
        "two centroids after the registration; 80 % of the errors lie below the expected error."
    )
    head = ("structure", "verdict", "Dice", "surface mm", "shift mm", "expected error mm")
    rows = tuple(
        (
            row["name"],
            _judged(row["verdict"], row["reason"]),
            number(row["dice"], 2),
            number(row["surface_mm"], 1),
            number(row["shift_mm"], 1),
            number(row["expected_error_mm"], 1),
        )
        for row in section["table"]
    )
    return Table("Structures", note, head, rows, text=2)


def _judged(verdict: str, reason: str) -> Mark:
    return Mark(verdict.replace(" ", "-"), f"{verdict}: {reason}" if reason else verdict)


def motion(rows: list[dict[str, Any]]) -> Table | None:
    """Build the table of motion and volume; see `evaluation.motion.motion_table`."""
    if not rows:
        return None
    note = (
        "From the fixed to the moving scan: shift of the centroid towards the patient's right (R), front (A) and head "
        "(S), rotation of the best rigid fit, volume, and length of the displacement. Numbers are of the transform."
    )
    head = ("structure", "R mm", "A mm", "S mm", "turn °", "fixed ml", "moving ml", "change %", "mean mm", "95 % mm")
    return Table("Motion and volume", note, head, tuple(_motion_row(row) for row in rows))


def _motion_row(row: dict[str, Any]) -> tuple[str, ...]:
    name = row["name"] if row["source"] == NETWORK else f"label {row['name']}"
    growth = 100.0 * (row["moving_ml"] / row["fixed_ml"] - 1.0) if row["fixed_ml"] else None
    return (
        name,
        *(number(mm, 1) for mm in row["shift_ras_mm"]),
        number(row["rotation_degrees"], 1),
        number(row["fixed_ml"], 1),
        number(row["moving_ml"], 1),
        number(growth, 0),
        number(row["mean_mm"], 1),
        number(row["p95_mm"], 1),
    )


def labels(section: dict[str, Any] | None) -> Table | None:
    """Build the table of the label metrics; see `evaluation.report.label_section`."""
    if not section:
        return None
    guided = "The labels guided the registration, so this is no evaluation." if section["guided"] else ""
    note = f"Before: {section['before']}. {guided}".strip()
    head = ("label", *(f"{m.caption} {side} {m.unit}".rstrip() for m in LABEL_METRICS for side in ("before", "after")))
    rows = [(str(row["label"]), *_label_cells(row)) for row in section["table"]]
    return Table("Label maps", note, head, (*rows, ("mean", *_label_cells(section["mean"]))))


def _label_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(number(row.get(side), metric.digits) for metric in LABEL_METRICS for side in metric.sides)
