"""Progress of a run: fractions and stages to the caller, seconds per stage for the report."""

from __future__ import annotations

import time

from ..core.result import Progress

INTERVAL = 0.2  # s between two calls


class Ticker:
    """Turns the stages of a run into (fraction, stage) calls; what computes calls `tick` as often as it likes.

    The callback may raise `Cancelled`; it passes through.
    """

    def __init__(self, callback: Progress | None, shares: dict[str, float]) -> None:
        """shares: stage -> its expected share of the time, in order."""
        total = sum(shares.values())
        self._callback, self._shares = callback, {name: share / total for name, share in shares.items()}
        self._stage, self._base, self._ticks = "", 0.0, 0
        self._started = self._called = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def stage(self, name: str) -> None:
        """The previous stage is over, this one begins."""
        self.close()
        if self._stage:
            self._base += self._shares[self._stage]
        self._stage, self._ticks, self._started = name, 0, time.perf_counter()
        self._call(self._base)

    def tick(self) -> None:
        """Some work was done."""
        self._ticks += 1
        if time.perf_counter() - self._called >= INTERVAL:
            done = 1.0 - 1.0 / (1.0 + self._ticks / 40.0)  # how many there will be is not known
            self._call(self._base + self._shares[self._stage] * done)

    def close(self) -> None:
        """The current stage is over."""
        if self._stage:
            self.seconds[self._stage] = time.perf_counter() - self._started

    def _call(self, fraction: float) -> None:
        self._called = time.perf_counter()
        if self._callback:
            self._callback(min(fraction, 1.0), self._stage)
