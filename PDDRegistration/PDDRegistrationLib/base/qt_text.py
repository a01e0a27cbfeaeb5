"""Set the text of a label, and hide the label if the text is empty (`showText`)."""

from __future__ import annotations

from typing import Any


def showText(label: Any, text: str) -> None:
    """Set the text of a QLabel, and hide the label if the text is empty."""
    label.text, label.visible = text, bool(text)
