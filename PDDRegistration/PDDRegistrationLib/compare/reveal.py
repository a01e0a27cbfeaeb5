"""Reveal the foreground in a square at the cursor, with Slicer's CompareVolumes module where installed (`Reveal`)."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _


def whyNoReveal() -> str:
    """Return why the reveal cursor is not available; an empty text if it is."""
    return "" if _layerReveal() else _("This needs the Compare Volumes module, which this Slicer does not have.")


class Reveal:
    """Show the layers one beside the other in a square under the mouse."""

    def __init__(self) -> None:
        self._cursor: Any = None

    @property
    def isOn(self) -> bool:
        """Return whether the reveal cursor is on."""
        return self._cursor is not None

    def set(self, on: bool) -> None:
        """Switch the reveal cursor on or off; do nothing where the module is missing."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.cleanup()
        make = _layerReveal()
        if on and make is not None:
            self._cursor = make()


def _layerReveal() -> Any:
    try:
        from CompareVolumes import LayerReveal
    except ImportError:
        return None
    return LayerReveal
