"""Measure any transform of the scene, also another program's, in the worker and without PyTorch (`MeasureJob`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.core.grid import Grid
from pddnet.errors import InputError

from ..registration.matched_segments import MatchedLabelMaps
from ..scene.nodes import isSame, parentChain
from ..scene.placement import registeredVolumes
from ..scene.points import PointPairs, pointPairs
from ..scene.segment_matching import SegmentMatches, matchSegments, sharedLabels
from ..scene.segmentations import SegmentLabels, labelsFromSegmentation
from ..scene.transforms import itkTransformFromNode
from ..scene.volumes import imageFromVolume
from ..worker.client import Worker
from ..worker.failure import Failure
from ..worker.scene_job import NodesOfRun, SceneJob
from .findings import MeasureFindings
from .selection import MeasureSelection
from .tables import MeasureTables, fillMeasureTables

AROUND_MM = 60.0  # around the fixed segments or points, where no fixed volume bounds the grid
POINTS_SPACING_MM = 4.0


@dataclass(frozen=True)
class MeasureResult:
    """Result of a measurement: the findings, and the tables that show them in the scene."""

    findings: MeasureFindings
    tables: MeasureTables


class MeasureJob(SceneJob[MeasureResult]):
    """Measure one transform. The nodes are read at the start; they may change during the run.

    'Before' is the position of the scans in the scene without the transform, 'after' that with the moving scan
    transformed. A second measurement of a transform replaces the tables of the first.
    """

    def __init__(
        self,
        worker: Worker,
        selection: MeasureSelection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[MeasureResult], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Start the measurement; raise InputError, with nothing started, where the nodes cannot be measured."""
        self.selection = selection.completed()
        self.selection.check()
        self._organs = MatchedLabelMaps()
        self._segments: SegmentMatches | None = None
        self._points: PointPairs | None = None
        self._nodes = NodesOfRun(self.selection.nodes.values())
        super().__init__(worker, self._request(), onProgress, onFinished, onFailed)

    def _request(self) -> dict[str, Any]:
        """Read the nodes as the fields of the worker's task `evaluate`, LPS mm."""
        chosen = self.selection
        request: dict[str, Any] = {"do": "evaluate"}
        grids: list[Grid] = []  # of the fixed scan; the first says where to sample the transform
        if chosen.fixedVolume is not None:
            request["fixed"] = imageFromVolume(chosen.fixedVolume)
            grids.append(request["fixed"].grid)
        if chosen.movingVolume is not None:
            request["moving"] = imageFromVolume(chosen.movingVolume, self._ignored(chosen.movingVolume))
        if chosen.fixedSegmentation is not None and chosen.movingSegmentation is not None:
            volumeGrid = grids[0] if grids else None
            request |= self._labelsRequest(chosen.fixedSegmentation, chosen.movingSegmentation, volumeGrid)
            grids.append(request["grid"])
        if chosen.fixedPoints is not None and chosen.movingPoints is not None:
            pairs = pointPairs(chosen.fixedPoints, chosen.movingPoints, self._ignored(chosen.movingPoints))
            request |= {"names": list(pairs.names), "fixed_points": pairs.fixed, "moving_points": pairs.moving}
            grids.append(_gridAround(pairs.fixed))
            self._points = pairs
        request["transform"] = itkTransformFromNode(chosen.transform, grids[0])
        if chosen.inverse is not None:
            movingGrid = request["moving"].grid if "moving" in request else grids[0]
            request["inverse"] = itkTransformFromNode(chosen.inverse, movingGrid)
        return request

    def _labelsRequest(
        self,
        fixedNode: slicer.vtkMRMLSegmentationNode,
        movingNode: slicer.vtkMRMLSegmentationNode,
        fixedGrid: Grid | None,
    ) -> dict[str, Any]:
        """Match the segments, and choose the grid to compare them on: the fixed volume's, or one over the segments."""
        chosen = self.selection
        fixed = labelsFromSegmentation(fixedNode, chosen.fixedVolume)
        moving = labelsFromSegmentation(movingNode, chosen.movingVolume, self._ignored(movingNode))
        self._segments = matchSegments(fixed.segments, moving.segments)
        shared = tuple(sharedLabels(fixed, moving, self._segments))
        if not shared:
            text = _("{fixed} and {moving} have no segment in common; give the same names to the same organs")
            raise InputError(text.format(fixed=fixedNode.GetName(), moving=movingNode.GetName()))
        pairs = {str(n): {"fixed": labels.fixed, "moving": labels.moving} for n, labels in enumerate(shared)}
        self._organs = MatchedLabelMaps(pairs, shared)
        return {"labels": pairs, "grid": fixedGrid or _gridOver(fixed)}

    def _ignored(self, node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLTransformNode | None:
        """Return the registration transform above a moving node, which is left out to get its position before
        registration.

        It is the measured transform, or else another result for the same moving volume.
        """
        parents = list(parentChain(node))
        measured = [parent for parent in parents if isSame(parent, self.selection.transform)]
        moving = self.selection.movingVolume
        results = [parent for parent in parents if moving is not None and isSame(registeredVolumes(parent)[1], moving)]
        return next(iter(measured + results), None)

    def _apply(self, answer: dict[str, Any]) -> MeasureResult:
        self._nodes.check()
        findings = MeasureFindings(
            self._organs.table(answer["evaluation"]),
            self._segments,
            self._points,
            answer["tre_mm"],
            answer["jacobian"],
            answer["inverse_error_mm"],
            answer["similarity"],
            self._organs.motion(answer["motion"]),
        )
        return MeasureResult(findings, fillMeasureTables(self.selection.transform, findings))


def measure(
    worker: Worker, selection: MeasureSelection, onProgress: Callable[[float, str], None] | None = None
) -> MeasureResult:
    """Measure and wait for the result; see `MeasureJob`.

    Raises:
        InputError, Cancelled, MemoryError, WorkerError: the reason why there is no result; the scene is unchanged.
    """
    return MeasureJob(worker, selection, onProgress).wait()


def _gridOver(labels: SegmentLabels) -> Grid:
    """Return a grid over all label maps plus AROUND_MM, as fine as the finest: maps are often cropped to the organs."""
    finest = min((image.grid for image in labels.images), key=lambda grid: float(grid.spacing.prod()))
    corners = np.concatenate([image.grid.corners() for image in labels.images])
    return _enclosing(finest, corners)


def _gridAround(points: np.ndarray) -> Grid:
    return _enclosing(Grid((1, 1, 1), np.full(3, POINTS_SPACING_MM), points[0], np.eye(3)), points)


def _enclosing(like: Grid, points: np.ndarray) -> Grid:
    """Extend the lattice of `like` to enclose all points (N, 3) LPS mm plus AROUND_MM."""
    index, margin = like.point_to_index(points), AROUND_MM / like.spacing
    low, high = np.floor(index.min(axis=0) - margin), np.ceil(index.max(axis=0) + margin)
    depth, height, width = (int(count) for count in (high - low + 1)[::-1])
    return Grid((depth, height, width), like.spacing, like.index_to_point(low), like.direction)
