"""`Work`: how a long computation proceeds, passed down to whatever loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CACHED = 1 << 16  # values, so that they stay in a core's cache


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Work:
    """Where to tell that work was done, and how much to take at once.

    tick: called many times a second; it may raise `Cancelled`. gpu_values: float32 values that a GPU works on at once.
    """

    tick: Callable[[], None] = _nothing
    gpu_values: int = 1 << 26

    def at_once(self, device: torch.device) -> int:
        """How many values to work on at once on that device."""
        return CACHED if device.type == "cpu" else self.gpu_values


ALONE = Work()  # nobody watches
