"""Run one registration of nodes, from reading the inputs to filling the outputs (`RegistrationJob`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.run.provenance import origin

from ..scene.output_nodes import placeBeside
from ..scene.placement import placeUnder
from ..scene.provenance import forgetMadeWith, setMadeWith, setProvenance
from ..scene.rollback import unchangedOnError
from ..scene.segmentations import SegmentLabels, labelsFromSegmentation
from ..scene.volumes import imageFromVolume
from ..worker.client import Worker
from ..worker.failure import Failure
from ..worker.scene_job import NodesOfRun, PlacesOfRun, SceneJob
from .matched_segments import MatchedLabelMaps
from .outputs import OUTPUTS, TRANSFORM, MovingScan, nodeClassOf, outputName
from .run_inputs import guidingLabels, masksOf, startOf
from .selection import Selection

REPORT = "PDDRegistration.Report"
"""Node attribute of a result: the run's report as JSON, with the organ table."""


@dataclass(frozen=True)
class Result:
    """Result of a run: nodes of the scene, uncertainty and report."""

    transform: slicer.vtkMRMLTransformNode  # a grid transform, or a linear one where that was asked for
    volume: slicer.vtkMRMLScalarVolumeNode  # resampled, or the moving volume under the transform
    segmentation: slicer.vtkMRMLSegmentationNode | None
    uncertainty: Image  # standard deviation of the displacement, mm, LPS
    report: dict[str, Any]  # as the command line's --report, and "organs", "guided", "started"
    expectedError: Image | None = None  # mm, LPS; None where it is not known
    gpu: dict[str, Any] | None = None  # name, memory_free and memory_total (bytes), after the run


class RegistrationJob(SceneJob[Result]):
    """Run one registration. The nodes are read at the start; they may change during the run. At its end it is checked
    that they are still there, in their places, and that the outputs move none of them."""

    def __init__(
        self,
        worker: Worker,
        selection: Selection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[Result], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Start the registration; raise InputError, with nothing started, where the nodes cannot be registered."""
        selection.check()
        self.selection, self._nodes = selection, NodesOfRun(selection.nodes.values())
        self._places = (
            PlacesOfRun([selection.fixedVolume, selection.fixedSegmentation], lambda node: None),
            PlacesOfRun([selection.movingVolume, selection.movingSegmentation], selection.ignored),
        )
        self._organs = MatchedLabelMaps()
        super().__init__(worker, self._request(), onProgress, onFinished, onFailed)

    def _request(self) -> dict[str, Any]:
        """Read the nodes as the fields of the worker's task `register`."""
        chosen = self.selection
        fixed = imageFromVolume(chosen.fixedVolume)
        moving = imageFromVolume(chosen.movingVolume, chosen.ignored(chosen.movingVolume))
        request: dict[str, Any] = {"do": "register", "preset": chosen.preset, "device": chosen.device}
        request |= {"transform_type": chosen.transformType, "diffeomorphic": chosen.diffeomorphic}
        request["intensity"] = chosen.intensity
        request |= {"fixed": fixed, "moving": moving} | masksOf(chosen, fixed.grid, moving.grid)
        if chosen.adjust:
            request["adjust"] = dict(chosen.adjust)
        start = startOf(chosen, fixed.grid)
        self._started = start is not None
        if start is not None:
            request["initial_transform"] = start
        labels = self._movingLabels()
        if labels is not None and chosen.fixedSegmentation is not None:
            request |= self._segmentsRequest(labels, fixed.grid, moving.grid)
        self._moving = MovingScan(chosen, moving, labels)
        for output in OUTPUTS:
            if output.field in chosen.outputs:
                request |= output.request(self._moving)
        return request

    def _movingLabels(self) -> SegmentLabels | None:
        chosen = self.selection
        if chosen.movingSegmentation is None:
            return None
        former = chosen.ignored(chosen.movingSegmentation)
        return labelsFromSegmentation(chosen.movingSegmentation, chosen.movingVolume, former)

    def _segmentsRequest(self, moving: SegmentLabels, fixedGrid: Grid, movingGrid: Grid) -> dict[str, Any]:
        """Match the segments, to be measured and, where the user wants it, to guide the registration."""
        chosen = self.selection
        fixed = labelsFromSegmentation(chosen.fixedSegmentation, chosen.fixedVolume)
        self._organs = MatchedLabelMaps.of(fixed, moving, fixedGrid)
        request: dict[str, Any] = {"evaluate": self._organs.pairs}
        if chosen.guide:
            request |= guidingLabels(fixed, moving, self._organs.shared, fixedGrid, movingGrid)
        return request

    def _apply(self, answer: dict[str, Any]) -> Result:
        """Put the answer into the scene, completely or not at all."""
        chosen = self.selection
        self._nodes.check()
        for places in self._places:
            places.check()
        chosen.checkParents()
        report = answer["report"] | self._reportOfScene(answer)
        scene = chosen.fixedVolume.GetScene()
        with unchangedOnError(scene, chosen.outputs.values()):
            transform = chosen.outputTransform or self._newTransform(scene)
            self._fill(transform, answer)
            transform.SetAttribute(REPORT, json.dumps(report))
            self._place(transform)
            placeBeside([transform, *chosen.outputs.values()], chosen.movingVolume)
        forgetMadeWith(transform, chosen.outputs.values())
        volume = chosen.outputVolume or chosen.movingVolume
        segmentation = chosen.outputSegmentation or chosen.movingSegmentation
        return Result(transform, volume, segmentation, answer["spread"], report, answer["error"], answer["cuda"])

    def _reportOfScene(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the report fields that need the scene: names of segments, and what guided or initialised the run."""
        return {
            "organs": self._organs.table(answer["evaluation"]),
            "guided": self.selection.guide,
            "started": self._started,
        }

    def _newTransform(self, scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLTransformNode:
        name = outputName(TRANSFORM, self.selection.fixedVolume, self.selection.movingVolume)
        kind = nodeClassOf(TRANSFORM, self.selection.transformType)
        return scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name))

    def _fill(self, transform: slicer.vtkMRMLTransformNode, answer: dict[str, Any]) -> None:
        nodes = {**self.selection.outputs, TRANSFORM.field: transform}
        names = {name: node.GetName() for name, node in self.selection.inputs.items()}
        for output in OUTPUTS:
            if output.field in nodes:
                output.fill(nodes[output.field], answer, self._moving)
                setProvenance(nodes[output.field], origin(answer["report"], names))
        for node in self.selection.outputs.values():
            if node is not transform:
                setMadeWith(node, transform)

    def _place(self, transform: slicer.vtkMRMLTransformNode) -> None:
        """Display the moving nodes in fixed space, unless resampled copies on the fixed grid were requested."""
        chosen = self.selection
        if chosen.outputVolume is None and chosen.movingVolume is not chosen.fixedVolume:
            placeUnder(chosen.movingVolume, transform, chosen.ignored(chosen.movingVolume))
            if chosen.movingPoints is not None:
                placeUnder(chosen.movingPoints, transform, chosen.ignored(chosen.movingPoints))
        if chosen.outputSegmentation is None and chosen.movingSegmentation not in (None, chosen.fixedSegmentation):
            placeUnder(chosen.movingSegmentation, transform, chosen.ignored(chosen.movingSegmentation))


def reportOf(transformNode: slicer.vtkMRMLTransformNode | None) -> dict[str, Any] | None:
    """Return the report that is stored with a result, also after the scene was saved and loaded; None without one."""
    text = transformNode.GetAttribute(REPORT) if transformNode is not None else None
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
