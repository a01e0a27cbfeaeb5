"""Tell how segments move: rows of the table, lines of the CSV file, and arrows in the 3-D views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ..scene.nodes import isSame, nodesOfClass
from .columns import MOTION_COLUMNS

ARROWS = "PDDRegistration.Motion.Arrows"
"""Reference role of a model: the transform whose motion it shows. Stored in scenes, so it must stay."""
COLOUR = (1.0, 0.72, 0.15)
SHAFT_MM, HEAD_MM = 1.8, 5.0  # radii
HEAD_LENGTH_MM, HEAD_SHARE = 14.0, 0.4  # of a head: at most this long, and this share of the arrow
SHORTEST_MM = 0.5  # arrows that are shorter are left out


def motionRow(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return the cells of a segment, in the order of `MOTION_COLUMNS`. row: see `motion_table` in pddnet."""
    x, y, z = row["centre_lps_mm"]
    numbers = (row[key] for key in ("rotation_degrees", "fixed_ml", "moving_ml", "mean_mm", "p95_mm"))
    return (row["name"], *row["shift_ras_mm"], *numbers, -x, -y, z)


def motionLines(cells: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """Return the lines of a segment in the CSV file, see `csv_export.CSV_HEAD`; before is the fixed scan."""
    segment, *columns = MOTION_COLUMNS
    single = [column for column in columns if not column.name.startswith(("Volume", "Centre"))]
    for column in single:
        yield "motion", cells[segment.name], column.name, column.unit, "", cells[column.name], "", ""
    yield "motion", cells[segment.name], "Volume", "ml", cells["Volume fixed"], cells["Volume moving"], "", ""


def arrowsOf(transform: slicer.vtkMRMLTransformNode) -> slicer.vtkMRMLModelNode | None:
    """Return the arrows of a transform, where they are shown."""
    models = nodesOfClass(transform.GetScene(), "vtkMRMLModelNode")
    return next((model for model in models if isSame(model.GetNodeReference(ARROWS), transform)), None)


def showArrows(transform: slicer.vtkMRMLTransformNode, table: slicer.vtkMRMLTableNode) -> slicer.vtkMRMLModelNode:
    """Show an arrow for each segment of a table of motion, from its place in the fixed scan to that in the moving one.

    The arrows lie in the world's coordinates, beside the fixed scan. Those of an earlier table are replaced.
    """
    model = arrowsOf(transform)
    if model is None:
        scene = transform.GetScene()
        name = scene.GenerateUniqueName(_("{transform} motion arrows").format(transform=transform.GetName()))
        model = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
        model.SetNodeReferenceID(ARROWS, transform.GetID())
        model.CreateDefaultDisplayNodes()
        model.GetDisplayNode().SetColor(*COLOUR)
    model.SetAndObservePolyData(_arrows(_column(table, "Centre"), _column(table, "Shift")))
    return model


def removeArrows(transform: slicer.vtkMRMLTransformNode) -> None:
    """Remove the arrows of a transform, if there are any, and how they look, which would stay behind."""
    model = arrowsOf(transform)
    if model is None:
        return
    displays = [model.GetNthDisplayNode(number) for number in range(model.GetNumberOfDisplayNodes())]
    for node in (model, *displays):
        if node is not None:
            transform.GetScene().RemoveNode(node)


def _column(table: slicer.vtkMRMLTableNode, name: str) -> np.ndarray:
    """Read three columns of the table: (N, 3) mm RAS."""
    columns = [table.GetTable().GetColumnByName(f"{name} {axis}") for axis in "RAS"]
    return np.array([[column.GetValue(row) for column in columns] for row in range(table.GetNumberOfRows())])


def _arrows(starts: np.ndarray, shifts: np.ndarray) -> vtk.vtkPolyData:
    """Make one surface of all arrows; starts and shifts (N, 3) mm RAS."""
    together = vtk.vtkAppendPolyData()
    together.AddInputData(vtk.vtkPolyData())  # where all are too short
    for start, shift in zip(starts, shifts, strict=True):
        if np.linalg.norm(shift) >= SHORTEST_MM:
            for part in _arrow(start, shift):
                together.AddInputData(part)
    together.Update()
    return together.GetOutput()


def _arrow(start: np.ndarray, shift: np.ndarray) -> Iterable[vtk.vtkPolyData]:
    """Make the shaft and the head of an arrow."""
    length = float(np.linalg.norm(shift))
    head = min(HEAD_LENGTH_MM, HEAD_SHARE * length)
    neck = start + shift * (1 - head / length)
    line = vtk.vtkLineSource()
    line.SetPoint1(start.tolist())
    line.SetPoint2(neck.tolist())
    shaft = vtk.vtkTubeFilter()
    shaft.SetInputConnection(line.GetOutputPort())
    shaft.SetRadius(SHAFT_MM)
    shaft.SetNumberOfSides(16)
    shaft.CappingOn()
    cone = vtk.vtkConeSource()
    cone.SetCenter((start + shift * (1 - head / length / 2)).tolist())
    cone.SetDirection(shift.tolist())
    cone.SetHeight(head)
    cone.SetRadius(HEAD_MM)
    cone.SetResolution(24)
    for source in (shaft, cone):
        source.Update()
    return shaft.GetOutput(), cone.GetOutput()
