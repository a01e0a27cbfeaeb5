"""Handle the widgets that choose mask segments and place the initial landmarks (`MasksAndLandmarksPanel`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..registration.parameters import RegistrationParameters
from ..scene.placement import registeredVolumes
from ..scene.placing import Placing
from ..scene.points import pointPairs

POINTS = "vtkMRMLMarkupsFiducialNode"
SIDES = ("fixed", "moving")


class MasksAndLandmarksPanel:
    """Handle what no node selector can: the choice of a segment within a mask, and the placing of landmarks."""

    def __init__(self, ui: Any, onPlacing: Callable[[], None], onCounted: Callable[[], None]) -> None:
        """Connect the widgets `ui`, by name; onPlacing: called before landmarks are placed, so that the views show the
        last result; onCounted: called after a landmark of a chosen list was placed or removed."""
        self.ui, self._onPlacing, self._onCounted = ui, onPlacing, onCounted
        self._parameters: RegistrationParameters | None = None
        self._placing = Placing()
        self._entries: dict[str, list[tuple[str, str]]] = {side: [] for side in SIDES}
        self._observers: list[tuple[slicer.vtkMRMLNode, int]] = []
        for side in SIDES:
            self._segments(side).connect("activated(int)", lambda index, side=side: self._onSegmentChosen(side, index))
            getattr(ui, f"{side}PlaceButton").connect(
                "clicked(bool)", lambda checked=False, side=side: self._onPlaceClicked(side)
            )

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Follow a parameter node, or none; `refresh` is to be called whenever the node changes."""
        self._parameters = parameters
        self._watch([])
        if parameters is None:
            self._placing.end()
        else:
            self.refresh()

    def refresh(self) -> None:
        """Show the values of the parameter node."""
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
        """Start placing landmarks of this scan by clicks in the views, in a new list if none is chosen."""
        if self._parameters is None:
            return
        node = getattr(self._parameters, f"{side}Points")
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass(POINTS, slicer.mrmlScene.GenerateUniqueName(_newName(side)))
            node.CreateDefaultDisplayNodes()
            setattr(self._parameters, f"{side}Points", node)
        self._onPlacing()
        self._placing.begin(node)

    def _watch(self, nodes: list[slicer.vtkMRMLNode]) -> None:
        """Observe the lists, to count the pairs again whenever a point is added or removed."""
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        events = ("PointPositionDefinedEvent", "PointPositionUndefinedEvent", "PointRemovedEvent")
        self._observers = [
            (node, node.AddObserver(getattr(node, event), self._onPointsChanged)) for node in nodes for event in events
        ]

    def _onPointsChanged(self, caller: object, event: object) -> None:
        self._count()
        self._onCounted()

    def _count(self) -> None:
        """Show how many pairs there are, and by what they were matched."""
        if self._parameters is not None:
            self.ui.pointsNote.text = _pairsText(self._parameters.fixedPoints, self._parameters.movingPoints)


def _placeWithMovingScan(parameters: RegistrationParameters) -> None:
    """Put an empty list of moving points under the transform of the displayed moving scan, so that clicks on it are
    stored in moving space.

    Where the last result was resampled into an output volume, that volume is displayed.
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
    """State how many pairs of points there are, or why there are none; empty unless both lists are chosen."""
    if fixedPoints is None or movingPoints is None:
        return ""
    try:
        pairs = pointPairs(fixedPoints, movingPoints)
    except InputError as error:
        return str(error)
    by = {"label": _("by label"), "order": _("by order")}[pairs.how]
    return _("{count} pairs, matched {by}").format(count=len(pairs.names), by=by)


def _segmentsOf(node: slicer.vtkMRMLNode | None) -> list[tuple[str, str]]:
    """List ID and name of every segment; empty for a label map."""
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        return []
    segmentation = node.GetSegmentation()
    identifiers = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return [(identifier, segmentation.GetSegment(identifier).GetName()) for identifier in identifiers]


def _newName(side: str) -> str:
    return {"fixed": _("Fixed points"), "moving": _("Moving points")}[side]
