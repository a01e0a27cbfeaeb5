"""Colours that can be read in light and in dark windows. Everything else takes the window's own."""

from __future__ import annotations

import slicer

ON_LIGHT, ON_DARK = "#b00020", "#ff8080"
MIDDLE = 128  # of the lightness, 0..255


def warningColour() -> str:
    """Of words that warn of folding or failure, for the window as it is now."""
    app = getattr(slicer, "app", None)  # there is none where tables are filled without a window
    dark = app is not None and app.palette().window().color().lightness() < MIDDLE
    return ON_DARK if dark else ON_LIGHT
