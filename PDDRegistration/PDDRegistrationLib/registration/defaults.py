"""Choose default inputs where the scene has exactly one pair of volumes (`chooseDefaults`)."""

from __future__ import annotations

import slicer

from .outputs import OUTPUT_FIELDS
from .parameters import RegistrationParameters


def chooseDefaults(parameters: RegistrationParameters, scene: slicer.vtkMRMLScene) -> None:
    """Choose both volumes and their segmentations where the scene has exactly two volumes and nothing is chosen yet.

    The fixed volume is the one named so, else the first. A segmentation belongs to the volume that it was drawn on, or
    whose name begins its own name; where two qualify, none is chosen.
    """
    chosen = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation", *OUTPUT_FIELDS)
    if scene.IsImporting() or any(getattr(parameters, name) is not None for name in chosen):
        return
    volumes = _shown(scene, "vtkMRMLScalarVolumeNode")
    if len(volumes) != 2:
        return
    fixed, moving = reversed(volumes) if _isSecondFixed(*volumes) else volumes
    parameters.fixedVolume, parameters.movingVolume = fixed, moving
    segmentations = _shown(scene, "vtkMRMLSegmentationNode")
    for name, volume in (("fixedSegmentation", fixed), ("movingSegmentation", moving)):
        own = [node for node in segmentations if _volumeOf(node, volumes) is volume]
        if len(own) == 1:
            setattr(parameters, name, own[0])


def _shown(scene: slicer.vtkMRMLScene, className: str) -> list[slicer.vtkMRMLNode]:
    """List the nodes of exactly this class that are visible to the user."""
    nodes = slicer.util.getNodesByClass(className, scene)
    return [node for node in nodes if node.GetClassName() == className and not node.GetHideFromEditors()]


def _isSecondFixed(first: slicer.vtkMRMLNode, second: slicer.vtkMRMLNode) -> bool:
    """Return whether the second volume is the fixed one, by the words "fixed" and "moving" in their names."""
    names = [node.GetName().lower() for node in (first, second)]
    fixed, moving = (["fixed" in name for name in names], ["moving" in name for name in names])
    return (fixed == [False, True] and not moving[1]) or (moving == [True, False] and not fixed[0])


def _volumeOf(
    segmentation: slicer.vtkMRMLSegmentationNode, volumes: list[slicer.vtkMRMLNode]
) -> slicer.vtkMRMLNode | None:
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    drawn = segmentation.GetNodeReference(role)
    if drawn is not None:
        return drawn
    candidates = [volume for volume in volumes if segmentation.GetName().startswith(volume.GetName())]
    return candidates[0] if len(candidates) == 1 else None
