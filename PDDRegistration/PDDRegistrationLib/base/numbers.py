"""Format measured numbers for the user (`numberText`)."""

from __future__ import annotations


def numberText(value: float | None, digits: int) -> str:
    """Format a number with `digits` digits after the point; '-' if it is not known."""
    return "-" if value is None else f"{value:.{digits}f}"
