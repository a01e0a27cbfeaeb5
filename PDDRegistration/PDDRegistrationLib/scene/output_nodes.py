"""The nodes that a run fills: how they are called, what goes into them, where they stand in the subject hierarchy."""

from __future__ import annotations

from collections.abc import Iterable

import slicer
from slicer.i18n import tr as _

from pddnet.core.image import Image

from .volumes import updateVolumeFromImage

NAMES = {
    "outputTransform": _("{moving} to {fixed}"),
    "outputVolume": _("{moving} on {fixed}"),
    "outputSegmentation": _("{segmentation} on {fixed}"),
    "outputInverse": _("{moving} to {fixed} inverse"),
    "outputJacobian": _("{moving} to {fixed} Jacobian"),
    "outputSpread": _("{moving} to {fixed} spread"),
}
"""Of new nodes, by the field of `Selection`."""

_USUAL = {
    "outputTransform": _("PDD transform"),
    "outputVolume": _("PDD volume"),
    "outputSegmentation": _("PDD segmentation"),
    "outputInverse": _("PDD inverse"),
    "outputJacobian": _("PDD Jacobian"),
    "outputSpread": _("PDD spread"),
}


def outputName(
    output: str,
    fixedVolume: slicer.vtkMRMLNode | None,
    movingVolume: slicer.vtkMRMLNode | None,
    movingSegmentation: slicer.vtkMRMLNode | None = None,
) -> str:
    """What to call a new output, after the inputs where they are chosen."""
    if fixedVolume is None or movingVolume is None:
        return _USUAL[output]
    segmentation = (movingSegmentation or movingVolume).GetName()
    return NAMES[output].format(moving=movingVolume.GetName(), fixed=fixedVolume.GetName(), segmentation=segmentation)


def fillMap(volume: slicer.vtkMRMLScalarVolumeNode, image: Image, window: float, level: float) -> None:
    """Give a volume node a map of numbers (LPS mm) and a grey scale that fits them."""
    updateVolumeFromImage(volume, image)
    display = volume.GetDisplayNode()
    if display is not None:
        display.AutoWindowLevelOff()
        display.SetWindowLevel(window, level)


def placeBeside(nodes: Iterable[slicer.vtkMRMLNode | None], moving: slicer.vtkMRMLNode) -> None:
    """Put nodes into the folder, study or patient of the moving volume; those that the user has filed stay."""
    scene = moving.GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    item = hierarchy.GetItemByDataNode(moving)
    folder = hierarchy.GetItemParent(item) if item else 0
    if not folder or folder == hierarchy.GetSceneItemID():
        return
    for node in nodes:
        if node is None:
            continue
        own = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node)
        if hierarchy.GetItemParent(own) == hierarchy.GetSceneItemID():
            hierarchy.SetItemParent(own, folder)
