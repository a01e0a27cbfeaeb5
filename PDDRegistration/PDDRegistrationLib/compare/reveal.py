"""`Reveal`: the cursor that shows the foreground in a square, by Slicer's CompareVolumes module where installed."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _


def whyNoReveal() -> str:
    """Say why the cursor is not available; nothing if it is."""
    return "" if _layerReveal() else _("This needs the Compare Volumes module, which this Slicer does not have.")


class Reveal:
    """A square under the mouse that shows the layers one beside the other."""

    def __init__(self) -> None:
        self._cursor: Any = None

    @property
    def isOn(self) -> bool:
        """Whether the cursor reveals."""
        return self._cursor is not None

    def set(self, on: bool) -> None:
        """Show the cursor or not; nothing happens where the module is missing."""
        if self._cursor is not None:
            self._cursor.tearDown()
            self._cursor = None
        make = _layerReveal()
        if on and make is not None:
            self._cursor = make()


def _layerReveal() -> Any:
    try:
        from CompareVolumes import LayerReveal
    except ImportError:
        return None
    return LayerReveal
