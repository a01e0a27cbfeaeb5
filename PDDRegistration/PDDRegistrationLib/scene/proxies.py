"""Stand-ins: hidden nodes that show a volume or a segmentation elsewhere, so that the node itself need not be moved."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .geometry import isSame, linearMatrix, linearTransform, parentChain, transformToWorld
from .scene_changes import Borrowed


def isUnder(node: slicer.vtkMRMLTransformableNode, transform: slicer.vtkMRMLTransformNode) -> bool:
    """Whether the transform is among the node's parents."""
    return any(isSame(parent, transform) for parent in parentChain(node))


def standIn(
    borrowed: Borrowed,
    node: slicer.vtkMRMLTransformableNode,
    transform: slicer.vtkMRMLTransformNode,
    registered: bool,
) -> slicer.vtkMRMLTransformableNode:
    """What shows a scalar volume or a segmentation with the transform (`registered`) or without it.

    That is the node itself where it lies so, else a hidden node: it shares the voxels of a volume, and has a copy of a
    segmentation's; its other parents apply.
    """
    if isUnder(node, transform) == registered:
        return node
    copy = _hiddenCopy(borrowed, node)
    toWorld = transformToWorld(node, transform)
    parent = transform if registered else None
    if not (toWorld.IsA("vtkLinearTransform") and np.array_equal(linearMatrix(toWorld), np.eye(4))):
        name = _("{name} to world").format(name=node.GetName())
        between = borrowed.add(node.GetScene(), "vtkMRMLTransformNode", name)
        between.SetAndObserveTransformToParent(ownCopy(toWorld))
        between.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
        parent = between
    copy.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    return copy


def showLike(borrowed: Borrowed, copy: slicer.vtkMRMLDisplayableNode, node: slicer.vtkMRMLDisplayableNode) -> None:
    """Give a stand-in the look of its node: colours, window and level."""
    display, model = borrowed.addDisplay(copy), node.GetDisplayNode()
    if model is None:
        return
    display.CopyContent(model)
    if model.IsA("vtkMRMLScalarVolumeDisplayNode"):
        display.AutoWindowLevelOff()
        display.SetWindowLevel(model.GetWindow(), model.GetLevel())


def ownCopy(transform: vtk.vtkAbstractTransform) -> vtk.vtkAbstractTransform:
    """The same transform, independent of the nodes that it was put together from; a vtkTransform if it is linear."""
    if transform.IsA("vtkLinearTransform"):
        return linearTransform(linearMatrix(transform))
    copy = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.DeepCopyTransform(copy, transform)
    return copy


def _hiddenCopy(borrowed: Borrowed, node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLDisplayableNode:
    copy = borrowed.add(node.GetScene(), node.GetClassName(), node.GetName())
    if node.IsA("vtkMRMLSegmentationNode"):
        # voxels of its own: where segments share a label map, a removed segmentation wipes them out of it
        segmentation = slicer.vtkSegmentation()
        segmentation.DeepCopy(node.GetSegmentation())
        copy.SetAndObserveSegmentation(segmentation)
    else:
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        copy.SetIJKToRASMatrix(matrix)
        copy.SetAndObserveImageData(node.GetImageData())
    showLike(borrowed, copy, node)
    return copy
