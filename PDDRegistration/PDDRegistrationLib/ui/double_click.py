"""Tell the second click of a double click from a click that is meant (`DoubleClick`)."""

from __future__ import annotations

import time

import slicer


class DoubleClick:
    """For a button that starts something and then becomes its opposite, such as Apply, which becomes Cancel."""

    def __init__(self) -> None:
        self._ends = time.monotonic()

    def begin(self) -> None:
        """Take a click from now on, for as long as the user's system takes two clicks for one, for the second one."""
        self._ends = time.monotonic() + slicer.app.property("doubleClickInterval") / 1000

    @property
    def isOver(self) -> bool:
        """Return whether a click is one of its own."""
        return time.monotonic() >= self._ends
