"""Let node selectors show none when their node is deleted (`DeletedChoices`)."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

FIRST = 100.0  # priority of the observer: before the selectors, which take the row out of their lists


class DeletedChoices:
    """Observer of the scene until `close`: a selector whose node is about to be deleted shows none instead.

    Slicer's selector would choose the node that follows in its list. Of two volumes the remaining one would become
    fixed and moving, and an older transform would be the output that Apply overwrites.
    """

    def __init__(self, *sections: Any) -> None:
        """Look after all selectors that can show none among the widgets of the sections, each by name."""
        widgets = [widget for section in sections for widget in vars(section).values()]
        selectors = [widget for widget in widgets if widget.className() == "qMRMLNodeComboBox"]
        self._selectors = [selector for selector in selectors if selector.noneEnabled]
        self._scene = slicer.mrmlScene
        self._tag = self._scene.AddObserver(self._scene.NodeAboutToBeRemovedEvent, self._onAboutToBeRemoved, FIRST)

    def close(self) -> None:
        """Stop observing."""
        self._scene.RemoveObserver(self._tag)
        self._selectors = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onAboutToBeRemoved(self, scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
        for selector in self._selectors:
            if selector.currentNodeID == node.GetID():
                selector.setCurrentNode(None)
