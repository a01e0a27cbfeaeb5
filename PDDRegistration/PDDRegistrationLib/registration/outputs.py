"""Declare the outputs of a registration, one entry of `OUTPUTS` each: names, fields of the request, how to fill it.

A new output is an entry here, a field of `OutputNodes`, a parameter of `parameters.RegistrationParameters` and a
selector `<field>Selector` in PDDRegistration.ui; a test compares the four.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.core.image import Image
from pddnet.core.linear import DEFORMABLE

from ..scene.output_nodes import fillMap
from ..scene.placement import setRegistrationReferences
from ..scene.segmentations import SegmentLabels, segmentationFromLabels
from ..scene.transforms import gridTransformFromField, linearTransformFromMatrix
from ..scene.volumes import updateVolumeFromImage

if TYPE_CHECKING:
    from .selection import Selection

GRID_TRANSFORM, LINEAR_TRANSFORM = "vtkMRMLGridTransformNode", "vtkMRMLLinearTransformNode"
VOLUME = "vtkMRMLScalarVolumeNode"
SEGMENTATION = "vtkMRMLSegmentationNode"


@dataclass(frozen=True, kw_only=True)
class OutputNodes:
    """Nodes that a run fills, each None where it is not wanted; for the transform None means a new node."""

    outputTransform: slicer.vtkMRMLTransformNode | None = None
    outputVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    outputSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    outputInverse: slicer.vtkMRMLTransformNode | None = None
    outputJacobian: slicer.vtkMRMLScalarVolumeNode | None = None
    outputSpread: slicer.vtkMRMLScalarVolumeNode | None = None
    outputError: slicer.vtkMRMLScalarVolumeNode | None = None


@dataclass(frozen=True, eq=False)
class MovingScan:
    """Moving scan as it was read when the run started, and the nodes that were chosen."""

    selection: Selection
    volume: Image  # LPS mm
    labels: SegmentLabels | None  # of the moving segmentation, if one was chosen


@dataclass(frozen=True)
class Output:
    """Output of a registration: `request` gives fields of the worker's task `register`, `fill` takes its answer.

    field: its name in `OutputNodes`, in the parameter node and, followed by 'Selector', in the panel.
    name: of a new node; nameWithoutInputs: while the inputs are not chosen.
    """

    field: str
    nodeClass: str  # of transforms that of deformable ones, see `nodeClassOf`
    name: str
    nameWithoutInputs: str
    request: Callable[[MovingScan], dict[str, Any]]
    fill: Callable[[Any, dict[str, Any], MovingScan], None]


def _requestNothing(moving: MovingScan) -> dict[str, Any]:
    """Request no additional fields: the worker's answer always has this output."""
    return {}


def _fillTransform(node: slicer.vtkMRMLTransformNode, answer: dict[str, Any], moving: MovingScan) -> None:
    if answer["matrix"] is None:
        gridTransformFromField(answer["field"], node)
    else:
        linearTransformFromMatrix(answer["matrix"], node)
    setRegistrationReferences(node, moving.selection.fixedVolume, moving.selection.movingVolume)


def _requestVolume(moving: MovingScan) -> dict[str, Any]:
    return {"warp": {"volume": moving.volume}}


def _fillVolume(node: slicer.vtkMRMLScalarVolumeNode, answer: dict[str, Any], moving: MovingScan) -> None:
    updateVolumeFromImage(node, answer["warped"]["volume"], moving.selection.movingVolume)


def _requestSegmentation(moving: MovingScan) -> dict[str, Any]:
    images = moving.labels.images if moving.labels is not None else ()
    return {"warp_labels": {str(layer): image for layer, image in enumerate(images)}}


def _fillSegmentation(node: slicer.vtkMRMLSegmentationNode, answer: dict[str, Any], moving: MovingScan) -> None:
    if moving.labels is None:
        return
    images = tuple(answer["warped_labels"][str(layer)] for layer in range(len(moving.labels.images)))
    warped = SegmentLabels(images, moving.labels.segments)
    segmentationFromLabels(warped, node, moving.selection.movingSegmentation, moving.selection.fixedVolume)


def _requestInverse(moving: MovingScan) -> dict[str, Any]:
    return {"inverse": True}


def _fillInverse(node: slicer.vtkMRMLTransformNode, answer: dict[str, Any], moving: MovingScan) -> None:
    if answer["matrix"] is None:
        gridTransformFromField(answer["inverse"], node)
    else:
        linearTransformFromMatrix(np.linalg.inv(answer["matrix"]), node)


def _requestJacobian(moving: MovingScan) -> dict[str, Any]:
    return {"jacobian": True}


def _fillJacobian(node: slicer.vtkMRMLScalarVolumeNode, answer: dict[str, Any], moving: MovingScan) -> None:
    fillMap(node, answer["jacobian"], window=2.0, level=1.0)


def _fillUncertainty(node: slicer.vtkMRMLScalarVolumeNode, answer: dict[str, Any], moving: MovingScan) -> None:
    fillMap(node, answer["spread"], window=20.0, level=10.0)


def _fillExpectedError(node: slicer.vtkMRMLScalarVolumeNode, answer: dict[str, Any], moving: MovingScan) -> None:
    fillMap(node, answer["error"], window=20.0, level=10.0)


OUTPUTS = (
    Output(
        "outputTransform",
        GRID_TRANSFORM,
        _("{moving} to {fixed}"),
        _("PDD transform"),
        _requestNothing,
        _fillTransform,
    ),
    Output("outputVolume", VOLUME, _("{moving} on {fixed}"), _("PDD volume"), _requestVolume, _fillVolume),
    Output(
        "outputSegmentation",
        SEGMENTATION,
        _("{segmentation} on {fixed}"),
        _("PDD segmentation"),
        _requestSegmentation,
        _fillSegmentation,
    ),
    Output(
        "outputInverse",
        GRID_TRANSFORM,
        _("{moving} to {fixed} inverse"),
        _("PDD inverse"),
        _requestInverse,
        _fillInverse,
    ),
    Output(
        "outputJacobian",
        VOLUME,
        _("{moving} to {fixed} Jacobian"),
        _("PDD Jacobian"),
        _requestJacobian,
        _fillJacobian,
    ),
    Output(
        "outputSpread",
        VOLUME,
        _("{moving} to {fixed} spread"),
        _("PDD spread"),
        _requestNothing,
        _fillUncertainty,
    ),
    Output(
        "outputError",
        VOLUME,
        _("{moving} to {fixed} expected error"),
        _("PDD expected error"),
        _requestNothing,
        _fillExpectedError,
    ),
)
OUTPUT_FIELDS = tuple(output.field for output in OUTPUTS)
TRANSFORM = OUTPUTS[0]


def nodeClassOf(output: Output, transformType: str) -> str:
    """Return the class of an output's node, in a run that finds transforms of this type."""
    isLinear = output.nodeClass == GRID_TRANSFORM and transformType != DEFORMABLE
    return LINEAR_TRANSFORM if isLinear else output.nodeClass


def outputName(
    output: Output,
    fixedVolume: slicer.vtkMRMLNode | None,
    movingVolume: slicer.vtkMRMLNode | None,
    movingSegmentation: slicer.vtkMRMLNode | None = None,
) -> str:
    """Name a new output node after the inputs, where they are chosen."""
    if fixedVolume is None or movingVolume is None:
        return output.nameWithoutInputs
    segmentation = movingSegmentation if movingSegmentation is not None else movingVolume
    return output.name.format(
        moving=movingVolume.GetName(), fixed=fixedVolume.GetName(), segmentation=segmentation.GetName()
    )
