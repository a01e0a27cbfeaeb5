"""`RegistrationJob`: one registration in the scene, from the user's nodes to a request and from its answer to nodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer

from pddnet.core.grid import Grid
from pddnet.core.image import Image

from ..scene.output_nodes import fillMap, outputName, placeBeside
from ..scene.rollback import unchangedOnError
from ..scene.segmentations import SegmentLabels, labelsFromSegmentation, segmentationFromLabels
from ..scene.volumes import (
    gridTransformFromField,
    imageFromVolume,
    placeUnder,
    setRegistrationReferences,
    updateVolumeFromImage,
)
from ..worker.client import Failure, Worker
from ..worker.scene_job import NodesOfRun, SceneJob
from .matched_segments import OrganPairs
from .run_inputs import guidingLabels, masksOf, startOf
from .selection import Selection

REPORT = "PDDRegistration.Report"
"""Node attribute of a result: the run's report as JSON, with the organ table."""


@dataclass(frozen=True)
class Result:
    """What a run left in the scene."""

    transform: slicer.vtkMRMLGridTransformNode
    volume: slicer.vtkMRMLScalarVolumeNode  # resampled, or the moving volume under the transform
    segmentation: slicer.vtkMRMLSegmentationNode | None
    spread: Image  # mm, standard deviation of the displacement, LPS
    report: dict[str, Any]  # as the command line's --report, and "organs", "guided", "started"
    gpu: dict[str, Any] | None = None  # name, memory_free and memory_total (bytes), after the run


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
        moving = imageFromVolume(chosen.movingVolume, chosen.ignored(chosen.movingVolume))
        request = {
            "do": "register", "fixed": fixed, "moving": moving, "preset": chosen.preset, "device": chosen.device,
            **masksOf(chosen, fixed.grid, moving.grid),
        }  # fmt: skip
        wanted = {
            "adjust": dict(chosen.adjust) or None,
            "initial_transform": startOf(chosen, fixed.grid),
            "jacobian": True if chosen.outputJacobian is not None else None,
            "inverse": True if chosen.outputInverse is not None else None,
        }
        request |= {name: value for name, value in wanted.items() if value is not None}
        if chosen.outputVolume is not None:
            request["warp"] = {"volume": moving}
        if chosen.movingSegmentation is not None:
            self._addSegments(request, fixed.grid, moving.grid)
        return request

    def _addSegments(self, request: dict[str, Any], fixed_grid: Grid, moving_grid: Grid) -> None:
        """The segmentations: to be carried over, to be measured, and where the user wants it, to guide."""
        chosen = self.selection
        former = chosen.ignored(chosen.movingSegmentation)
        self._labels = labelsFromSegmentation(chosen.movingSegmentation, chosen.movingVolume, former)
        if chosen.outputSegmentation is not None:
            request["warp_labels"] = {str(n): image for n, image in enumerate(self._labels.images)}
        if chosen.fixedSegmentation is None:
            return
        known = labelsFromSegmentation(chosen.fixedSegmentation, chosen.fixedVolume)
        self._organs = OrganPairs.of(known, self._labels, fixed_grid)
        request["evaluate"] = self._organs.pairs
        if chosen.guide:
            request |= guidingLabels(known, self._labels, self._organs.shared, fixed_grid, moving_grid)

    def _apply(self, answer: dict[str, Any]) -> Result:
        """Put the answer into the scene, whole or not at all."""
        chosen = self.selection
        self._nodes.check()
        chosen.check()  # nodes may have been moved under others meanwhile
        scene = chosen.fixedVolume.GetScene()
        organs = self._organs.table(answer["evaluation"])
        started = chosen.initialTransform is not None or chosen.fixedPoints is not None
        report = answer["report"] | {"organs": organs, "guided": chosen.guide, "started": started}
        with unchangedOnError(scene, chosen.outputs.values()):
            transform = chosen.outputTransform or self._newTransform(scene)
            self._fill(transform, answer, report)
            placeBeside([transform, *chosen.outputs.values()], chosen.movingVolume)
        volume = chosen.outputVolume or chosen.movingVolume
        segmentation = chosen.outputSegmentation or chosen.movingSegmentation
        return Result(transform, volume, segmentation, answer["spread"], report, answer["cuda"])

    def _newTransform(self, scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLGridTransformNode:
        name = outputName("outputTransform", self.selection.fixedVolume, self.selection.movingVolume)
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
        self._fillMaps(answer)
        self._place(transform)

    def _fillMaps(self, answer: dict[str, Any]) -> None:
        """The further outputs."""
        chosen = self.selection
        if chosen.outputInverse is not None:
            gridTransformFromField(answer["inverse"], chosen.outputInverse)
        if chosen.outputJacobian is not None:
            fillMap(chosen.outputJacobian, answer["jacobian"], 2.0, 1.0)
        if chosen.outputSpread is not None:
            fillMap(chosen.outputSpread, answer["spread"], 20.0, 10.0)

    def _place(self, transform: slicer.vtkMRMLTransformNode) -> None:
        """Show the moving nodes where the fixed scan has them, unless copies on its voxels were asked for."""
        chosen = self.selection
        if chosen.outputVolume is None and chosen.movingVolume is not chosen.fixedVolume:
            placeUnder(chosen.movingVolume, transform, chosen.ignored(chosen.movingVolume))
            if chosen.movingPoints is not None:
                placeUnder(chosen.movingPoints, transform, chosen.ignored(chosen.movingPoints))
        if chosen.outputSegmentation is None and chosen.movingSegmentation not in (None, chosen.fixedSegmentation):
            placeUnder(chosen.movingSegmentation, transform, chosen.ignored(chosen.movingSegmentation))


def reportOf(transformNode: slicer.vtkMRMLTransformNode | None) -> dict[str, Any] | None:
    """The report that a result carries, also after the scene was saved and loaded; None without one."""
    text = transformNode.GetAttribute(REPORT) if transformNode is not None else None
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
