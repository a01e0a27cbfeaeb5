"""Choose the inputs, settings and output nodes of one registration, and check that choice (`Selection`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.core.intensity import AUTO, check_intensity
from pddnet.core.linear import DEFORMABLE, check_transform_type
from pddnet.core.preset_overrides import adjusted
from pddnet.core.presets import find_preset
from pddnet.errors import InputError

from ..scene.nodes import isUnder, nodesOfClass
from ..scene.placement import registrationParent
from ..scene.points import hasPoints
from .outputs import GRID_TRANSFORM, LINEAR_TRANSFORM, OUTPUT_FIELDS, OUTPUTS, OutputNodes, nodeClassOf
from .slices import areSlices, refuseForSlices


class OutputTaken(InputError):
    """Error of an output transform that is in use for something else; another one, such as a new one, would do."""


@dataclass(frozen=True)
class Selection(OutputNodes):
    """Choice for one registration. Without an output volume (segmentation) the moving one is put under the transform.

    fixedMask, movingMask: the valid region of each scan; of a segmentation the segment with the ID ...MaskSegment, or
    all. initialTransform, or the pairs of fixedPoints and movingPoints: the initial alignment, instead of a search; an
    empty list of points counts as none.
    transformType: deformable, rigid, similarity or affine. intensity: what the values of the scans are, see
    `pddnet.core.intensity.to_hu`. diffeomorphic: whether the deformation is to be the
    exponential of a velocity field. guide: whether the segmentations guide the registration.
    adjust: see `pddnet.core.preset_overrides.adjusted`.
    """

    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    movingVolume: slicer.vtkMRMLScalarVolumeNode
    fixedSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    movingSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    preset: str = "default"
    device: str = "auto"
    transformType: str = DEFORMABLE
    intensity: str = AUTO
    diffeomorphic: bool = False
    fixedMask: slicer.vtkMRMLNode | None = None
    movingMask: slicer.vtkMRMLNode | None = None
    fixedMaskSegment: str = ""
    movingMaskSegment: str = ""
    initialTransform: slicer.vtkMRMLTransformNode | None = None
    fixedPoints: slicer.vtkMRMLMarkupsFiducialNode | None = None
    movingPoints: slicer.vtkMRMLMarkupsFiducialNode | None = None
    guide: bool = False
    adjust: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nodes(self) -> dict[str, slicer.vtkMRMLNode]:
        """Return the chosen nodes by field."""
        values = {name: getattr(self, name) for name in NODES}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def startsFromPoints(self) -> bool:
        """Return whether both lists of points hold any."""
        return hasPoints(self.fixedPoints) and hasPoints(self.movingPoints)

    @property
    def outputs(self) -> dict[str, slicer.vtkMRMLNode]:
        """Return the chosen nodes that are written to, by field."""
        return {name: node for name, node in self.nodes.items() if name in OUTPUT_FIELDS}

    @property
    def inputs(self) -> dict[str, slicer.vtkMRMLNode]:
        """Return the chosen nodes that are only read, by field."""
        return {name: node for name, node in self.nodes.items() if name not in OUTPUT_FIELDS}

    def ignored(self, node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLTransformNode | None:
        """Return the parent transform to leave out when reading a moving node: the initial transform, or an earlier
        registration result.

        The initial transform would otherwise be applied twice.
        """
        start = self.initialTransform
        if start is not None and isUnder(node, start):
            return start
        return registrationParent(node, self.movingVolume)

    def check(self) -> None:
        """Raise InputError where the choice cannot be carried out; OutputTaken because of the output transform."""
        if self.fixedVolume is None or self.movingVolume is None:
            raise InputError(_("Choose a fixed and a moving volume."))
        adjusted(find_preset(self.preset), **self.adjust)
        check_transform_type(self.transformType)
        check_intensity(self.intensity)
        if areSlices(self.fixedVolume, self.movingVolume):
            self._checkForSlices()
        self._checkOutputs()
        self._checkStart()
        if self.guide and (self.fixedSegmentation is None or self.movingSegmentation is None):
            raise InputError(_("Choose a fixed and a moving segmentation to guide with, or do not guide."))
        self._checkClasses()
        self.checkParents()

    def checkParents(self) -> None:
        """Raise InputError where a node lies under an output that would move it; OutputTaken because of the transform.

        That alone can change during a run; all else was read at its start.
        """
        self._checkInverse()
        self._checkTransform()

    def _checkForSlices(self) -> None:
        """Check that nothing is chosen that is for volumes only."""
        others = {
            _("Diffeomorphic"): self.diffeomorphic,
            _("Masks"): self.fixedMask is not None or self.movingMask is not None,
            _("Guide with the segmentations"): self.guide,
            _("Expected error"): self.outputError is not None,
        }
        refuseForSlices(self.transformType, self.intensity, self.adjust, others)

    def _checkOutputs(self) -> None:
        inputs = list(self.inputs.values())
        written: list[slicer.vtkMRMLNode] = []
        for name, node in self.outputs.items():
            if node in inputs:
                text = _("{name} is an input; choose another output.").format(name=node.GetName())
                raise (OutputTaken if name == "outputTransform" else InputError)(text)
            if node in written:
                raise InputError(_("{name} is chosen for two outputs; choose another one.").format(name=node.GetName()))
            written.append(node)
        if self.outputSegmentation is not None and self.movingSegmentation is None:
            text = _("Choose the moving segmentation that goes into {name}, or no output segmentation.")
            raise InputError(text.format(name=self.outputSegmentation.GetName()))
        if self.outputError is not None and not find_preset(self.preset).hu:
            text = _("The expected error is known of CT only: choose another preset, or nothing instead of {name}.")
            raise InputError(text.format(name=self.outputError.GetName()))

    def _checkStart(self) -> None:
        fixed, moving = self.fixedPoints, self.movingPoints
        missing = [side for side, node in (("fixed", fixed), ("moving", moving)) if not hasPoints(node)]
        if len(missing) == 2:  # lists that are empty yet do not count
            return
        if missing:
            side = {"fixed": _("fixed"), "moving": _("moving")}[missing[0]]
            raise InputError(_("Place or choose the {side} points too, or choose neither list.").format(side=side))
        if fixed is moving and fixed is not None:
            text = _("{name} is chosen for both scans; choose the points of the other one.")
            raise InputError(text.format(name=fixed.GetName()))
        if self.initialTransform is not None:
            raise InputError(_("Start from points or from a transform, not from both; clear one of them."))

    def _checkClasses(self) -> None:
        """Check that the nodes for transforms can hold those of the chosen type."""
        texts = {
            GRID_TRANSFORM: _("{name} is no grid transform; choose another output."),
            LINEAR_TRANSFORM: _("{name} is no linear transform; choose another output."),
        }
        for output in OUTPUTS:
            node, kind = getattr(self, output.field), nodeClassOf(output, self.transformType)
            if kind in texts and node is not None and not node.IsA(kind):
                error = OutputTaken if output.field == "outputTransform" else InputError
                raise error(texts[kind].format(name=node.GetName()))

    def _checkInverse(self) -> None:
        """Check that no input lies under the output of the inverse, whose content is replaced."""
        inverse = self.outputInverse
        if inverse is None:
            return
        for node in self.inputs.values():
            if isUnder(node, inverse):
                text = _("{node} lies under {transform}, which the inverse would replace; choose another output.")
                raise InputError(text.format(node=node.GetName(), transform=inverse.GetName()))

    def _checkTransform(self) -> None:
        """Check that the output moves neither the fixed scan nor what another result placed, nor replaces the moving
        one's parent."""
        transform = self.outputTransform
        if transform is None:
            return
        registered = transform.GetNodeReference(transform.GetMovingNodeReferenceRole())
        ofOtherScan = registered not in (None, self.movingVolume)
        fixedNodes = (self.fixedVolume, self.fixedSegmentation, self.fixedPoints)
        movingNodes = (self.movingVolume, self.movingSegmentation, self.movingPoints)
        for node in nodesOfClass(transform.GetScene(), "vtkMRMLTransformableNode"):
            if not isUnder(node, transform):
                continue
            placedByIt = registrationParent(node, self.movingVolume) is transform
            if node in fixedNodes or ofOtherScan or (node in movingNodes and not placedByIt):
                text = _("{node} lies under {transform}, which the result would replace; choose another output.")
                raise OutputTaken(text.format(node=node.GetName(), transform=transform.GetName()))


_SETTINGS = (
    *("preset", "device", "transformType", "intensity", "diffeomorphic"),
    *("fixedMaskSegment", "movingMaskSegment", "guide", "adjust"),
)
NODES = tuple(entry.name for entry in fields(Selection) if entry.name not in _SETTINGS)
"""The fields that hold nodes."""
