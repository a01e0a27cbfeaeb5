"""`CompareVolumes`: of Slicer's bundled module the reveal cursor, which watches the slice views until `cleanup`."""

from __future__ import annotations

import slicer
import vtk


class ViewWatcher:
    """Observes every slice view, and those of the next layout; nothing but `cleanup` ends that."""

    def __init__(self) -> None:
        self.observerTags: list[tuple[vtk.vtkObject, int]] = []
        self.refreshObservers()
        slicer.app.layoutManager().connect("layoutChanged(int)", self.refreshObservers)

    def cleanup(self) -> None:
        slicer.app.layoutManager().disconnect("layoutChanged(int)", self.refreshObservers)
        self.removeObservers()

    def removeObservers(self) -> None:
        for observed, tag in self.observerTags:
            observed.RemoveObserver(tag)
        self.observerTags = []

    def refreshObservers(self, layout: int = 0) -> None:
        self.removeObservers()
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames():
            widget = manager.sliceWidget(name)
            for observed in (widget.mrmlSliceNode(), widget.sliceLogic().GetSliceCompositeNode()):
                self.observerTags.append(
                    (observed, observed.AddObserver(vtk.vtkCommand.ModifiedEvent, self.processEvent))
                )

    def processEvent(self, observed: vtk.vtkObject, event: str) -> None:
        """Draw both layers around the mouse; the host draws nothing."""


class LayerReveal(ViewWatcher):
    """The reveal cursor: on from the time it is made, until `cleanup`."""
