"""Fill output nodes: maps as volumes with a grey scale; and place them in the subject hierarchy."""

from __future__ import annotations

from collections.abc import Iterable

import slicer

from pddnet.core.image import Image

from .volumes import updateVolumeFromImage


def fillMap(volume: slicer.vtkMRMLScalarVolumeNode, image: Image, window: float, level: float) -> None:
    """Store a map of numbers (LPS mm) in a volume node, with a window and level that fit it."""
    updateVolumeFromImage(volume, image)
    display = volume.GetDisplayNode()
    if display is not None:
        display.AutoWindowLevelOff()
        display.SetWindowLevel(window, level)


def placeBeside(nodes: Iterable[slicer.vtkMRMLNode], moving: slicer.vtkMRMLNode) -> None:
    """Put nodes into the folder, study or patient of the moving volume; nodes that the user has filed stay."""
    scene = moving.GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    item = hierarchy.GetItemByDataNode(moving)
    folder = hierarchy.GetItemParent(item) if item else 0
    if not folder or folder == hierarchy.GetSceneItemID():
        return
    for node in nodes:
        own = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node)
        if hierarchy.GetItemParent(own) == hierarchy.GetSceneItemID():
            hierarchy.SetItemParent(own, folder)
