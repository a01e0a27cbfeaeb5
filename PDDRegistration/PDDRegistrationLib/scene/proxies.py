"""Make proxies: hidden nodes that show a volume or a segmentation elsewhere, so that the node itself does not move."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .geometry import ijkToRasOf, independentCopy, linearMatrix, matrixFromArray, transformToWorld
from .nodes import isUnder
from .placement import resultOver
from .scene_changes import SceneChanges
from .volumes import copyDisplay


def proxyFor(
    changes: SceneChanges,
    node: slicer.vtkMRMLTransformableNode,
    transform: slicer.vtkMRMLTransformNode,
    registered: bool,
    movingVolume: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkMRMLTransformableNode:
    """Return a node that shows a scalar volume or a segmentation with the transform (`registered`) or without it.

    It is the node itself where that `isShownSo` already, else a hidden proxy, which shares the voxels of a volume
    but copies those of a segmentation. The node's other parents apply, but no other result for the moving volume.
    """
    if isShownSo(node, transform, registered, movingVolume):
        return node
    name = (_("{name}, registered") if registered else _("{name}, before")).format(name=node.GetName())
    return proxyUnder(changes, node, resultOver(node, transform, movingVolume), transform if registered else None, name)


def isShownSo(
    node: slicer.vtkMRMLTransformableNode,
    transform: slicer.vtkMRMLTransformNode,
    registered: bool,
    movingVolume: slicer.vtkMRMLScalarVolumeNode,
) -> bool:
    """Return whether a moving node itself lies under the transform (`registered`), or else under no result."""
    if registered:
        return isUnder(node, transform)
    return resultOver(node, transform, movingVolume) is None


def proxyUnder(
    changes: SceneChanges,
    node: slicer.vtkMRMLTransformableNode,
    result: slicer.vtkMRMLTransformNode | None,
    parent: slicer.vtkMRMLTransformNode | None,
    name: str,
) -> slicer.vtkMRMLTransformableNode:
    """Add a hidden proxy, called `name`, that shows the node as it stands without a result, under `parent`.

    result: a transform in the node's chain of parents, see `placement.resultOver`; None: all of its parents apply.
    """
    copy = _hiddenCopy(changes, node)
    copy.SetName(name)
    toWorld = transformToWorld(node, result)
    if not (toWorld.IsA("vtkLinearTransform") and np.array_equal(linearMatrix(toWorld), np.eye(4))):
        name = _("{name} to world").format(name=node.GetName())
        between = changes.add(node.GetScene(), "vtkMRMLTransformNode", name)
        between.SetAndObserveTransformToParent(independentCopy(toWorld))
        between.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
        parent = between
    copy.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    return copy


def showLike(changes: SceneChanges, proxy: slicer.vtkMRMLDisplayableNode, node: slicer.vtkMRMLDisplayableNode) -> None:
    """Copy the node's appearance to its proxy: colours, window and level."""
    display, model = changes.addDisplay(proxy), node.GetDisplayNode()
    if model is not None:
        copyDisplay(display, model)


def hiddenVolume(
    changes: SceneChanges, volume: slicer.vtkMRMLScalarVolumeNode, voxels: vtk.vtkImageData, className: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a hidden volume of a class with these voxels; it has the geometry and look of `volume`, and no parents."""
    copy = changes.add(volume.GetScene(), className, volume.GetName())
    copy.SetIJKToRASMatrix(matrixFromArray(ijkToRasOf(volume)))
    copy.SetAndObserveImageData(voxels)
    showLike(changes, copy, volume)
    return copy


def _hiddenCopy(changes: SceneChanges, node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLDisplayableNode:
    if not node.IsA("vtkMRMLSegmentationNode"):
        return hiddenVolume(changes, node, node.GetImageData(), node.GetClassName())
    # voxels of its own: where segments share a label map, a removed segmentation wipes them out of it
    segmentation = slicer.vtkSegmentation()
    segmentation.DeepCopy(node.GetSegmentation())
    copy = changes.add(node.GetScene(), node.GetClassName(), node.GetName())
    copy.SetAndObserveSegmentation(segmentation)
    showLike(changes, copy, node)
    return copy
