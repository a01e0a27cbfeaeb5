"""Pair the corresponding landmarks of two point lists of the scene, LPS mm."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from .geometry import RAS_LPS, movedPoints, transformToWorld


@dataclass(frozen=True, eq=False)
class PointPairs:
    """Paired landmarks: names, fixed and moving (N, 3) LPS mm; how: 'label' or 'order'; unpaired: points left over."""

    names: tuple[str, ...]
    fixed: np.ndarray
    moving: np.ndarray
    how: str
    unpaired: int


def pointPairs(
    fixedPoints: slicer.vtkMRMLMarkupsNode,
    movingPoints: slicer.vtkMRMLMarkupsNode,
    ignoring: slicer.vtkMRMLTransformNode | None = None,
) -> PointPairs:
    """Pair corresponding points: by label where any label is the same, else by order where the counts agree.

    ignoring: a parent of the moving list to leave out, as for `volumes.imageFromVolume`.

    Raises:
        InputError: no pair is found, or a label that both lists have occurs twice in one of them.
    """
    fixed, moving = _points(fixedPoints, None), _points(movingPoints, ignoring)
    shared = _sharedLabels(fixed, moving)
    if shared:
        _checkUnique(fixedPoints, fixed, shared)
        _checkUnique(movingPoints, moving, shared)
        unpaired = len(fixed) + len(moving) - 2 * len(shared)
        return PointPairs(shared, _placesByLabel(fixed, shared), _placesByLabel(moving, shared), "label", unpaired)
    if len(fixed) != len(moving) or not fixed:
        text = _(
            "{fixed} has {fixedCount} points and {moving} has {movingCount}, and no label is in both; give the same "
            "labels to the same places, or as many points in the same order"
        )
        names = {"fixed": fixedPoints.GetName(), "moving": movingPoints.GetName()}
        raise InputError(text.format(**names, fixedCount=len(fixed), movingCount=len(moving)))
    labels = tuple(point.label or str(number) for number, point in enumerate(fixed, 1))
    return PointPairs(labels, _places(fixed), _places(moving), "order", 0)


def hasPoints(node: slicer.vtkMRMLMarkupsNode | None) -> bool:
    """Return whether any point of a list was placed; a list that is not chosen has none."""
    return node is not None and any(_isPlaced(node, n) for n in range(node.GetNumberOfControlPoints()))


class _Point(NamedTuple):
    """Landmark: its label, '' for none, and its position (3,) in the world, LPS mm."""

    label: str
    place: np.ndarray


def _sharedLabels(fixed: list[_Point], moving: list[_Point]) -> tuple[str, ...]:
    """List the labels that both lists have, in the order of the fixed one."""
    known = {point.label for point in moving}
    return tuple(label for label in dict.fromkeys(point.label for point in fixed) if label and label in known)


def _checkUnique(node: slicer.vtkMRMLMarkupsNode, points: list[_Point], labels: tuple[str, ...]) -> None:
    """Raise InputError where one of the labels occurs twice."""
    counts = Counter(point.label for point in points)
    repeated = [label for label, count in counts.items() if count > 1 and label in labels]
    if repeated:
        text = _("{name}: the label '{label}' occurs twice; give every point its own label")
        raise InputError(text.format(name=node.GetName(), label=repeated[0]))


def _placesByLabel(points: list[_Point], labels: tuple[str, ...]) -> np.ndarray:
    """Return positions (N, 3) LPS mm, in the order of the labels."""
    places = {point.label: point.place for point in points}
    return np.array([places[label] for label in labels])


def _places(points: list[_Point]) -> np.ndarray:
    """Return positions (N, 3) LPS mm."""
    return np.array([point.place for point in points])


def _points(node: slicer.vtkMRMLMarkupsNode, ignoring: slicer.vtkMRMLTransformNode | None) -> list[_Point]:
    """List every point that was placed."""
    numbers = [n for n in range(node.GetNumberOfControlPoints()) if _isPlaced(node, n)]
    if not numbers:
        return []
    local = np.array([node.GetNthControlPointPosition(n) for n in numbers])
    world = RAS_LPS * movedPoints(transformToWorld(node, ignoring), local)
    return [_Point(node.GetNthControlPointLabel(n).strip(), place) for n, place in zip(numbers, world, strict=True)]


def _isPlaced(node: slicer.vtkMRMLMarkupsNode, number: int) -> bool:
    return node.GetNthControlPointPositionStatus(number) == node.PositionDefined
