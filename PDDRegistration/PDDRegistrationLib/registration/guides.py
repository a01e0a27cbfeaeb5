"""Find segmentations of both scans in the scene, whichever module made them, that can guide (`findGuides`)."""

from __future__ import annotations

from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..scene.nodes import isSame
from ..scene.provenance import isOutput
from ..scene.segment_matching import matchSegments
from ..scene.segmentations import segmentsOf
from .defaults import segmentationsOf


@dataclass(frozen=True)
class Guides:
    """Segmentation of each scan, and how many segments of the two are the same structure."""

    fixed: slicer.vtkMRMLSegmentationNode
    moving: slicer.vtkMRMLSegmentationNode
    count: int


def findGuides(
    fixedVolume: slicer.vtkMRMLScalarVolumeNode | None, movingVolume: slicer.vtkMRMLScalarVolumeNode | None
) -> Guides:
    """Return the segmentations of the two volumes that have most segments in common, by name or terminology.

    A segmentation belongs to the volume that it refers to, as TotalSegmentator and other segmentors store it, or whose
    name begins its own. Results of this module are left out: a warped segmentation would guide to itself.

    Raises:
        InputError: there are no such segmentations, or they have nothing in common.
    """
    if fixedVolume is None or movingVolume is None or isSame(fixedVolume, movingVolume):
        raise InputError(_("Choose a fixed and a moving volume first."))
    found = [
        Guides(fixed, moving, matchedCount(fixed, moving))
        for fixed in _candidates(fixedVolume)
        for moving in _candidates(movingVolume)
    ]
    best = max(found, key=lambda guides: guides.count)
    if best.count == 0:
        text = _("No segment of {fixed} has the name or terminology of one of {moving}; give them the same names.")
        raise InputError(text.format(fixed=best.fixed.GetName(), moving=best.moving.GetName()))
    return best


def matchedCount(fixed: slicer.vtkMRMLSegmentationNode, moving: slicer.vtkMRMLSegmentationNode) -> int:
    """Count the segments that both have, by name or terminology."""
    return len(matchSegments(segmentsOf(fixed), segmentsOf(moving)).pairs)


def _candidates(volume: slicer.vtkMRMLScalarVolumeNode) -> list[slicer.vtkMRMLSegmentationNode]:
    own = [node for node in segmentationsOf(volume) if not isOutput(node)]
    if not own:
        text = _("There is no segmentation of {volume}; make one, such as with TotalSegmentator, or choose one above.")
        raise InputError(text.format(volume=volume.GetName()))
    return own
