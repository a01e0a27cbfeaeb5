"""Drive the button that shows a chart: pressed while the layout has a place for the chart (`PlotButton`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..scene.layout_change import LayoutChange


class PlotButton:
    """A press shows the chart, where the layout has no plot in one that has; the next press restores the layout."""

    def __init__(self, button: Any, showChart: Callable[[], None]) -> None:
        """Connect the checkable button; showChart: may change the layout."""
        self._button, self._showChart, self._layout = button, showChart, LayoutChange()
        button.connect("clicked(bool)", self._onClicked)

    def release(self) -> None:
        """Restore the layout, and release the button."""
        self._layout.restore()
        self._button.checked = False

    def _onClicked(self, checked: bool) -> None:
        if checked:
            self._layout.watch(self._showChart)
            self._button.checked = self._layout.isOn
        else:
            self.release()
