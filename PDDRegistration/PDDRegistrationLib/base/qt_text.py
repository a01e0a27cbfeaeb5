"""`showText`: a label that takes no room while it says nothing."""

from __future__ import annotations

from typing import Any


def showText(label: Any, text: str) -> None:
    """Set the text of a QLabel; an empty one is hidden."""
    label.text, label.visible = text, bool(text)
