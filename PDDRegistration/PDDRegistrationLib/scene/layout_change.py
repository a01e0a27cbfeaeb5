"""Change the layout of the views for a while (`LayoutChange`)."""

from __future__ import annotations

from collections.abc import Callable

import slicer


class LayoutChange:
    """Change of the layout, which `restore` undoes, unless the user has chosen another layout meanwhile."""

    def __init__(self) -> None:
        self._former: int | None = None
        self._set: int | None = None

    @property
    def isOn(self) -> bool:
        """Return whether there is a former layout to go back to."""
        return self._former is not None

    def watch(self, act: Callable[[], object]) -> None:
        """Call a function that may change the layout, and remember the former one."""
        former = _layout()
        act()
        if _layout() != former:
            self._former, self._set = former, _layout()

    def restore(self) -> None:
        """Go back to the former layout."""
        former, self._former = self._former, None
        if former is not None and _layout() == self._set:
            slicer.app.layoutManager().setLayout(former)


def _layout() -> int | None:
    manager = slicer.app.layoutManager()
    return manager.layout if manager is not None else None
