"""Two point lists of the scene as pairs of landmarks, LPS mm."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from .geometry import RAS_LPS, movedPoints, transformToWorld


@dataclass(frozen=True, eq=False)
class PointPairs:
    """names, fixed and moving (N, 3) LPS mm; how: 'label' or 'order'; left: how many points have no partner."""

    names: tuple[str, ...]
    fixed: np.ndarray
    moving: np.ndarray
    how: str
    left: int


def pointPairs(
    fixedPoints: slicer.vtkMRMLMarkupsNode,
    movingPoints: slicer.vtkMRMLMarkupsNode,
    ignoring: slicer.vtkMRMLTransformNode | None = None,
) -> PointPairs:
    """The points that belong together: by label where any label is the same, else by order where the counts agree.

    ignoring: of the moving list's parents, as for `nodes.imageFromVolume`.

    Raises:
        InputError: no pair is found, or a label that both lists have occurs twice in one of them.
    """
    sides = [_points(fixedPoints, None), _points(movingPoints, ignoring)]
    labels = [[label for label, _place in side] for side in sides]
    shared = [label for label in dict.fromkeys(labels[0]) if label and label in labels[1]]
    if shared:
        for node, side in zip((fixedPoints, movingPoints), labels, strict=True):
            twice = [label for label, count in Counter(side).items() if count > 1 and label in shared]
            if twice:
                text = _("{name}: the label '{label}' occurs twice; give every point its own label")
                raise InputError(text.format(name=node.GetName(), label=twice[0]))
        places = [dict(side) for side in sides]
        pairs = [np.array([side[label] for label in shared]) for side in places]
        left = len(sides[0]) + len(sides[1]) - 2 * len(shared)
        return PointPairs(tuple(shared), pairs[0], pairs[1], "label", left)
    if len(sides[0]) != len(sides[1]) or not sides[0]:
        text = _(
            "{fixed} has {fixedCount} points and {moving} has {movingCount}, and no label is in both; give the same "
            "labels to the same places, or as many points in the same order"
        )
        names = {"fixed": fixedPoints.GetName(), "moving": movingPoints.GetName()}
        raise InputError(text.format(**names, fixedCount=len(sides[0]), movingCount=len(sides[1])))
    names = tuple(label or str(number) for number, label in enumerate(labels[0], 1))
    return PointPairs(names, *(np.array([place for _label, place in side]) for side in sides), "order", 0)


def _points(
    node: slicer.vtkMRMLMarkupsNode, ignoring: slicer.vtkMRMLTransformNode | None
) -> list[tuple[str, np.ndarray]]:
    """Label and place (3,) in the world, LPS mm, of every point that was placed."""
    numbers = [n for n in range(node.GetNumberOfControlPoints()) if _isPlaced(node, n)]
    if not numbers:
        return []
    local = np.array([node.GetNthControlPointPosition(n) for n in numbers])
    world = RAS_LPS * movedPoints(transformToWorld(node, ignoring), local)
    return [(node.GetNthControlPointLabel(n).strip(), place) for n, place in zip(numbers, world, strict=True)]


def _isPlaced(node: slicer.vtkMRMLMarkupsNode, number: int) -> bool:
    return node.GetNthControlPointPositionStatus(number) == node.PositionDefined
