"""`MasksAndLandmarksPanel`: the widgets of masks, by segment, and of the landmarks that a run starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..registration.parameters import RegistrationParameters
from ..scene.placement import registeredVolumes
from ..scene.points import pointPairs

POINTS = "vtkMRMLMarkupsFiducialNode"
SIDES = ("fixed", "moving")


class MasksAndLandmarksPanel:
    """Connects what no node selector can: the choice of a segment within a mask, and the placing of points."""

    def __init__(self, ui: Any, onPlacing: Callable[[], None]) -> None:
        """ui: widgets by name; onPlacing: called before points are placed, so that the views show the last result."""
        self.ui, self._onPlacing = ui, onPlacing
        self._parameters: RegistrationParameters | None = None
        self._entries: dict[str, list[tuple[str, str]]] = {side: [] for side in SIDES}
        self._observers: list[tuple[slicer.vtkMRMLNode, int]] = []
        for side in SIDES:
            self._segments(side).connect("activated(int)", lambda index, side=side: self._onSegmentChosen(side, index))
            getattr(ui, f"{side}PlaceButton").connect(
                "clicked(bool)", lambda checked=False, side=side: self._onPlaceClicked(side)
            )

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Follow a parameter node; None: none. `refresh` is to be called whenever it changes."""
        self._parameters = parameters
        self._watch([])
        if parameters is not None:
            self.refresh()

    def refresh(self) -> None:
        """Show what the parameter node holds."""
        parameters = self._parameters
        if parameters is None or slicer.mrmlScene.IsImporting():
            return
        for side in SIDES:
            self._fillSegments(side)
        points = [parameters.fixedPoints, parameters.movingPoints]
        self._watch([node for node in points if node is not None])
        _placeWithMovingScan(parameters)
        self._count()

    def _segments(self, side: str) -> Any:
        return getattr(self.ui, f"{side}MaskSegmentComboBox")

    def _fillSegments(self, side: str) -> None:
        box, node = self._segments(side), getattr(self._parameters, f"{side}Mask")
        entries = _segmentsOf(node)
        if entries != self._entries[side] or not box.count:
            self._entries[side] = entries
            box.clear()
            for identifier, name in (("", _("(all segments)")), *entries):
                box.addItem(name, identifier)
        box.enabled = bool(entries)
        chosen = getattr(self._parameters, f"{side}MaskSegment")
        if chosen and chosen not in [identifier for identifier, _name in entries]:
            setattr(self._parameters, f"{side}MaskSegment", "")
            chosen = ""
        box.setCurrentIndex(max(box.findData(chosen), 0))

    def _onSegmentChosen(self, side: str, index: int) -> None:
        if self._parameters is not None:
            setattr(self._parameters, f"{side}MaskSegment", self._segments(side).itemData(index))

    def _onPlaceClicked(self, side: str) -> None:
        """Let the next clicks into the views place points of this scan, in a new list if none is chosen."""
        if self._parameters is None:
            return
        node = getattr(self._parameters, f"{side}Points")
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass(POINTS, slicer.mrmlScene.GenerateUniqueName(_newName(side)))
            node.CreateDefaultDisplayNodes()
            setattr(self._parameters, f"{side}Points", node)
        self._onPlacing()
        logic = slicer.app.applicationLogic()
        selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
        selection.SetReferenceActivePlaceNodeClassName(POINTS)
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(1)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def _watch(self, nodes: list[slicer.vtkMRMLNode]) -> None:
        """Count anew whenever a point of these lists comes or goes."""
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        events = ("PointPositionDefinedEvent", "PointPositionUndefinedEvent", "PointRemovedEvent")
        self._observers = [
            (node, node.AddObserver(getattr(node, event), self._onPointsChanged)) for node in nodes for event in events
        ]

    def _onPointsChanged(self, caller: object, event: object) -> None:
        self._count()

    def _count(self) -> None:
        """Say how many pairs there are, and by what they were matched."""
        if self._parameters is not None:
            self.ui.pointsNote.text = _pairsText(self._parameters.fixedPoints, self._parameters.movingPoints)


def _placeWithMovingScan(parameters: RegistrationParameters) -> None:
    """Put an empty list of moving points where the moving scan is shown, so that clicks on it mean its own places.

    Where the last result was resampled into an output volume, that is what is shown.
    """
    points, volume = parameters.movingPoints, parameters.movingVolume
    if points is None or volume is None or points.GetNumberOfControlPoints() or points.GetParentTransformNode():
        return
    parent, output = volume.GetParentTransformNode(), parameters.outputVolume
    if parent is None and output is not None and output.GetImageData() is not None:
        result = parameters.outputTransform
        parent = result if registeredVolumes(result) == (parameters.fixedVolume, volume) else None
    if parent is not None:
        points.SetAndObserveTransformNodeID(parent.GetID())


def _pairsText(
    fixedPoints: slicer.vtkMRMLMarkupsFiducialNode | None, movingPoints: slicer.vtkMRMLMarkupsFiducialNode | None
) -> str:
    """How many pairs of points there are, or why there are none; nothing unless both lists are chosen."""
    if fixedPoints is None or movingPoints is None:
        return ""
    try:
        pairs = pointPairs(fixedPoints, movingPoints)
    except InputError as error:
        return str(error)
    by = {"label": _("by label"), "order": _("by order")}[pairs.how]
    return _("{count} pairs, matched {by}").format(count=len(pairs.names), by=by)


def _segmentsOf(node: slicer.vtkMRMLNode | None) -> list[tuple[str, str]]:
    """ID and name of every segment; none of a label map."""
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        return []
    segmentation = node.GetSegmentation()
    identifiers = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return [(identifier, segmentation.GetSegment(identifier).GetName()) for identifier in identifiers]


def _newName(side: str) -> str:
    return {"fixed": _("Fixed points"), "moving": _("Moving points")}[side]
