"""The tables of a template as CSV: its rounds, and its scans."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from .rounds import Round

SCAN_COLUMNS = ("id", "scan", "displacement_mm", "log_jacobian_mean", "log_jacobian_std", "folding_percent")
ROUND_COLUMNS = ("round", "scans", "residual_mm", "sharpness_hu_per_mm", "spread_hu", "least_determinant")
Row = dict[str, Any]
"""What is known of a scan, by SCAN_COLUMNS; lengths and logarithms are means over the template's body."""


def scans_csv(rows: Iterable[Row]) -> str:
    """Write a line for each scan."""
    return _csv(SCAN_COLUMNS, ([row[name] for name in SCAN_COLUMNS] for row in rows))


def rounds_csv(rounds: Iterable[Round]) -> str:
    """Write a line for each round."""
    return _csv(ROUND_COLUMNS, (_values(each) for each in rounds))


def _values(found: Round) -> list[Any]:
    measured = (found.residual_mm, found.sharpness_hu_per_mm, found.spread_hu, found.least_determinant)
    return [found.number, len(found.used), *measured]


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    for row in rows:
        table.writerow([f"{value:.4g}" if isinstance(value, float) else value for value in row])
    return text.getvalue()
