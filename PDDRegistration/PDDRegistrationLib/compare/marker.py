"""Mark a place in one slice view with a cross (`Marker`)."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..scene.scene_changes import SceneChanges

COLOUR = (1.0, 0.8, 0.1)  # light yellow, as Slicer's crosshair
SIZE = 5.0  # per cent of the view's diagonal


class Marker:
    """A hidden point that nobody can drag or place; it is removed with the other changes."""

    def __init__(self, changes: SceneChanges, scene: slicer.vtkMRMLScene) -> None:
        """Add the point; it is not shown yet."""
        selection = slicer.app.applicationLogic().GetSelectionNode()
        active = selection.GetActivePlaceNodeClassName(), selection.GetActivePlaceNodeID()
        self._node = changes.add(scene, "vtkMRMLMarkupsFiducialNode", _("Corresponding place"))
        # Slicer makes every new list the one that the user places points in
        selection.SetReferenceActivePlaceNodeClassName(active[0])
        selection.SetActivePlaceNodeID(active[1])
        if self._node.GetDisplayNode() is None:
            self._node.CreateDefaultDisplayNodes()
        self._display = self._node.GetDisplayNode()
        changes.adopt(self._display)
        self._node.SetLocked(True)
        self._node.AddControlPoint(0.0, 0.0, 0.0)
        self._style()

    def show(self, point: np.ndarray, view: slicer.vtkMRMLSliceNode) -> None:
        """Show the cross at a point (3,) RAS mm in one view and no other."""
        modifying = self._display.StartModify()
        self._display.SetViewNodeIDs((view.GetID(),))
        self._node.SetNthControlPointPosition(0, *point.tolist())
        self._display.SetVisibility(True)
        self._display.EndModify(modifying)

    def hide(self) -> None:
        """Show the cross in no view."""
        self._display.SetVisibility(False)

    def _style(self) -> None:
        display = self._display
        display.SetVisibility(False)
        display.SetGlyphType(display.CrossDot2D)
        display.SetGlyphScale(SIZE)
        display.SetColor(*COLOUR)
        display.SetSelectedColor(*COLOUR)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
