"""The findings of a measurement as table nodes of the scene, and as one CSV file."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import vtk
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..scene.geometry import isSame
from ..scene.rollback import unchangedOnError
from .summary import SUMMARY_COLUMNS, summaryRows

if TYPE_CHECKING:
    from .measurement import MeasureFindings

PART = "PDDRegistration.QA"
"""Node attribute of a table: 'summary', 'segments' or 'points'."""
TRANSFORM = "PDDRegistration.QA.Transform"
"""Reference role of a table: the transform that was measured."""
JACOBIAN = "PDDRegistration.QA.Jacobian"
"""Node attribute of a summary: the worker's section of the determinant as JSON."""
CSV_HEAD = ("part", "name", "measure", "unit", "before", "after", "reference", "source")


@dataclass(frozen=True)
class Column:
    """name: as scenes and files know it; title: as the user reads it; digits: after the point, None for text."""

    name: str
    title: str
    description: str
    unit: str = ""
    digits: int | None = None


def _pair(measure: str, unit: str, digits: int, before: str, after: str, description: str) -> tuple[Column, Column]:
    return (
        Column(f"{measure} before", before, description, unit, digits),
        Column(f"{measure} after", after, description, unit, digits),
    )


SEGMENT_COLUMNS = (
    Column("Segment", _("Segment"), _("Name in the fixed segmentation")),
    *_pair("Dice", "", 4, _("Dice before"), _("Dice after"), _("Overlap, 0 to 1: twice the shared volume over both")),
    *_pair("HD95", "mm", 3, _("HD95 before, mm"), _("HD95 after, mm"), _("Larger 95th percentile of the distances")),
    *_pair("ASD", "mm", 3, _("ASD before, mm"), _("ASD after, mm"), _("Mean distance of the surfaces, both ways")),
    Column("Matched by", _("Matched by"), _("How the segment was found in the moving segmentation")),
)
POINT_COLUMNS = (
    Column("Point", _("Point"), _("Label in the fixed list")),
    *_pair("TRE", "mm", 3, _("TRE before, mm"), _("TRE after, mm"), _("Distance from the moving point")),
)
TEXT_COLUMNS = tuple(Column(name, title, text) for name, title, text in SUMMARY_COLUMNS)


@dataclass(frozen=True)
class MeasureTables:
    """The tables of one transform; segments and points are None where none were measured."""

    summary: slicer.vtkMRMLTableNode
    segments: slicer.vtkMRMLTableNode | None = None
    points: slicer.vtkMRMLTableNode | None = None

    @property
    def nodes(self) -> dict[str, slicer.vtkMRMLTableNode]:
        """Those that there are, by part."""
        every = {"summary": self.summary, "segments": self.segments, "points": self.points}
        return {part: node for part, node in every.items() if node is not None}


def fillMeasureTables(transform: slicer.vtkMRMLTransformNode, findings: MeasureFindings) -> MeasureTables:
    """Put the findings into the scene, whole or not at all; tables of an earlier measurement are used again."""
    scene = transform.GetScene()
    contents = {"summary": (TEXT_COLUMNS, summaryRows(transform, findings))}
    segments = [row for row in findings.organs if row["dice_before"] is not None]
    if segments:
        contents["segments"] = (SEGMENT_COLUMNS, [_segmentRow(row) for row in segments])
    if findings.tre is not None:
        rows = [(row["name"], row["before"], row["after"]) for row in findings.tre["points"]]
        contents["points"] = (POINT_COLUMNS, rows)
    known = _tables(transform)
    with unchangedOnError(scene, known.values()):
        nodes = {}
        for part, (columns, rows) in contents.items():
            nodes[part] = known.get(part) or _newTable(transform, part)
            fillTable(nodes[part], columns, rows)
        nodes["summary"].SetAttribute(JACOBIAN, json.dumps(findings.jacobian))
    for part, node in known.items():
        if part not in nodes:  # of an earlier measurement, of other things
            scene.RemoveNode(node)
    return MeasureTables(**nodes)


def measureTablesOf(transform: slicer.vtkMRMLTransformNode | None) -> MeasureTables | None:
    """The tables of the last measurement of a transform, also in a scene that was saved and loaded."""
    known = {} if transform is None or transform.GetScene() is None else _tables(transform)
    return MeasureTables(**known) if "summary" in known else None


def jacobianOf(tables: MeasureTables) -> dict[str, Any] | None:
    """The summary's statistics of the Jacobian determinant (`transform_quality.jacobian` in pddnet), or None."""
    try:
        section = json.loads(tables.summary.GetAttribute(JACOBIAN) or "null")
    except ValueError:
        return None
    return section if isinstance(section, dict) and {"folding_percent", "region"} <= set(section) else None


def fillTable(node: slicer.vtkMRMLTableNode, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
    """Give a table node these columns and rows, in place of what it had; it cannot be edited by hand afterwards.

    Numbers are rounded to the column's digits; what is not known (None) is an empty text, or not a number (NaN).
    """
    rows = list(rows)
    table = vtk.vtkTable()
    for place, column in enumerate(columns):
        array = vtk.vtkStringArray() if column.digits is None else vtk.vtkDoubleArray()
        array.SetName(column.name)
        for row in rows:
            array.InsertNextValue(_cell(row[place], column.digits))
        table.AddColumn(array)
    modifying = node.StartModify()
    node.SetAndObserveTable(table)
    for column in columns:
        node.SetColumnTitle(column.name, column.title)
        node.SetColumnUnitLabel(column.name, column.unit)
        node.SetColumnDescription(column.name, column.description)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(modifying)


def tableTexts(node: slicer.vtkMRMLTableNode) -> tuple[list[str], list[list[str]]]:
    """The titles of a table's columns, and its cells by rows; numbers that are not known are '-'."""
    count = node.GetNumberOfColumns()
    titles = [node.GetColumnTitle(node.GetColumnName(n)) or node.GetColumnName(n) for n in range(count)]
    columns = [node.GetTable().GetColumn(n) for n in range(count)]
    return titles, [[_text(column, row, "-") for column in columns] for row in range(node.GetNumberOfRows())]


def exportCsv(tables: MeasureTables, path: str | Path) -> None:
    """Write the tables as one CSV file, whole or not at all: a line per measure, with the columns `CSV_HEAD`.

    UTF-8 with a mark that spreadsheets need; a point in numbers, commas between cells; nothing where nothing is known.

    Raises:
        InputError: it cannot be written there.
    """
    path, text = Path(path), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for part, node in tables.nodes.items():
        writer.writerows(_csvRows(part, node))
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(text.getvalue().encode("utf-8-sig"))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = _("{path}: the table cannot be written ({reason}); choose another folder")
        raise InputError(reason.format(path=path, reason=error.strerror)) from error


def _csvRows(part: str, node: slicer.vtkMRMLTableNode) -> Iterable[tuple[str, ...]]:
    for row in range(node.GetNumberOfRows()):
        cells = {
            node.GetColumnName(n): _text(node.GetTable().GetColumn(n), row) for n in range(node.GetNumberOfColumns())
        }
        if part == "summary":
            names = (column.name for column in TEXT_COLUMNS)
            measure, before, after, unit, reference, source = (cells[name] for name in names)
            yield part, "", measure, unit, before, after, reference, source
            continue
        for column in SEGMENT_COLUMNS if part == "segments" else POINT_COLUMNS:
            if column.name.endswith(" before"):
                measure = column.name.removesuffix(" before")
                name = cells["Segment" if part == "segments" else "Point"]
                yield part, name, measure, column.unit, cells[column.name], cells[f"{measure} after"], "", ""


def _segmentRow(row: dict[str, Any]) -> tuple[Any, ...]:
    matched = {"name": _("name"), "terminology": _("terminology")}[row["matched"]]
    numbers = (row[f"{measure}_{side}"] for measure in ("dice", "hd95", "asd") for side in ("before", "after"))
    return (row["name"], *numbers, matched)


def _cell(value: Any, digits: int | None) -> Any:
    if digits is None:
        return "" if value is None else str(value)
    return math.nan if value is None else round(float(value), digits)


def _text(column: vtk.vtkAbstractArray, row: int, unknown: str = "") -> str:
    value = column.GetValue(row)
    return value if isinstance(value, str) else unknown if math.isnan(value) else f"{value:.10g}"


def _newTable(transform: slicer.vtkMRMLTransformNode, part: str) -> slicer.vtkMRMLTableNode:
    names = {
        "summary": _("{transform} QA"),
        "segments": _("{transform} QA segments"),
        "points": _("{transform} QA points"),
    }
    scene = transform.GetScene()
    name = scene.GenerateUniqueName(names[part].format(transform=transform.GetName()))
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetAttribute(PART, part)
    node.SetNodeReferenceID(TRANSFORM, transform.GetID())
    return node


def _tables(transform: slicer.vtkMRMLTransformNode) -> dict[str, slicer.vtkMRMLTableNode]:
    scene = transform.GetScene()
    count = scene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    nodes = (scene.GetNthNodeByClass(number, "vtkMRMLTableNode") for number in range(count))
    return {
        node.GetAttribute(PART): node
        for node in nodes
        if node.GetAttribute(PART) and isSame(node.GetNodeReference(TRANSFORM), transform)
    }
