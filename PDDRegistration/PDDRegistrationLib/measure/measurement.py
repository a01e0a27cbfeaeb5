"""`MeasureJob`: measure any transform of the scene, also one that another program made; in the worker, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.core.grid import Grid
from pddnet.errors import InputError

from ..registration.matched_segments import OrganPairs
from ..scene.geometry import isSame, parentChain
from ..scene.points import PointPairs, pointPairs
from ..scene.segmentations import SegmentLabels, SegmentMatches, labelsFromSegmentation, matchSegments, sharedLabels
from ..scene.volumes import imageFromVolume, itkTransformFromNode
from ..worker.client import Failure, Worker
from ..worker.scene_job import NodesOfRun, SceneJob
from .tables import MeasureTables, fillMeasureTables

AROUND = 60.0  # mm around the fixed segments or points, where no fixed volume says how far to look
POINTS_SPACING = 4.0  # mm


@dataclass(frozen=True)
class MeasureSelection:
    """What to measure a transform by; all but the transform may be missing. Moving things may lie under it already."""

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
        """The nodes that were chosen, by field."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def completed(self) -> MeasureSelection:
        """With the volumes that the transform itself says it registers, where none were chosen."""
        found = dict(zip(("fixedVolume", "movingVolume"), registeredVolumes(self.transform), strict=True))
        return replace(self, **{name: node for name, node in found.items() if getattr(self, name) is None})

    def check(self) -> None:
        """Raises InputError where there is nothing to measure, or not in this way."""
        self.checkChoice()
        for node in (self.fixedVolume, self.fixedSegmentation, self.fixedPoints):
            if node is not None and any(isSame(parent, self.transform) for parent in parentChain(node)):
                text = _("{name} lies under {transform}, as only things of the moving scan should; take it out.")
                raise InputError(text.format(name=node.GetName(), transform=self.transform.GetName()))

    def checkChoice(self) -> None:
        """Raises InputError where something is missing or chosen twice, wherever the nodes lie."""
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


@dataclass(frozen=True)
class MeasureFindings:
    """What was measured, in the units of the worker's answer, and how things were matched."""

    organs: list[dict[str, Any]]  # a row per segment, see `organs.OrganPairs.table`
    segments: SegmentMatches | None
    points: PointPairs | None
    tre: dict[str, Any] | None  # mm
    jacobian: dict[str, Any] | None
    inverseError: dict[str, Any] | None  # mm
    similarity: dict[str, Any] | None


@dataclass(frozen=True)
class MeasureResult:
    """The findings, and the tables that show them in the scene."""

    findings: MeasureFindings
    tables: MeasureTables


class MeasureJob(SceneJob[MeasureResult]):
    """One measurement. The nodes are read at the start; they may change during the run.

    'Before' is where the scans lie in the scene without the transform, 'after' where the transform puts the moving one.
    A second measurement of a transform replaces the tables of the first.
    """

    def __init__(
        self,
        worker: Worker,
        selection: MeasureSelection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[MeasureResult], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Raises InputError where the nodes cannot be measured; nothing is started then."""
        self.selection = selection.completed()
        self.selection.check()
        self._organs, self._segments, self._points = OrganPairs(), None, None
        self._nodes = NodesOfRun(self.selection.nodes.values())
        super().__init__(worker, self._request(), onProgress, onFinished, onFailed)

    def _request(self) -> dict[str, Any]:
        """The nodes as images, points and transforms, LPS mm: everything that the measurement needs."""
        chosen = self.selection
        request: dict[str, Any] = {"do": "evaluate"}
        grids: list[Grid] = []
        if chosen.fixedVolume is not None:
            request["fixed"] = imageFromVolume(chosen.fixedVolume)
            grids.append(request["fixed"].grid)
        if chosen.movingVolume is not None:
            request["moving"] = imageFromVolume(chosen.movingVolume, self._ignored(chosen.movingVolume))
        if chosen.fixedSegmentation is not None and chosen.movingSegmentation is not None:
            grids += self._addLabels(request, grids[0] if grids else None)
        if chosen.fixedPoints is not None and chosen.movingPoints is not None:
            self._points = pointPairs(chosen.fixedPoints, chosen.movingPoints, self._ignored(chosen.movingPoints))
            request |= {"names": list(self._points.names)}
            request |= {"fixed_points": self._points.fixed, "moving_points": self._points.moving}
            grids.append(_gridAround(self._points.fixed))
        request["transform"] = itkTransformFromNode(chosen.transform, grids[0])
        if chosen.inverse is not None:
            there = request["moving"].grid if "moving" in request else grids[0]
            request["inverse"] = itkTransformFromNode(chosen.inverse, there)
        return request

    def _addLabels(self, request: dict[str, Any], grid: Grid | None) -> list[Grid]:
        """Put the matched segments into the request; returns the grid that they are compared on."""
        chosen = self.selection
        fixed = labelsFromSegmentation(chosen.fixedSegmentation, chosen.fixedVolume)
        former = self._ignored(chosen.movingSegmentation)
        moving = labelsFromSegmentation(chosen.movingSegmentation, chosen.movingVolume, former)
        self._segments = matchSegments(fixed.segments, moving.segments)
        shared = tuple(sharedLabels(fixed, moving, self._segments))
        pairs = {str(n): {"fixed": labels.fixed, "moving": labels.moving} for n, labels in enumerate(shared)}
        self._organs = OrganPairs(pairs, shared)
        if not self._organs.pairs:
            text = _("{fixed} and {moving} have no segment in common; give the same names to the same organs")
            names = (chosen.fixedSegmentation.GetName(), chosen.movingSegmentation.GetName())
            raise InputError(text.format(fixed=names[0], moving=names[1]))
        request["labels"] = self._organs.pairs
        request["grid"] = grid or _gridOver(fixed)
        return [request["grid"]]

    def _ignored(self, node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLTransformNode | None:
        """Of the moving node's parents the one that a registration put there: not where the scan lies by itself.

        That is the measured transform, or else another result for the same moving volume.
        """
        parents = list(parentChain(node))
        moving = self.selection.movingVolume
        for parent in parents:
            if isSame(parent, self.selection.transform):
                return parent
        return next((p for p in parents if moving is not None and isSame(registeredVolumes(p)[1], moving)), None)

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
        )
        return MeasureResult(findings, fillMeasureTables(self.selection.transform, findings))


def measure(worker: Worker, selection: MeasureSelection, onProgress: Callable[[float, str], None] | None = None) -> MeasureResult:
    """Measure and wait for the result; see `MeasureJob`.

    Raises:
        InputError, Cancelled, MemoryError, WorkerError: why there is none; the scene is as it was.
    """
    return MeasureJob(worker, selection, onProgress).wait()


def registeredVolumes(
    transform: slicer.vtkMRMLTransformNode | None,
) -> tuple[slicer.vtkMRMLScalarVolumeNode | None, slicer.vtkMRMLScalarVolumeNode | None]:
    """The fixed and the moving volume that a transform says it registers (None where it does not)."""
    if transform is None:
        return None, None
    roles = transform.GetFixedNodeReferenceRole(), transform.GetMovingNodeReferenceRole()
    nodes = [transform.GetNodeReference(role) for role in roles]
    fixed, moving = (node if node is not None and node.IsA("vtkMRMLScalarVolumeNode") else None for node in nodes)
    return fixed, moving


def _gridOver(labels: SegmentLabels) -> Grid:
    """A grid over all label maps and AROUND, as fine as the finest; segmentations are often cropped to the organs."""
    finest = min((image.grid for image in labels.images), key=lambda grid: float(grid.spacing.prod()))
    corners = np.concatenate([image.grid.corners() for image in labels.images])
    return _enclosing(finest, corners)


def _gridAround(points: np.ndarray) -> Grid:
    return _enclosing(Grid((1, 1, 1), np.full(3, POINTS_SPACING), points[0], np.eye(3)), points)


def _enclosing(like: Grid, points: np.ndarray) -> Grid:
    """The lattice of `like`, continued around all points (N, 3) LPS mm and AROUND."""
    index, reach = like.point_to_index(points), AROUND / like.spacing
    low, high = np.floor(index.min(axis=0) - reach), np.ceil(index.max(axis=0) + reach)
    size = tuple(int(n) for n in (high - low + 1)[::-1])
    return Grid(size, like.spacing, like.index_to_point(low), like.direction)
