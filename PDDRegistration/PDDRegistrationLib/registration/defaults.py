"""Choose inputs where it is plain which: at the start (`chooseDefaults`), or to go with a moving volume
(`chooseMoving`).
"""

from __future__ import annotations

import slicer

from ..scene.nodes import isSame
from .outputs import OUTPUT_FIELDS
from .parameters import RegistrationParameters

OF_ONE_SCAN = ("Segmentation", "Mask", "Points")
"""What is chosen beside a volume: fields of the parameter node, preceded by fixed or moving."""


def chooseDefaults(parameters: RegistrationParameters, scene: slicer.vtkMRMLScene) -> None:
    """Choose both volumes and their segmentations where the scene has exactly two volumes and nothing is chosen yet.

    The fixed volume is the one named so, else the first. A segmentation belongs to the volume that it was drawn on, or
    whose name begins its own name; where two qualify, none is chosen.
    """
    chosen = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation", *OUTPUT_FIELDS)
    if scene.IsImporting() or any(getattr(parameters, name) is not None for name in chosen):
        return
    volumes = shown(scene, "vtkMRMLScalarVolumeNode")
    if len(volumes) != 2:
        return
    fixed, moving = reversed(volumes) if _isSecondFixed(*volumes) else volumes
    parameters.fixedVolume, parameters.movingVolume = fixed, moving
    _chooseSegmentations(parameters)


def chooseMoving(
    parameters: RegistrationParameters, moving: slicer.vtkMRMLScalarVolumeNode, scene: slicer.vtkMRMLScene
) -> None:
    """Choose another moving volume, and forget what belonged to the former pair: outputs, start, masks, points.

    The fixed volume stays, unless it is the new moving one; where there is none, the only other volume is chosen.
    """
    fixed = None if isSame(parameters.fixedVolume, moving) else parameters.fixedVolume
    if fixed is None:
        others = [node for node in shown(scene, "vtkMRMLScalarVolumeNode") if not isSame(node, moving)]
        fixed = others[0] if len(others) == 1 else None
    choosePair(parameters, fixed, moving)


def choosePair(
    parameters: RegistrationParameters,
    fixed: slicer.vtkMRMLScalarVolumeNode | None,
    moving: slicer.vtkMRMLScalarVolumeNode,
) -> None:
    """Choose two volumes, and forget what belonged to the former pair."""
    changed = [
        side
        for side, volume in (("fixed", fixed), ("moving", moving))
        if not isSame(getattr(parameters, f"{side}Volume"), volume)
    ]
    if not changed:
        return
    forgotten = [f"{side}{what}" for side in changed for what in OF_ONE_SCAN]
    for name in (*forgotten, "initialTransform", *OUTPUT_FIELDS):
        setattr(parameters, name, None)
    parameters.guide = False
    parameters.fixedVolume, parameters.movingVolume = fixed, moving
    _chooseSegmentations(parameters)


def _chooseSegmentations(parameters: RegistrationParameters) -> None:
    """Choose for each volume without a segmentation the only one that belongs to it."""
    for side in ("fixed", "moving"):
        volume, name = getattr(parameters, f"{side}Volume"), f"{side}Segmentation"
        own = segmentationsOf(volume) if volume is not None else []
        if len(own) == 1 and getattr(parameters, name) is None:
            setattr(parameters, name, own[0])


def segmentationsOf(volume: slicer.vtkMRMLScalarVolumeNode) -> list[slicer.vtkMRMLSegmentationNode]:
    """List the segmentations that were drawn on the volume, or whose names begin with its name."""
    scene = volume.GetScene()
    volumes = shown(scene, "vtkMRMLScalarVolumeNode")
    segmentations = shown(scene, "vtkMRMLSegmentationNode")
    return [node for node in segmentations if isSame(_volumeOf(node, volumes), volume)]


def shown(scene: slicer.vtkMRMLScene, className: str) -> list[slicer.vtkMRMLNode]:
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
