"""Query nodes of a scene: whether two are the same, those of a class, and the transforms that a node lies under."""

from __future__ import annotations

from collections.abc import Iterator

import slicer


def isSame(a: slicer.vtkMRMLNode | None, b: slicer.vtkMRMLNode | None) -> bool:
    """Return whether both are the same node of the same scene, or both None.

    A node that was removed is none of those that got its ID later.
    """
    if a is b or a is None or b is None:
        return a is b
    return a.GetScene() is not None and a.GetScene() is b.GetScene() and a.GetID() == b.GetID()


def nodesOfClass(scene: slicer.vtkMRMLScene, className: str = "vtkMRMLNode") -> list[slicer.vtkMRMLNode]:
    """List the nodes of a class and of those derived from it, in the order of the scene."""
    count = scene.GetNumberOfNodesByClass(className)
    return [scene.GetNthNodeByClass(number, className) for number in range(count)]


def parentChain(node: slicer.vtkMRMLTransformableNode) -> Iterator[slicer.vtkMRMLTransformNode]:
    """Iterate over the transforms that the node lies under, from its own parent upwards."""
    parent = node.GetParentTransformNode()
    while parent is not None:
        yield parent
        parent = parent.GetParentTransformNode()


def isUnder(node: slicer.vtkMRMLNode, transform: slicer.vtkMRMLTransformNode) -> bool:
    """Return whether the transform is among the node's parents; False where the node cannot have any."""
    if not node.IsA("vtkMRMLTransformableNode"):
        return False
    return any(isSame(parent, transform) for parent in parentChain(node))
