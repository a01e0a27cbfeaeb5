"""Let the user place points of a list by clicks in the views, until that is ended (`Placing`)."""

from __future__ import annotations

import slicer


class Placing:
    """Place mode for one list at a time. `end` leaves alone what the user has begun to place elsewhere meanwhile."""

    def __init__(self) -> None:
        self._node: slicer.vtkMRMLMarkupsNode | None = None
        self._persistence = 0

    def begin(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        """Start, or go on with another list; every click in a view places a point until the user ends it."""
        logic = slicer.app.applicationLogic()
        selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
        if self._node is None or interaction.GetCurrentInteractionMode() != interaction.Place:
            self._persistence = interaction.GetPlaceModePersistence()
        self._node = node
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(1)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def end(self) -> None:
        """Return to the mode in which clicks move the views."""
        isOn, self._node = self._isOn(), None
        if isOn:
            interaction = slicer.app.applicationLogic().GetInteractionNode()
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
            interaction.SetPlaceModePersistence(self._persistence)

    def _isOn(self) -> bool:
        """Return whether clicks go into the list."""
        if self._node is None:
            return False
        logic = slicer.app.applicationLogic()
        selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
        return (
            interaction.GetCurrentInteractionMode() == interaction.Place
            and selection.GetActivePlaceNodeID() == self._node.GetID()
        )
