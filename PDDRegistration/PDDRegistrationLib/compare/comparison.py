"""Show a registered pair in the slice views: blended, as checkerboard, before/after, side by side, or undistorted
(`Comparison`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ..scene.geometry import matrixFromArray
from ..scene.placement import resultOver
from ..scene.proxies import isShownSo, proxyFor, proxyUnder, showLike
from ..scene.scene_changes import SceneChanges
from ..scene.slice_views import turnToVolume
from ..scene.volumes import isSingleSlice
from .checkerboard import checkerboardOf
from .linked_views import LinkedViews
from .poses import Pose, fit, showInOneScale, sliceLogics
from .slice_bars import listInSliceBars

BLEND = 0.5
OUTLINE = 3  # pixels
FILL = 0.35  # opacity
PAIR = ("Red", "Yellow")  # the views that Slicer's layout "side by side" shows
REGISTERED, BEFORE, ALIGNED = "registered", "before", "aligned"  # how the moving nodes are shown


class Comparison:
    """Show the fixed volume behind the moving one, with or without the transform, and both segmentations.

    Nothing changes before `start`, or the first of the set... methods, which calls it. No node of the user is moved
    or filled: hidden proxies show a node at another position. `close` undoes everything. Without a window
    nothing happens at all.
    """

    def __init__(
        self,
        fixedVolume: slicer.vtkMRMLScalarVolumeNode,
        movingVolume: slicer.vtkMRMLScalarVolumeNode,
        fixedSegmentation: slicer.vtkMRMLSegmentationNode | None,
        movingSegmentation: slicer.vtkMRMLSegmentationNode | None,
        transform: slicer.vtkMRMLTransformNode,
        warpedVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
        warpedSegmentation: slicer.vtkMRMLSegmentationNode | None = None,
    ) -> None:
        """Take the nodes of a registered pair.

        The moving nodes may lie under the transform, directly or not, or elsewhere; the warped nodes that they were
        resampled into are shown in their place.
        """
        self._warped = {"movingVolume": warpedVolume, "movingSegmentation": warpedSegmentation}
        self.fixedVolume, self.movingVolume = fixedVolume, movingVolume
        self.fixedSegmentation, self.movingSegmentation = fixedSegmentation, movingSegmentation
        self.transform = transform
        self.blend, self.registered = BLEND, True
        self.overlay: slicer.vtkMRMLScalarVolumeNode | None = None
        self.link = LinkedViews(transform)
        self._changes = SceneChanges()
        self._aligned = False
        self._alignment: slicer.vtkMRMLLinearTransformNode | None = None  # moving to fixed
        self._proxies: dict[tuple[str, str], Any] = {}
        self._drawn: dict[str, bool] = {}  # by ID: whether a segmentation is visible
        self._tiles: slicer.vtkMRMLScalarVolumeNode | None = None
        self._listed: list[slicer.vtkMRMLVolumeNode] = []  # hidden volumes in the selectors of the views' bars
        self._poses: dict[str, Pose] = {}
        self._layout: int | None = None
        self._formerPoses: list[Pose] = []
        self._suspendedPoses: list[Pose] = []
        self._running = False

    @property
    def isRunning(self) -> bool:
        """Return whether the views show the pair."""
        return self._running

    @property
    def checkerboard(self) -> bool:
        """Return whether tiles of the fixed volume are drawn over the moving one."""
        return self._tiles is not None

    @property
    def sideBySide(self) -> bool:
        """Return whether one view shows the fixed volume and another the moving one."""
        return self._layout is not None

    @property
    def linked(self) -> bool:
        """Return whether the view on the right shows the moving volume undistorted, linked through the transform."""
        return self.link.isOn

    @property
    def aligned(self) -> bool:
        """Return whether a rigid motion takes the place of the transform."""
        return self._aligned

    def start(self) -> None:
        """Show the pair; views that showed something else are fitted to it."""
        if self._running or slicer.app.layoutManager() is None:
            return
        self._running = True
        fixedID = self.fixedVolume.GetID()
        for name, logic in sliceLogics().items():
            if logic.GetSliceCompositeNode().GetBackgroundVolumeID() != fixedID:
                self._poses[name] = Pose(logic.GetSliceNode())
        self._update()
        for name in self._poses:
            sliceLogics()[name].FitSliceToBackground()
        if isSingleSlice(self.fixedVolume):
            self._turnToSlice()

    def _turnToSlice(self) -> None:
        """Turn the views to the plane of a single slice, which the others would show as a line."""
        for name, logic in sliceLogics().items():
            self._poses.setdefault(name, Pose(logic.GetSliceNode()))
            turnToVolume(logic, self.fixedVolume)

    def close(self) -> None:
        """Restore layout, views and nodes; whatever the user changed meanwhile stays. Views that were empty go on
        showing the fixed volume."""
        if not self._running:
            return
        self._running = False
        self._suspendedPoses = []
        self._leaveSideBySide()
        self._changes.undo()
        self._proxies, self._drawn, self._tiles, self._listed = {}, {}, None, []
        self._aligned, self._alignment = False, None
        listInSliceBars([])
        self.overlay, self.registered = None, True
        self._restorePoses()
        self._poses = {}

    def suspend(self) -> None:
        """Show in the views what `close` would leave there, until `resume`; the layout stays."""
        if not self._running or self._suspendedPoses:  # suspended already: the poses to resume are not in the views
            return
        self.link.suspend()
        self._changes.suspend()
        self._suspendedPoses = [Pose(logic.GetSliceNode()) for logic in sliceLogics().values()]
        if self.sideBySide:
            for pose in self._formerPoses:
                pose.restore()
        self._restorePoses()

    def resume(self) -> None:
        """Show the pair again."""
        self._changes.resume()
        poses, self._suspendedPoses = self._suspendedPoses, []
        for pose in poses:
            pose.restore()
        self.link.resume()

    def refresh(self) -> None:
        """Update the views after a node was moved."""
        if self._running:
            self._update()

    def setBlend(self, opacity: float) -> None:
        """Set the opacity of the foreground: 0 shows only the fixed volume, 1 only the moving one."""
        self.blend = opacity
        self._show()

    def setRegistered(self, registered: bool) -> None:
        """Show the moving volume and segmentation with the transform, or without it."""
        self.registered, self._aligned = registered, False
        self._show()

    def setAligned(self, matrix: np.ndarray | None) -> None:
        """Show the moving volume and segmentation under a rigid motion, undistorted; None: with the transform.

        matrix: (4, 4), fixed to moving, RAS mm.
        """
        if matrix is None and not self.aligned:
            return
        self.start()
        if not self._running:
            return
        if self.linked:
            self._leaveSideBySide()
        if matrix is not None:
            self._moveCopies(matrix)
        self.registered, self._aligned = True, matrix is not None
        self._update()

    def setCheckerboard(self, on: bool) -> None:
        """Show tiles of the fixed volume over the moving one; this ends the side-by-side view."""
        self.start()
        if on == self.checkerboard or not self._running:
            return
        if on:
            self._leaveSideBySide()
            self._tiles = checkerboardOf(self._changes, self.fixedVolume)
        else:
            tiles, self._tiles = self._tiles, None
            self._show()  # before the views would miss it
            self._removeHidden(tiles)
        self._show()

    def setSideBySide(self, on: bool) -> None:
        """Show the fixed volume on the left, the moving one on the right, in one plane; this ends the checkerboard."""
        if slicer.app.layoutManager() is None or on == (self.sideBySide and not self.linked):
            return
        self.start()
        self._leaveSideBySide()
        if on:
            self._enterSideBySide()
            for logic in sliceLogics().values():  # all of them, as by the button in a view's bar
                self._changes.set(logic.GetSliceCompositeNode(), "LinkedControl", True)
                self._changes.set(logic.GetSliceCompositeNode(), "HotLinkedControl", True)
            qt.QTimer.singleShot(0, self._fitPair)  # once the views have their new size
        self._update()

    def setLinked(self, on: bool) -> None:
        """Show the fixed volume on the left and the moving one, undistorted, where it stands, on the right, linked
        through the transform; this ends the checkerboard and an alignment."""
        if slicer.app.layoutManager() is None or on == self.linked:
            return
        self.start()
        self._leaveSideBySide()
        if on:
            self._aligned = False
            self._enterSideBySide()
            self.link.start(*(sliceLogics()[name] for name in PAIR))
            qt.QTimer.singleShot(0, self._fitLinked)
        self._update()

    def setOverlay(self, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Show a map, such as the Jacobian determinant, instead of the moving volume; None removes it."""
        self.overlay = volume
        self._show()

    def _fillEmptyViews(self) -> list[str]:
        """Show the fixed volume in views that have no background; return their names."""
        if self.fixedVolume.GetScene() is None:
            return []
        composites = {name: logic.GetSliceCompositeNode() for name, logic in sliceLogics().items()}
        empty = [name for name, composite in composites.items() if not composite.GetBackgroundVolumeID()]
        for name in empty:
            composites[name].SetBackgroundVolumeID(self.fixedVolume.GetID())
        return empty

    def _restorePoses(self) -> None:
        """Go back to the planes of the start, but in views that were empty."""
        filled = self._fillEmptyViews()
        for name, pose in self._poses.items():
            if name not in filled:
                pose.restore()

    def _show(self) -> None:
        self.start()
        if self._running:
            self._update()

    def _enterSideBySide(self) -> None:
        self.setCheckerboard(False)
        manager = slicer.app.layoutManager()
        self._layout = manager.layout
        self._formerPoses = [Pose(logic.GetSliceNode()) for logic in sliceLogics().values()]
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)

    def _leaveSideBySide(self) -> None:
        if self._layout is None:
            return
        self.link.stop()
        layout, self._layout = self._layout, None
        manager = slicer.app.layoutManager()
        if manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView:
            manager.setLayout(layout)
        for logic in sliceLogics().values():
            for setting in ("LinkedControl", "HotLinkedControl"):
                self._changes.restore(logic.GetSliceCompositeNode(), setting)
        for pose in self._formerPoses:
            pose.restore()
            qt.QTimer.singleShot(0, pose.restore)  # again, once the views have their former size

    def _fitPair(self) -> None:
        if self.sideBySide and not self.linked:
            left, right = (sliceLogics()[name] for name in PAIR)
            fit(left)
            Pose(left.GetSliceNode()).restore(right.GetSliceNode())

    def _fitLinked(self) -> None:
        """Fit each view to its own scan, both in one scale, and begin at corresponding places."""
        if not self.linked:
            return
        left, right = (sliceLogics()[name] for name in PAIR)
        fit(left)
        Pose(left.GetSliceNode()).restore(right.GetSliceNode())
        fit(right)
        showInOneScale(left.GetSliceNode(), right.GetSliceNode())
        self.link.follow()

    def _moveCopies(self, matrix: np.ndarray) -> None:
        """Move the hidden copies of the moving nodes back by a rigid motion, (4, 4), fixed to moving, RAS mm."""
        if self._alignment is None:
            name = _("{name}, rigid").format(name=self.transform.GetName())
            scene = self.transform.GetScene()
            self._alignment = self._changes.add(scene, "vtkMRMLLinearTransformNode", name)
        self._alignment.SetMatrixTransformToParent(matrixFromArray(np.linalg.inv(matrix)))

    @property
    def _how(self) -> str:
        """Return how the moving nodes are shown."""
        if self.linked:
            return BEFORE
        if self.aligned:
            return ALIGNED
        return REGISTERED if self.registered else BEFORE

    def _update(self) -> None:
        moving = self._shown("movingVolume")
        layers = {name: self._layers(name, moving) for name in sliceLogics()}
        former, self._listed = self._listed, _hidden(layers.values())
        listInSliceBars([*former, *self._listed])
        for name, logic in sliceLogics().items():
            background, foreground, opacity = layers[name]
            composite = logic.GetSliceCompositeNode()
            for setting, value in (
                ("BackgroundVolumeID", background.GetID()),
                ("ForegroundVolumeID", foreground.GetID() if foreground is not None else None),
                ("LabelVolumeID", None),
                ("ForegroundOpacity", opacity),
            ):
                self._changes.set(composite, setting, value)
        listInSliceBars(self._listed)
        self._drawSegmentations()

    def _layers(self, view: str, moving: Any) -> tuple[Any, Any, float]:
        """Return the background, the foreground and its opacity in a view."""
        if self.sideBySide and view in PAIR:
            background = self.fixedVolume if view == PAIR[0] else moving
            elsewhere = self.linked and view == PAIR[1]  # the overlay lies in fixed space
            return background, None if elsewhere else self.overlay, self.blend
        if self.overlay is not None:
            return self.fixedVolume, self.overlay, self.blend
        if self.checkerboard:
            return moving, self._tiles, 1.0
        return self.fixedVolume, moving, self.blend

    def _shown(self, name: str) -> Any:
        """Return the node that shows 'movingVolume' or 'movingSegmentation' at present."""
        how = self._how
        if how == REGISTERED and self._warped[name] is not None:
            return self._warped[name]
        node, key = getattr(self, name), (name, how)
        known = self._proxies.get(key)
        needsProxy = how == ALIGNED or not isShownSo(node, self.transform, how == REGISTERED, self.movingVolume)
        if known is None or (known is not node) != needsProxy:  # the user has moved it meanwhile
            self._proxies[key] = self._proxy(node, how)
        shown = self._proxies[key]
        if shown is not node and not node.IsA("vtkMRMLSegmentationNode"):
            showLike(self._changes, shown, node)  # its window may have changed
        return shown

    def _proxy(self, node: slicer.vtkMRMLTransformableNode, how: str) -> slicer.vtkMRMLTransformableNode:
        if how != ALIGNED:
            return proxyFor(self._changes, node, self.transform, how == REGISTERED, self.movingVolume)
        name = _("{name}, rigid").format(name=node.GetName())
        result = resultOver(node, self.transform, self.movingVolume)
        return proxyUnder(self._changes, node, result, self._alignment, name)

    def _drawSegmentations(self) -> None:
        if self.fixedSegmentation is not None:
            self._style(self.fixedSegmentation, outline=True, visible=True)
            self._confine(self.fixedSegmentation, PAIR[0])
        if self.movingSegmentation is None:
            return
        shown = self._shown("movingSegmentation") if self.overlay is None else None  # it would change the map's colours
        self._style(self.movingSegmentation, outline=False, visible=shown is self.movingSegmentation)
        others = [node for (name, _how), node in self._proxies.items() if name == "movingSegmentation"]
        for node in (*others, self._warped["movingSegmentation"]):
            if node is not None:
                self._style(node, outline=False, visible=node is shown)
                self._confine(node, PAIR[1])

    def _confine(self, segmentation: slicer.vtkMRMLSegmentationNode, view: str) -> None:
        """Draw a segmentation in one view alone while the views are linked, which show different places."""
        display = self._changes.addDisplay(segmentation)
        if self.linked:
            self._changes.set(display, "ViewNodeIDs", (sliceLogics()[view].GetSliceNode().GetID(),))
        else:
            self._changes.restore(display, "ViewNodeIDs")

    def _style(self, segmentation: slicer.vtkMRMLSegmentationNode, *, outline: bool, visible: bool) -> None:
        if self._drawn.get(segmentation.GetID()) == visible:
            return  # the user may have hidden it or changed its look
        self._drawn[segmentation.GetID()] = visible
        display = self._changes.addDisplay(segmentation)
        settings = {
            "Visibility": True,
            "Visibility2D": visible,
            "Visibility2DOutline": outline,
            "Visibility2DFill": not outline,
            "SliceIntersectionThickness": OUTLINE,
            "Opacity2DOutline": 1.0,
            "Opacity2DFill": FILL,
        }
        for name, value in settings.items():
            self._changes.set(display, name, value)

    def _removeHidden(self, node: slicer.vtkMRMLDisplayableNode) -> None:
        display = node.GetDisplayNode()
        self._changes.remove(node)
        if display is not None:
            self._changes.remove(display)


def _hidden(layers: Iterable[tuple[Any, Any, float]]) -> list[slicer.vtkMRMLVolumeNode]:
    """List the volumes among backgrounds and foregrounds that no selector lists, each once."""
    volumes = [volume for background, foreground, _opacity in layers for volume in (background, foreground)]
    return list(dict.fromkeys(volume for volume in volumes if volume is not None and volume.GetHideFromEditors()))
