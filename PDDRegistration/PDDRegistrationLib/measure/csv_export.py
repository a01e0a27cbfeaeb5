"""Export the tables of a measurement as one CSV file (`exportCsv`)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ..base.files import writeWhole
from .columns import POINT_COLUMNS, SEGMENT_COLUMNS, SUMMARY_COLUMNS
from .metrics import POINT_METRICS, SEGMENT_METRICS
from .motion import motionLines
from .tables import MeasureTables, cellText

CSV_HEAD = ("part", "name", "measure", "unit", "before", "after", "reference", "source")
_NAMED = {"segments": (SEGMENT_COLUMNS[0], SEGMENT_METRICS), "points": (POINT_COLUMNS[0], POINT_METRICS)}
"""By part: the column with the row's name, and the metrics."""


def exportCsv(tables: MeasureTables, path: str | Path) -> None:
    """Write the tables as one CSV file, completely or not at all: a line per measure, with the columns `CSV_HEAD`.

    The file is UTF-8 with the byte order mark that spreadsheets need, with decimal points, commas between cells, and
    empty cells for values that are not known.

    Raises:
        InputError: the file cannot be written there.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for part, node in tables.nodes.items():
        for cells in _rows(node):
            writer.writerows(_lines(part, cells))
    failure = _("{path}: the table cannot be written ({reason}); choose another folder")
    writeWhole(path, text.getvalue().encode("utf-8-sig"), failure)


def _rows(node: slicer.vtkMRMLTableNode) -> Iterable[dict[str, str]]:
    """Iterate over the rows; each maps the names of the columns to the cells."""
    columns = {node.GetColumnName(n): node.GetTable().GetColumn(n) for n in range(node.GetNumberOfColumns())}
    for row in range(node.GetNumberOfRows()):
        yield {name: cellText(column, row) for name, column in columns.items()}


def _lines(part: str, cells: dict[str, str]) -> Iterable[tuple[str, ...]]:
    if part == "summary":
        return _summaryLines(cells)
    return motionLines(cells) if part == "motion" else _metricLines(part, cells)


def _summaryLines(cells: dict[str, str]) -> Iterable[tuple[str, ...]]:
    measure, before, after, unit, reference, source = (cells[column.name] for column in SUMMARY_COLUMNS)
    yield "summary", "", measure, unit, before, after, reference, source


def _metricLines(part: str, cells: dict[str, str]) -> Iterable[tuple[str, ...]]:
    nameColumn, metrics = _NAMED[part]
    for metric in metrics:
        before, after = cells[metric.column("before")], cells[metric.column("after")]
        yield part, cells[nameColumn.name], metric.name, metric.unit, before, after, "", ""
