"""`numberText`: a measured number as the user reads it."""

from __future__ import annotations


def numberText(value: float | None, digits: int) -> str:
    """The number with so many digits after the point; '-' where it is not known."""
    return "-" if value is None else f"{value:.{digits}f}"
