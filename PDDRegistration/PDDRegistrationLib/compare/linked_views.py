"""Link two slice views through a transform: the mouse in one marks the corresponding place in the other, which takes
its zoom and pan, too (`LinkedViews`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import slicer
import vtk

from ..scene.geometry import arrayFromMatrix
from ..scene.nodes import isSame
from ..scene.scene_changes import SceneChanges
from .correspondence import fixedPoint, movingPoint
from .marker import Marker
from .zoom_and_pan import ZoomAndPan


class LinkedViews:
    """Link a view of the fixed scan with one of the moving scan, which stands undistorted, without the transform.

    Slicer's own crosshair and its links would bring the other view to the same coordinates, which are another place
    there; they rest meanwhile.
    """

    def __init__(self, transform: slicer.vtkMRMLTransformNode) -> None:
        """Take the transform, fixed to moving; nothing happens before `start`."""
        self._transform = transform
        self._changes = SceneChanges()
        self._observers: list[tuple[slicer.vtkMRMLNode, int]] = []
        self._fixed: slicer.vtkMRMLSliceNode | None = None
        self._moving: slicer.vtkMRMLSliceNode | None = None
        self._marker: Marker | None = None
        self._following = False
        self._leading = False  # whether this moves a view at present
        self._zoomAndPan = ZoomAndPan()
        self._crosshair = transform.GetScene().GetFirstNodeByClass("vtkMRMLCrosshairNode")

    @property
    def isOn(self) -> bool:
        """Return whether the views are linked."""
        return self._fixed is not None

    def start(self, fixed: slicer.vtkMRMLSliceLogic, moving: slicer.vtkMRMLSliceLogic) -> None:
        """Link the views of the fixed and the moving scan; they lead each other from the first `follow` on, when both
        have their planes."""
        self.stop()
        self._fixed, self._moving = fixed.GetSliceNode(), moving.GetSliceNode()
        for logic in (fixed, moving):
            for setting in ("LinkedControl", "HotLinkedControl"):
                self._changes.set(logic.GetSliceCompositeNode(), setting, False)
        for view in (self._fixed, self._moving):
            self._observe(view, vtk.vtkCommand.ModifiedEvent, self._onViewMoved)
        if self._crosshair is None:
            return
        self._changes.set(self._crosshair, "CrosshairMode", self._crosshair.NoCrosshair)
        self._changes.set(self._crosshair, "CrosshairBehavior", self._crosshair.NoAction)
        self._marker = Marker(self._changes, self._transform.GetScene())
        self._observe(self._crosshair, self._crosshair.CursorPositionModifiedEvent, self._onPointed)

    def stop(self) -> None:
        """Undo the link; the views stay where they are."""
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        self._observers, self._fixed, self._moving, self._marker, self._following = [], None, None, None, False
        self._changes.undo()

    def suspend(self) -> None:
        """Restore Slicer's crosshair and links until `resume`."""
        self._changes.suspend()

    def resume(self) -> None:
        """Go on as before `suspend`."""
        self._changes.resume()

    def toFixed(self, point: np.ndarray, view: slicer.vtkMRMLSliceNode | None) -> np.ndarray | None:
        """Return the point (3,) of fixed space that a view shows at a RAS point; None where there is none."""
        if self._moving is None or not isSame(view, self._moving):
            return point
        return fixedPoint(self._transform, point)

    def follow(self) -> None:
        """Bring the view of the moving scan to what the middle of the other one shows."""
        if self._fixed is not None:
            self._following = True
            for view in (self._fixed, self._moving):
                self._zoomAndPan.remember(view)
            self._bringOther(self._fixed, _middle(self._fixed))

    def _observe(self, node: slicer.vtkMRMLNode, event: int, callback: object) -> None:
        self._observers.append((node, node.AddObserver(event, callback)))

    def _onPointed(self, caller: object, event: object) -> None:
        point = [0.0, 0.0, 0.0]
        view = self._crosshair.GetCursorPositionXYZ(point)
        known = self._crosshair.GetCursorPositionRAS(point)
        there = None
        if known and self._isOurs(view):
            there = self._bringOther(view, np.array(point))
        if self._marker is None:  # the link ended meanwhile
            return
        if there is None:
            self._marker.hide()
        else:
            self._marker.show(there, self._other(view))

    def _onViewMoved(self, view: slicer.vtkMRMLSliceNode, event: object) -> None:
        """Let the other view follow what the user does with a view: its slider, its zoom and pan.

        What was moved by this is nobody's doing, and leads nothing.
        """
        if self._leading or not self._following or not view.GetInteractionFlags():
            self._zoomAndPan.remember(view)
            return
        pointed = self._crosshair is not None and self._crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) is not None
        if not pointed:  # the mouse in a view leads to its plane
            self._bringOther(view, _middle(view))
        with self._lead():
            self._zoomAndPan.follow(view, self._other(view), lambda point: self._find(view, point))

    def _bringOther(self, view: slicer.vtkMRMLSliceNode, point: np.ndarray) -> np.ndarray | None:
        """Bring the other view to the corresponding place, and return that."""
        if self._transform.GetScene() is None or not self._following:
            return None
        there = self._find(view, point)
        if there is not None:
            with self._lead():
                _bring(self._other(view), there, centre=not view.GetInteractionFlags())
        return there

    def _find(self, view: slicer.vtkMRMLSliceNode, point: np.ndarray) -> np.ndarray | None:
        """Return the place of the other view that corresponds to a point of this one."""
        find = movingPoint if isSame(view, self._fixed) else fixedPoint
        return find(self._transform, point)

    @contextmanager
    def _lead(self) -> Iterator[None]:
        self._leading = True
        try:
            yield
        finally:
            self._leading = False

    def _isOurs(self, view: slicer.vtkMRMLSliceNode | None) -> bool:
        return view is not None and (isSame(view, self._fixed) or isSame(view, self._moving))

    def _other(self, view: slicer.vtkMRMLSliceNode) -> slicer.vtkMRMLSliceNode:
        return self._moving if isSame(view, self._fixed) else self._fixed


def _middle(view: slicer.vtkMRMLSliceNode) -> np.ndarray:
    """Return the RAS point in the middle of a view, without its pan."""
    return arrayFromMatrix(view.GetSliceToRAS())[:3, 3]


def _bring(view: slicer.vtkMRMLSliceNode, point: np.ndarray, centre: bool) -> None:
    """Move a view to the plane of a RAS point; centre: centre it on the point where it would lie outside.

    While the user pans or zooms the other view, this one takes the pan, and must not jump.
    """
    view.JumpSliceByOffsetting(*point.tolist())
    if not centre:
        return
    place = np.linalg.solve(arrayFromMatrix(view.GetXYToRAS()), [*point, 1.0])[:2]
    if (place < 0).any() or (place > np.array(view.GetDimensions()[:2])).any():
        view.JumpSliceByCentering(*point.tolist())
