"""Remember the maps of the last result, which its transform does not store (`LastMaps`)."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from pddnet.core.image import Image

from ..registration.job import Result

NONE = None, None


class LastMaps:
    """Uncertainty and expected error (mm, LPS) of one result, for as long as its transform holds that.

    The node itself is remembered, as another scene has other nodes of the same IDs, and what it holds, as an edit, a
    file or a pair of a batch may replace that.
    """

    def __init__(self, onChanged: Callable[[], None]) -> None:
        """onChanged: called by the event loop when the transform holds something else, or the result again."""
        self._onChanged = onChanged
        self._result: Result | None = None
        self._content: object = None
        self._isHeld = False
        self._observer = 0

    def remember(self, result: Result) -> None:
        """Take the maps of a result instead of the former ones."""
        self.forget()
        self._result, self._content, self._isHeld = result, _contentOf(result.transform), True
        changed = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        self._observer = result.transform.AddObserver(changed, self._onModified)

    def forget(self) -> None:
        """Know no maps."""
        if self._result is not None:
            self._result.transform.RemoveObserver(self._observer)
        self._result = self._content = None

    def of(self, transform: slicer.vtkMRMLTransformNode | None) -> tuple[Image | None, Image | None]:
        """Return uncertainty and expected error of a transform; None where they are not known."""
        known = self._result
        if known is None or transform is not known.transform or transform.GetScene() is None:
            return NONE
        return (known.uncertainty, known.expectedError) if _contentOf(transform) == self._content else NONE

    def _onModified(self, caller: slicer.vtkMRMLTransformNode, event: str) -> None:
        isHeld = _contentOf(caller) == self._content
        if isHeld != self._isHeld:
            self._isHeld = isHeld
            qt.QTimer.singleShot(0, self._onChanged)  # not amid what changes the scene


def _contentOf(transform: slicer.vtkMRMLTransformNode) -> object:
    """Return what differs as soon as the node holds something else; its parents do not count."""
    held = transform.GetTransformFromParent()
    return held, held.GetMTime()
