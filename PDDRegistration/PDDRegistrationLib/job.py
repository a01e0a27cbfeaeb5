"""`RegistrationJob`: one registration in the scene, from the user's nodes to a request and from its answer to nodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError
from pddnet.image import Image
from pddnet.presets import find_preset

from .nodes import (
    gridTransformFromField,
    imageFromVolume,
    placeUnder,
    registrationParent,
    setRegistrationReferences,
    updateVolumeFromImage,
)
from .organs import OrganPairs
from .rollback import unchangedOnError
from .scene_job import NodesOfRun, SceneJob
from .segmentations import SegmentLabels, labelsFromSegmentation, segmentationFromLabels
from .worker_process import Failure, Worker

REPORT = "PDDRegistration.Report"
"""Node attribute of a result: the run's report as JSON, with the organ table."""


@dataclass(frozen=True)
class Selection:
    """What the user chose. Without an output volume (segmentation) the moving one is put under the transform."""

    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    movingVolume: slicer.vtkMRMLScalarVolumeNode
    fixedSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    movingSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    preset: str = "default"
    device: str = "auto"
    outputTransform: slicer.vtkMRMLTransformNode | None = None
    outputVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    outputSegmentation: slicer.vtkMRMLSegmentationNode | None = None

    @property
    def nodes(self) -> dict[str, slicer.vtkMRMLNode]:
        """The nodes that were chosen, by field."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None and not isinstance(value, str)}

    def check(self) -> None:
        """Raises InputError where the choice cannot be carried out."""
        if self.fixedVolume is None or self.movingVolume is None:
            raise InputError(_("Choose a fixed and a moving volume."))
        find_preset(self.preset)
        inputs = [node for name, node in self.nodes.items() if not name.startswith("output")]
        for name, node in self.nodes.items():
            if name.startswith("output") and node in inputs:
                raise InputError(_("{name} is an input; choose another output.").format(name=node.GetName()))
        if self.outputSegmentation is not None and self.movingSegmentation is None:
            text = _("Choose the moving segmentation that goes into {name}, or no output segmentation.")
            raise InputError(text.format(name=self.outputSegmentation.GetName()))
        self._checkTransform()

    def _checkTransform(self) -> None:
        """It must not move the fixed scan or what another result placed, nor replace the moving one's parent."""
        transform = self.outputTransform
        if transform is None:
            return
        if not transform.IsA("vtkMRMLGridTransformNode"):
            raise InputError(_("{name} is no grid transform; choose another output.").format(name=transform.GetName()))
        registered = transform.GetNodeReference(transform.GetMovingNodeReferenceRole())
        for node in slicer.util.getNodesByClass("vtkMRMLTransformableNode", transform.GetScene()):
            if not _isUnder(node, transform):
                continue
            fixed = node in (self.fixedVolume, self.fixedSegmentation)
            placed = registrationParent(node, self.movingVolume) is transform
            another = registered not in (None, self.movingVolume)
            if fixed or another or (node in (self.movingVolume, self.movingSegmentation) and not placed):
                text = _("{node} lies under {transform}, which the result would replace; choose another output.")
                raise InputError(text.format(node=node.GetName(), transform=transform.GetName()))


@dataclass(frozen=True)
class Result:
    """What a run left in the scene."""

    transform: slicer.vtkMRMLGridTransformNode
    volume: slicer.vtkMRMLScalarVolumeNode  # resampled, or the moving volume under the transform
    segmentation: slicer.vtkMRMLSegmentationNode | None
    spread: Image  # mm, standard deviation of the displacement, LPS
    report: dict[str, Any]  # as the command line's --report, and "organs"


class RegistrationJob(SceneJob[Result]):
    """The nodes are read at the start; they may change during the run, and are looked at again at its end."""

    def __init__(
        self,
        worker: Worker,
        selection: Selection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[Result], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Raises InputError where the nodes cannot be registered; nothing is started then."""
        selection.check()
        self.selection, self._nodes = selection, NodesOfRun(selection.nodes.values())
        self._labels: SegmentLabels | None = None
        self._organs = OrganPairs()
        super().__init__(worker, self._request(), onProgress, onFinished, onFailed)

    def _request(self) -> dict[str, Any]:
        """The nodes as images: everything that the run needs."""
        chosen = self.selection
        fixed = imageFromVolume(chosen.fixedVolume)
        moving = imageFromVolume(chosen.movingVolume, registrationParent(chosen.movingVolume))
        request = {
            "do": "register", "fixed": fixed, "moving": moving, "preset": chosen.preset, "device": chosen.device,
        }  # fmt: skip
        if chosen.outputVolume is not None:
            request["warp"] = {"volume": moving}
        if chosen.movingSegmentation is None:
            return request
        former = registrationParent(chosen.movingSegmentation, chosen.movingVolume)
        self._labels = labelsFromSegmentation(chosen.movingSegmentation, chosen.movingVolume, former)
        if chosen.outputSegmentation is not None:
            request["warp_labels"] = {str(n): image for n, image in enumerate(self._labels.images)}
        if chosen.fixedSegmentation is not None:
            known = labelsFromSegmentation(chosen.fixedSegmentation, chosen.fixedVolume)
            self._organs = OrganPairs.of(known, self._labels, fixed.grid)
            request["evaluate"] = self._organs.pairs
        return request

    def _apply(self, answer: dict[str, Any]) -> Result:
        """Put the answer into the scene, whole or not at all."""
        chosen = self.selection
        self._nodes.check()
        chosen.check()  # nodes may have been moved under others meanwhile
        scene = chosen.fixedVolume.GetScene()
        report = answer["report"] | {"organs": self._organs.table(answer["evaluation"])}
        outputs = [node for name, node in chosen.nodes.items() if name.startswith("output")]
        with unchangedOnError(scene, outputs):
            transform = chosen.outputTransform or self._newTransform(scene)
            self._fill(transform, answer, report)
        volume = chosen.outputVolume or chosen.movingVolume
        segmentation = chosen.outputSegmentation or chosen.movingSegmentation
        return Result(transform, volume, segmentation, answer["spread"], report)

    def _newTransform(self, scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLGridTransformNode:
        fixed, moving = self.selection.fixedVolume.GetName(), self.selection.movingVolume.GetName()
        name = _("{moving} to {fixed}").format(moving=moving, fixed=fixed)
        return scene.AddNewNodeByClass("vtkMRMLGridTransformNode", scene.GenerateUniqueName(name))

    def _fill(self, transform: slicer.vtkMRMLTransformNode, answer: dict[str, Any], report: dict[str, Any]) -> None:
        chosen = self.selection
        if chosen.outputVolume is not None:
            updateVolumeFromImage(chosen.outputVolume, answer["warped"]["volume"], chosen.movingVolume)
        if chosen.outputSegmentation is not None and self._labels is not None:
            images = tuple(answer["warped_labels"][str(n)] for n in range(len(self._labels.images)))
            warped = SegmentLabels(images, self._labels.segments)
            segmentationFromLabels(warped, chosen.outputSegmentation, chosen.movingSegmentation, chosen.fixedVolume)
        gridTransformFromField(answer["field"], transform)
        setRegistrationReferences(transform, chosen.fixedVolume, chosen.movingVolume)
        transform.SetAttribute(REPORT, json.dumps(report))
        if chosen.outputVolume is None and chosen.movingVolume is not chosen.fixedVolume:
            placeUnder(chosen.movingVolume, transform)
        if chosen.outputSegmentation is None and chosen.movingSegmentation not in (None, chosen.fixedSegmentation):
            placeUnder(chosen.movingSegmentation, transform)


def reportOf(transformNode: slicer.vtkMRMLTransformNode | None) -> dict[str, Any] | None:
    """The report that a result carries, also after the scene was saved and loaded; None without one."""
    text = transformNode.GetAttribute(REPORT) if transformNode is not None else None
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _isUnder(node: slicer.vtkMRMLTransformableNode, transform: slicer.vtkMRMLTransformNode) -> bool:
    parent = node.GetParentTransformNode()
    while parent is not None and parent is not transform:
        parent = parent.GetParentTransformNode()
    return parent is not None
