"""slicer.i18n without translations: texts come back as they are."""

from __future__ import annotations


def tr(text: str) -> str:
    """The text in the user's language."""
    if type(text) is not str:
        raise TypeError(f"tr takes a string literal, not {type(text).__name__}")
    return text


def translate(context: str, text: str) -> str:
    """The text in the user's language, as used in `context`."""
    return tr(text)
