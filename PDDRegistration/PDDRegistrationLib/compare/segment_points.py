"""List where a segment is, near its middle (`segmentPoints`)."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.core.image import Image
from pddnet.errors import InputError

from ..scene.geometry import RAS_LPS
from ..scene.segmentations import labelsFromSegmentation
from .local_rigid import ballPoints, spanPlane

SAMPLING_MM = 2.0  # between voxels that count; of finer ones some are skipped


def segmentPoints(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segmentID: str,
    radius_mm: float,
    referenceVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> np.ndarray:
    """List the segment's voxels (N, 3) within a radius of its middle, RAS mm of the world.

    The middle is the voxel that is nearest to the centroid, which may lie outside of a hollow organ. Where the voxels
    lie on a line, as of a single one, a ball about the middle takes their place.

    Raises:
        InputError: the segment is not there or empty.
    """
    labels = labelsFromSegmentation(segmentation, referenceVolume)
    segment = next((segment for segment in labels.segments if segment.id == segmentID), None)
    if segment is None:
        text = _("{name} does not have that segment any more; choose another place")
        raise InputError(text.format(name=segmentation.GetName()))
    voxels = _voxels(labels.images[segment.layer], segment.value) if segment.layer is not None else np.empty((0, 3))
    if not len(voxels):
        raise InputError(_("The segment {name} is empty; choose another place").format(name=segment.name))
    middle = voxels[np.argmin(np.linalg.norm(voxels - voxels.mean(axis=0), axis=-1))]
    near = voxels[np.linalg.norm(voxels - middle, axis=-1) <= radius_mm]
    return near if spanPlane(near) else ballPoints(middle, radius_mm)


def _voxels(image: Image, value: int) -> np.ndarray:
    """List the centres (N, 3) of the voxels with a value, RAS mm; at most every `SAMPLING_MM` where there are any."""
    step = np.maximum(np.floor(SAMPLING_MM / image.grid.spacing), 1).astype(int)  # voxels along i, j, k
    found = np.argwhere(image.array[:: step[2], :: step[1], :: step[0]] == value) * step[::-1]
    if not len(found):
        found = np.argwhere(image.array == value)
    return RAS_LPS * image.grid.index_to_point(found[:, ::-1].astype(float))
