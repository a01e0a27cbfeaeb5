"""Store the findings of a measurement as table nodes of the scene (`MeasureTables`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from ..scene.nodes import isSame, nodesOfClass
from ..scene.rollback import unchangedOnError
from .columns import MOTION_COLUMNS, POINT_COLUMNS, SEGMENT_COLUMNS, SUMMARY_COLUMNS, Column
from .findings import MeasureFindings
from .metrics import SEGMENT_METRICS, SIDES
from .motion import motionRow
from .summary import summaryRows

# The names below are stored in scenes, also in those of versions that called the measurement QA: they must stay.
PART = "PDDRegistration.QA"
"""Node attribute of a table: 'summary', 'segments', 'points' or 'motion'."""
TRANSFORM = "PDDRegistration.QA.Transform"
"""Reference role of a table: the transform that was measured."""
JACOBIAN = "PDDRegistration.QA.Jacobian"
"""Node attribute of a summary: the worker's section of the determinant as JSON."""


@dataclass(frozen=True)
class MeasureTables:
    """Tables of one transform; segments, points and motion are None where none were measured."""

    summary: slicer.vtkMRMLTableNode
    segments: slicer.vtkMRMLTableNode | None = None
    points: slicer.vtkMRMLTableNode | None = None
    motion: slicer.vtkMRMLTableNode | None = None

    @property
    def transform(self) -> slicer.vtkMRMLTransformNode:
        """Return the transform that was measured."""
        return self.summary.GetNodeReference(TRANSFORM)

    @property
    def nodes(self) -> dict[str, slicer.vtkMRMLTableNode]:
        """Return the existing tables by part."""
        nodes = {"summary": self.summary, "segments": self.segments, "points": self.points}
        nodes["motion"] = self.motion
        return {part: node for part, node in nodes.items() if node is not None}


def fillMeasureTables(transform: slicer.vtkMRMLTransformNode, findings: MeasureFindings) -> MeasureTables:
    """Put the findings into the scene, completely or not at all; tables of an earlier measurement are used again."""
    contents = _contents(transform, findings)
    known = _tables(transform)
    with unchangedOnError(transform.GetScene(), known.values()):
        nodes = {}
        for part, (columns, rows) in contents.items():
            nodes[part] = known.get(part) or _newTable(transform, part)
            fillTable(nodes[part], columns, rows)
        nodes["summary"].SetAttribute(JACOBIAN, json.dumps(findings.jacobian))
    for part, node in known.items():
        if part not in nodes:  # left from an earlier measurement of other nodes
            transform.GetScene().RemoveNode(node)
    return MeasureTables(**nodes)


def _contents(
    transform: slicer.vtkMRMLTransformNode, findings: MeasureFindings
) -> dict[str, tuple[Sequence[Column], Sequence[Sequence[Any]]]]:
    """Return the columns and rows of each table, by part."""
    contents: dict[str, tuple[Sequence[Column], Sequence[Sequence[Any]]]]
    contents = {"summary": (SUMMARY_COLUMNS, summaryRows(transform, findings))}
    segments = [_segmentRow(row) for row in findings.organs if row["dice_before"] is not None]
    if segments:
        contents["segments"] = (SEGMENT_COLUMNS, segments)
    if findings.motion:
        contents["motion"] = (MOTION_COLUMNS, [motionRow(row) for row in findings.motion])
    if findings.tre is not None:
        points = [(row["name"], *(row[side] for side in SIDES)) for row in findings.tre["points"]]
        contents["points"] = (POINT_COLUMNS, points)
    return contents


def measureTablesOf(transform: slicer.vtkMRMLTransformNode | None) -> MeasureTables | None:
    """Return the tables of the last measurement of a transform, also in a scene that was saved and loaded."""
    known = {} if transform is None or transform.GetScene() is None else _tables(transform)
    return MeasureTables(**known) if "summary" in known else None


def jacobianOf(tables: MeasureTables) -> dict[str, Any] | None:
    """Return the summary's statistics of the Jacobian determinant (`transform_quality.jacobian` in pddnet), or None."""
    try:
        section = json.loads(tables.summary.GetAttribute(JACOBIAN) or "null")
    except ValueError:
        return None
    return section if isinstance(section, dict) and {"folding_percent", "region"} <= set(section) else None


def fillTable(node: slicer.vtkMRMLTableNode, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
    """Replace the columns and rows of a table node; the user cannot edit it afterwards.

    Numbers are rounded to the column's digits; unknown values (None) become an empty text or not a number (NaN).
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
    """Return the headings of a table's columns, and its cells by rows; numbers that are not known are '-'."""
    count = node.GetNumberOfColumns()
    titles = [_heading(node, node.GetColumnName(n)) for n in range(count)]
    columns = [node.GetTable().GetColumn(n) for n in range(count)]
    rows = range(node.GetNumberOfRows())
    return titles, [[cellText(column, row, unknown="-") for column in columns] for row in rows]


def _heading(node: slicer.vtkMRMLTableNode, name: str) -> str:
    """Return a column's title and unit, as Slicer's own views show them: "HD95 before [mm]"."""
    title, unit = node.GetColumnTitle(name) or name, node.GetColumnUnitLabel(name)
    if not unit:
        return title
    return f"{title.removesuffix(f', {unit}')} [{unit}]"  # version 0.1 put the unit into the title, too


def columnDescriptions(node: slicer.vtkMRMLTableNode) -> list[str]:
    """Return the descriptions of a table's columns, for tool tips."""
    return [node.GetColumnDescription(node.GetColumnName(n)) for n in range(node.GetNumberOfColumns())]


def cellText(column: vtk.vtkAbstractArray, row: int, unknown: str = "") -> str:
    """Format one cell of a table; `unknown` stands for a number that is not known."""
    value = column.GetValue(row)
    if isinstance(value, str):
        return value
    return unknown if math.isnan(value) else f"{value:.10g}"


def _segmentRow(row: dict[str, Any]) -> tuple[Any, ...]:
    matched = {"name": _("name"), "terminology": _("terminology")}[row["matched"]]
    numbers = (row[metric.field(side)] for metric in SEGMENT_METRICS for side in SIDES)
    return (row["name"], *numbers, matched)


def _cell(value: Any, digits: int | None) -> Any:
    if digits is None:
        return "" if value is None else str(value)
    return math.nan if value is None else round(float(value), digits)


def _newTable(transform: slicer.vtkMRMLTransformNode, part: str) -> slicer.vtkMRMLTableNode:
    names = {
        "summary": _("{transform} QA"),
        "segments": _("{transform} QA segments"),
        "points": _("{transform} QA points"),
        "motion": _("{transform} motion"),
    }
    scene = transform.GetScene()
    name = scene.GenerateUniqueName(names[part].format(transform=transform.GetName()))
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetAttribute(PART, part)
    node.SetNodeReferenceID(TRANSFORM, transform.GetID())
    return node


def _tables(transform: slicer.vtkMRMLTransformNode) -> dict[str, slicer.vtkMRMLTableNode]:
    nodes = nodesOfClass(transform.GetScene(), "vtkMRMLTableNode")
    return {
        node.GetAttribute(PART): node
        for node in nodes
        if node.GetAttribute(PART) and isSame(node.GetNodeReference(TRANSFORM), transform)
    }
