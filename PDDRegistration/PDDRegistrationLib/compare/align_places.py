"""List the places where a scan can be aligned, and the points near them (`AlignPlaces`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from .local_rigid import ballPoints
from .segment_points import segmentPoints

CROSSHAIR = "crosshair"
SEGMENT, STRUCTURE = "segment:", "structure:"  # before the segment's ID or the structure's name


class AlignPlaces:
    """The crosshair, the segments of the fixed segmentation, and the structures that the network named."""

    def __init__(
        self,
        crosshair: Callable[[], np.ndarray | None],
        segmentation: slicer.vtkMRMLSegmentationNode | None,
        referenceVolume: slicer.vtkMRMLScalarVolumeNode | None,
        structures: Mapping[str, np.ndarray],
    ) -> None:
        """Take what there is; crosshair: returns its place; structures: centre (3,) by name; RAS mm of fixed space."""
        self._crosshair, self._segmentation, self._volume = crosshair, segmentation, referenceVolume
        self._structures = structures

    def names(self) -> dict[str, str]:
        """Return the places that can be chosen at present: key and text."""
        names = {CROSSHAIR: _("at the crosshair")}
        if self._segmentation is not None:
            segmentation = self._segmentation.GetSegmentation()
            ids = (segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments()))
            names |= {SEGMENT + segmentID: segmentation.GetSegment(segmentID).GetName() for segmentID in ids}
        text = _("{name}, as the network names it")
        return names | {STRUCTURE + name: text.format(name=name) for name in self._structures}

    def points(self, key: str, radius_mm: float) -> np.ndarray:
        """List points (N, 3) of fixed space near a place, RAS mm: of a segment only its own voxels.

        Raises:
            InputError: there is no such place.
        """
        if key.startswith(SEGMENT):
            return segmentPoints(self._segmentation, key.removeprefix(SEGMENT), radius_mm, self._volume)
        if key.startswith(STRUCTURE):
            return ballPoints(self._structures[key.removeprefix(STRUCTURE)], radius_mm)
        place = self._crosshair()
        if place is None:
            text = _("The crosshair has no place yet; hold Shift, move the mouse to one in a slice view, and try again")
            raise InputError(text)
        return ballPoints(place, radius_mm)
