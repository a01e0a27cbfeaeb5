"""Store the motion over time of a registered sequence as a table node of the scene."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.evaluation.motion import sequence_rows

from ..scene.nodes import isSame, nodesOfClass
from ..scene.sequences import SequenceResult
from .columns import MOTION_COLUMNS, Column
from .motion import motionRow
from .tables import fillTable

SEQUENCE = "PDDRegistration.Sequence"
"""Reference role of a table: the sequence of transforms whose motion it tells. Stored in scenes, so it must stay."""
_NUMBERS = tuple(column for column in MOTION_COLUMNS[1:] if not column.name.startswith("Centre"))
COLUMNS = (
    Column("Structure", _("Structure"), _("As the network names it; left and right are the patient's")),
    Column("Frame", _("Frame"), _("Number of the frame, from 0"), digits=0),
    Column("Index", _("Index"), _("The frame's place in the sequence, such as its time or its phase")),
    *_NUMBERS,
)


def sequenceMotionOf(result: SequenceResult) -> slicer.vtkMRMLTableNode | None:
    """Return the table of a result; None where there is none."""
    tables = nodesOfClass(result.sequence.GetScene(), "vtkMRMLTableNode")
    return next((table for table in tables if isSame(table.GetNodeReference(SEQUENCE), result.sequence)), None)


def fillSequenceMotion(result: SequenceResult) -> slicer.vtkMRMLTableNode:
    """Put the motion of all structures in all frames into a table node: the result's, or a new one."""
    node = sequenceMotionOf(result)
    if node is None:
        scene = result.sequence.GetScene()
        name = scene.GenerateUniqueName(_("{sequence} motion").format(sequence=result.sequence.GetName()))
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        node.SetNodeReferenceID(SEQUENCE, result.sequence.GetID())
    fillTable(node, COLUMNS, [_row(result, frame, row) for frame, row in sequence_rows(result.motion)])
    return node


def _row(result: SequenceResult, frame: int, row: dict[str, Any]) -> tuple[Any, ...]:
    name, *numbers = motionRow(row)
    return (name, frame, result.sequence.GetNthIndexValue(frame), *numbers[: len(_NUMBERS)])
