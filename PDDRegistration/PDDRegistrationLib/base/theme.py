"""Choose the colour of warnings, readable in light and in dark windows (`warningColour`, `warningBrush`)."""

from __future__ import annotations

from typing import Any

import slicer

ON_LIGHT, ON_DARK = "#b00020", "#ff8080"
MIDDLE_LIGHTNESS = 128  # of 0..255


def warningColour() -> str:
    """Return the colour of words that warn of folding or failure, for the current theme of the window."""
    app = getattr(slicer, "app", None)  # there is none where tables are filled without a window
    dark = app is not None and app.palette().window().color().lightness() < MIDDLE_LIGHTNESS
    return ON_DARK if dark else ON_LIGHT


def warningBrush() -> Any:
    """Return that colour for an item of a table, as QBrush."""
    import qt  # not at the top: measures are phrased without a window, too

    return qt.QBrush(qt.QColor(warningColour()))
