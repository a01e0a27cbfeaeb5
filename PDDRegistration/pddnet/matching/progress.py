"""Report the progress of a run (fraction, stage) to the caller, and time its stages. Needs no torch."""

from __future__ import annotations

import time

from ..core.result import Progress

INTERVAL = 0.2  # s between two calls of the callback
HALFWAY_TICKS = 40.0  # ticks after which a stage is assumed half done: their total number is unknown


def expected_shares(
    features: dict[str, float], matchings: int, *, refined: bool, detailed: bool = False, predicted: bool = False
) -> dict[str, float]:
    """List the stages of a run, in order, with the expected share of the time of each (in any unit).

    Args:
        features: the stages that compute features, with their shares.
        matchings: number of stages of discrete matching.
        refined: whether a refinement follows them.
        detailed: whether one by local contrast may follow.
        predicted: whether a network predicts the displacements.
    """
    return {
        "prepare": 1.0,
        **features,
        "align": 2.0,
        **{f"match {number + 1}": 4.0 for number in range(matchings)},
        **({"predict": 4.0} if predicted else {}),
        **({"refine": 3.0} if refined else {}),
        **({"detail": 4.0} if detailed else {}),
        "finish": 1.0,
    }


class Ticker:
    """Turn the stages of a run and the ticks within them into calls of a callback with (fraction, stage).

    Ticks may be as frequent as convenient. The callback may raise `Cancelled`; `tick` and `stage` pass it on.
    """

    def __init__(self, callback: Progress | None, shares: dict[str, float]) -> None:
        """Set up the stages; shares: stage -> its expected share of the time, in order."""
        total = sum(shares.values())
        self._callback, self._shares = callback, {name: share / total for name, share in shares.items()}
        self._stage, self._base, self._ticks, self._reported = "", 0.0, 0, 0.0
        self._started = self._called = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def stage(self, name: str) -> None:
        """End the previous stage and begin this one; those between them count as done."""
        self.close()
        names = list(self._shares)
        self._base = sum(self._shares[before] for before in names[: names.index(name)])
        self._stage, self._ticks, self._started = name, 0, time.perf_counter()
        self._call(self._base)

    def tick(self) -> None:
        """Count a piece of work as done; call the callback if INTERVAL has passed since the last call."""
        self._ticks += 1
        if time.perf_counter() - self._called >= INTERVAL:
            done = 1.0 - 1.0 / (1.0 + self._ticks / HALFWAY_TICKS)
            self._call(self._base + self._shares.get(self._stage, 0.0) * done)

    def close(self) -> None:
        """End the current stage, if one runs, and add its seconds to those of the same name."""
        if self._stage:
            before = self.seconds.get(self._stage, 0.0)  # of an earlier try
            self.seconds[self._stage] = before + time.perf_counter() - self._started
        self._stage = ""

    def _call(self, fraction: float) -> None:
        self._called = time.perf_counter()
        self._reported = max(self._reported, min(fraction, 1.0))  # a stage that runs once more does not go back
        if self._callback:
            self._callback(self._reported, self._stage)


class Clock:
    """Measure the seconds per stage of a run, in order, and their total since the start, for its report."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Store the time since the last lap as that of this stage."""
        now = time.perf_counter()
        self._laps[stage] = now - self._last
        self._last = now

    def add(self, laps: dict[str, float]) -> None:
        """Add stages that were measured elsewhere since the last lap."""
        self._laps.update(laps)
        self._last = time.perf_counter()

    @property
    def seconds(self) -> dict[str, float]:
        """Return the seconds of all stages, and the total."""
        return {**self._laps, "total": time.perf_counter() - self._start}
