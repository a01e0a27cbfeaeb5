"""Run a transaction on the scene: results appear completely, or not at all (`unchangedOnError`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import slicer

from .nodes import nodesOfClass


@contextmanager
def unchangedOnError(scene: slicer.vtkMRMLScene, outputs: Iterable[slicer.vtkMRMLNode]) -> Iterator[None]:
    """Undo what the body did to the scene if it raises, and pass the exception on.

    The nodes that the body added are removed. The parent transforms of all nodes are restored, and the content of
    `outputs` and their display nodes. Their data is not copied for that, so the body must give them new objects (image
    data, segmentation, transform) and not write into the existing ones.

    One change stays: a segmentation without a display node gets one, because Slicer's slice views still use the
    display node that a segmentation has lost, and crash.
    """
    outputs = list(outputs)
    for output in outputs:
        if output.IsA("vtkMRMLSegmentationNode") and output.GetDisplayNode() is None:
            output.CreateDefaultDisplayNodes()
    nodes = {node.GetID() for node in nodesOfClass(scene)}
    parents = [(node, node.GetTransformNodeID()) for node in nodesOfClass(scene, "vtkMRMLTransformableNode")]
    snapshots = [_Snapshot(node) for output in outputs for node in (output, *_displays(output))]
    try:
        yield
    except BaseException:
        for node, parent in parents:
            if node.GetTransformNodeID() != parent:
                node.SetAndObserveTransformNodeID(parent)
        for snapshot in snapshots:
            snapshot.restore()
        for node in [node for node in nodesOfClass(scene) if node.GetID() not in nodes]:
            scene.RemoveNode(node)
        raise


class _Snapshot:
    """Content, attributes and references of a node at one time; the data in it is shared with the node."""

    def __init__(self, node: slicer.vtkMRMLNode) -> None:
        self._node, self._copy = node, node.CreateNodeInstance()
        self._copy.CopyContent(node, False)
        self._copy.CopyReferences(node)

    def restore(self) -> None:
        node = self._node
        modifying = node.StartModify()
        node.CopyContent(self._copy, False)
        node.CopyReferences(self._copy)
        node.EndModify(modifying)


def _displays(node: slicer.vtkMRMLNode) -> list[slicer.vtkMRMLDisplayNode]:
    if not node.IsA("vtkMRMLDisplayableNode"):
        return []
    displays = (node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes()))
    return [display for display in displays if display is not None]
