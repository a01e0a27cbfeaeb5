"""Hold the tools that show one result, and end them when one of its nodes is removed (`CompareSession`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import slicer

from pddnet.core.image import Image
from pddnet.errors import InputError

from ..scene.geometry import transformBetween
from .comparison import Comparison
from .crosshair_place import CrosshairPlace
from .field_display import FieldDisplay
from .local_rigid import RigidFit, rigidFit
from .overlays import Overlays
from .probe import Probe
from .reveal import Reveal

MAPS = ("uncertainty", "expectedError")  # images, not nodes


@dataclass(frozen=True, eq=False)
class ComparedNodes:
    """Nodes of a result: both scans, the transform, and the warped nodes if the moving scan was resampled."""

    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    movingVolume: slicer.vtkMRMLScalarVolumeNode
    fixedSegmentation: slicer.vtkMRMLSegmentationNode | None
    movingSegmentation: slicer.vtkMRMLSegmentationNode | None
    transform: slicer.vtkMRMLTransformNode
    warpedVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    warpedSegmentation: slicer.vtkMRMLSegmentationNode | None = None
    uncertainty: Image | None = None  # standard deviation of the displacement, mm, LPS, on any grid
    expectedError: Image | None = None  # mm, LPS, on any grid

    def isSame(self, other: ComparedNodes) -> bool:
        """Return whether both hold exactly the same objects."""
        return all(getattr(self, field.name) is getattr(other, field.name) for field in fields(self))

    @property
    def areInScene(self) -> bool:
        """Return whether all of the nodes are still in the scene."""
        nodes = [getattr(self, field.name) for field in fields(self) if field.name not in MAPS]
        return all(node.GetScene() is not None for node in nodes if node is not None)


class CompareSession:
    """One session of comparing a result. It ends with `close`; `onGone` asks for that when a node is removed."""

    def __init__(
        self,
        nodes: ComparedNodes,
        onProbed: Callable[[str], None],
        onTransformChanged: Callable[..., None],
        onGone: Callable[[], None],
    ) -> None:
        self.nodes, self._onGone = nodes, onGone
        self.comparison = Comparison(
            nodes.fixedVolume,
            nodes.movingVolume,
            nodes.fixedSegmentation,
            nodes.movingSegmentation,
            nodes.transform,
            nodes.warpedVolume,
            nodes.warpedSegmentation,
        )
        self.field = FieldDisplay(nodes.transform, nodes.fixedVolume)
        self.overlays = Overlays(nodes.transform, nodes.uncertainty, nodes.expectedError)
        self.reveal = Reveal()
        self.overlay = ""
        toFixed, scene = self.comparison.link.toFixed, nodes.transform.GetScene()
        self._probe = Probe(nodes.transform, onProbed, nodes.uncertainty, nodes.expectedError, toFixed)
        self.crosshair = CrosshairPlace(scene, toFixed)
        changed = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        self._observers = [
            (scene, scene.AddObserver(scene.NodeRemovedEvent, self._onNodeRemoved)),
            (scene, scene.AddObserver(scene.StartCloseEvent, lambda caller, event: onGone())),
            (nodes.transform, nodes.transform.AddObserver(changed, onTransformChanged)),
        ]

    def showOverlay(self, kind: str, onShown: Callable[[], None]) -> None:
        """Show a map over the fixed volume; '' removes it.

        Raises:
            InputError: the map cannot be made.
        """
        if kind == self.overlay:
            return
        self.overlays.cancel()
        self.overlay = ""
        self.overlays.showLegend(None)
        if self.comparison.overlay is not None:
            self.comparison.setOverlay(None)
        if not kind:
            return
        self.overlay = kind
        try:
            self.overlays.request(kind, lambda volume: self._show(kind, volume, onShown))
        except InputError:
            self.overlay = ""
            raise

    def forgetOverlays(self) -> None:
        """Remove the maps, which are out of date."""
        self.overlay = ""
        if self.comparison.overlay is not None:
            self.comparison.setOverlay(None)
        self.overlays.close()

    def alignAt(self, points: np.ndarray) -> RigidFit:
        """Show the moving scan under the rigid motion nearest to the transform at points (N, 3), RAS mm, and return
        that."""
        fit = rigidFit(transformBetween(None, self.nodes.transform), points)
        self.comparison.setAligned(fit.matrix)
        return fit

    def suspend(self) -> None:
        """Put nodes and views as they were, until `resume`, which may also come after `close`."""
        self.field.suspend()
        self.comparison.suspend()

    def resume(self) -> None:
        """Go on as before `suspend`."""
        self.comparison.resume()
        self.field.resume()

    def stop(self) -> None:
        """Restore the views; the tools can be used again."""
        self.overlay = ""
        self.overlays.showLegend(None)
        self.overlays.cancel()
        self.field.show(None)
        self.comparison.close()

    def close(self) -> None:
        """Stop for good: remove all observers and helper nodes."""
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        self._observers = []
        self._probe.close()
        self.crosshair.close()
        self.reveal.set(False)
        self.stop()
        self.overlays.close()

    def _show(self, kind: str, volume: slicer.vtkMRMLScalarVolumeNode, onShown: Callable[[], None]) -> None:
        self.comparison.setCheckerboard(False)
        self.comparison.setOverlay(volume)
        self.overlays.showLegend(kind)
        onShown()

    def _onNodeRemoved(self, caller: object, event: object) -> None:
        if not self.nodes.areInScene:
            self._onGone()
