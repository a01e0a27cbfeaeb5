"""Choose the transform to measure and the nodes to measure it by, and check that choice (`MeasureSelection`)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..scene.nodes import isSame, isUnder
from ..scene.placement import registeredVolumes


@dataclass(frozen=True)
class MeasureSelection:
    """Transform and the nodes to measure it by; all others may be missing. Moving nodes may already lie under the
    transform."""

    transform: slicer.vtkMRMLTransformNode
    fixedVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    movingVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    fixedSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    movingSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    fixedPoints: slicer.vtkMRMLMarkupsFiducialNode | None = None
    movingPoints: slicer.vtkMRMLMarkupsFiducialNode | None = None
    inverse: slicer.vtkMRMLTransformNode | None = None

    @property
    def nodes(self) -> dict[str, slicer.vtkMRMLNode]:
        """Return the chosen nodes by field."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def completed(self) -> MeasureSelection:
        """Return a copy with the volumes that the transform itself says it registers, where none were chosen."""
        found = dict(zip(("fixedVolume", "movingVolume"), registeredVolumes(self.transform), strict=True))
        return replace(self, **{name: node for name, node in found.items() if getattr(self, name) is None})

    def check(self) -> None:
        """Raise InputError where there is nothing to measure, or where the nodes cannot be measured as they lie."""
        self.checkChoice()
        for node in (self.fixedVolume, self.fixedSegmentation, self.fixedPoints):
            if node is not None and isUnder(node, self.transform):
                text = _("{name} lies under {transform}, as only things of the moving scan should; take it out.")
                raise InputError(text.format(name=node.GetName(), transform=self.transform.GetName()))

    def checkChoice(self) -> None:
        """Raise InputError where a node is missing or chosen twice, wherever the nodes lie."""
        if self.transform is None:
            raise InputError(_("Choose a transform."))
        both = ((self.fixedSegmentation, self.movingSegmentation), (self.fixedPoints, self.movingPoints))
        for (fixed, moving), what in zip(both, (_("segmentation"), _("point list")), strict=True):
            if (fixed is None) != (moving is None):
                side = _("fixed") if fixed is None else _("moving")
                raise InputError(_("Choose the {side} {what} too, or neither of them.").format(side=side, what=what))
            if fixed is not None and isSame(fixed, moving):
                text = _("{name} is chosen for both sides; choose the one of the other scan.")
                raise InputError(text.format(name=fixed.GetName()))
        if self.fixedVolume is None and not any(fixed for fixed, _moving in both):
            raise InputError(_("Choose a fixed volume, two segmentations or two point lists to measure by."))
        if self.inverse is not None and isSame(self.inverse, self.transform):
            raise InputError(_("{name} cannot be its own inverse.").format(name=self.transform.GetName()))
