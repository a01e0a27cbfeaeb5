"""Order in which the frames of a sequence are registered to one of them, and where each starts."""

from __future__ import annotations

from collections.abc import Container


def visiting_order(count: int, reference: int) -> list[int]:
    """List the frames but the reference such that each follows its neighbour on the side of the reference."""
    return [*range(reference + 1, count), *range(reference - 1, -1, -1)]


def start_frame(frame: int, reference: int, failed: Container[int]) -> int | None:
    """Return the nearest frame towards the reference that did not fail; None where that is the reference itself."""
    step = -1 if frame > reference else 1
    nearer = range(frame + step, reference, step)
    return next((number for number in nearer if number not in failed), None)
