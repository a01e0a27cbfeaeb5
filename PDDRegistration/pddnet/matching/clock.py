"""`Clock`: seconds per stage of a run, for its report."""

from __future__ import annotations

import time


class Clock:
    """Seconds per stage, in order, and their total since the start."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """What passed since the last lap belongs to this stage."""
        now = time.perf_counter()
        self._laps[stage] = now - self._last
        self._last = now

    def add(self, laps: dict[str, float]) -> None:
        """Stages that were measured by someone else since the last lap."""
        self._laps.update(laps)
        self._last = time.perf_counter()

    @property
    def seconds(self) -> dict[str, float]:
        """All stages and the total."""
        return {**self._laps, "total": time.perf_counter() - self._start}
