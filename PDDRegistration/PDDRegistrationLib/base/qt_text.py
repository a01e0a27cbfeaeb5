"""`showText`: sets the text of a label, and hides an empty one."""

from __future__ import annotations

from typing import Any


def showText(label: Any, text: str) -> None:
    """Set the text of a QLabel; an empty one is hidden."""
    label.text, label.visible = text, bool(text)
