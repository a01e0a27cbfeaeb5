"""Find the segmented volumes of a scene, and write them as a folder of atlases (`sceneAtlases`, `writeAtlases`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.io.segment_headers import Segment as FileSegment
from pddnet.io.segment_headers import segmentation

from ..scene.nodes import isSame
from ..scene.placement import registrationParent
from ..scene.provenance import isOutput
from ..scene.scan_files import ScanFiles
from ..scene.segmentations import Segment, labelsFromSegmentation
from ..scene.volumes import imageFromVolume
from .batch_rows import ENDING, fileNames
from .defaults import segmentationsOf, shown

LABELS_ENDING = ".seg.nrrd"
TERMINOLOGY = slicer.vtkSegment.GetTerminologyEntryTagName()


@dataclass(frozen=True, eq=False)
class SceneAtlas:
    """Volume of the scene and its segmentation."""

    volume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode


def sceneAtlases(
    fixedVolume: slicer.vtkMRMLScalarVolumeNode | None, scene: slicer.vtkMRMLScene
) -> tuple[SceneAtlas, ...]:
    """List the volumes but the fixed one that have a segmentation, which is no result of this module.

    A segmentation belongs to a volume as `defaults.segmentationsOf` says; of several, the one with most segments.
    """
    volumes = [node for node in shown(scene, "vtkMRMLScalarVolumeNode") if not isOutput(node)]
    found = [(volume, _segmentationOf(volume)) for volume in volumes if not isSame(volume, fixedVolume)]
    return tuple(SceneAtlas(volume, segmentation) for volume, segmentation in found if segmentation is not None)


def writeAtlases(atlases: Sequence[SceneAtlas], files: ScanFiles, folder: str) -> Path:
    """Write atlases into a folder of `files`, as `pddnet.io.atlas_folder` finds them, and return its path.

    Raises:
        InputError: a node is no longer in the scene or cannot be read, or the files cannot be written.
    """
    path = files.path(folder)
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        text = _("{folder}: it could not be written; free space on the disk of the temporary files")
        raise InputError(text.format(folder=path.parent)) from error
    names = fileNames([atlas.volume for atlas in atlases])
    for name, atlas in zip(names, atlases, strict=True):
        scan = files.volume(atlas.volume, f"{folder}/{name}")
        image = imageFromVolume(atlas.volume, registrationParent(atlas.volume))
        files.write(_labelMap(atlas, image.grid), scan.with_name(name.removesuffix(ENDING) + LABELS_ENDING))
    return path


def _segmentationOf(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode | None:
    own = [node for node in segmentationsOf(volume) if not isOutput(node)]
    filled = [node for node in own if _count(node)]
    return max(filled, key=_count, default=None)


def _count(node: slicer.vtkMRMLSegmentationNode) -> int:
    return int(node.GetSegmentation().GetNumberOfSegments())


def _labelMap(atlas: SceneAtlas, grid: Grid) -> sitk.Image:
    """Return the segments in one map on the volume's grid, numbered from 1; where they overlap, the last one counts."""
    node, volume = atlas.segmentation, atlas.volume
    if node.GetScene() is None:
        raise InputError(_("{name} is no longer in the scene; load it again.").format(name=node.GetName()))
    labels = labelsFromSegmentation(node, volume, registrationParent(node, volume))
    layers = [image.resample(grid, labels=True).array for image in labels.images]
    flat = np.zeros(grid.shape, np.uint16)
    for number, segment in enumerate(labels.segments, 1):
        if segment.layer is not None:
            flat[layers[segment.layer] == segment.value] = number
    look = {number: _look(node, segment, number) for number, segment in enumerate(labels.segments, 1)}
    return segmentation(Image(flat, grid), look)


def _look(node: slicer.vtkMRMLSegmentationNode, segment: Segment, number: int) -> FileSegment:
    colour = tuple(node.GetSegmentation().GetSegment(segment.id).GetColor())
    tags = f"{TERMINOLOGY}:{segment.terminology}|" if segment.terminology else ""
    return FileSegment(segment.name, 0, number, colour, tags)
