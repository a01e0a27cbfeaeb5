"""Estimate the remaining time of a run from the speed of its progress (`TimeLeft`)."""

from __future__ import annotations

import time
from collections.abc import Callable

from slicer.i18n import tr as _

LEAST_SHARE_DONE = 0.08  # of the run that must be done before an estimate
LEAST_SECONDS = 1.0
MINUTE = 60


class TimeLeft:
    """Estimate of the remaining time, from the first progress above zero: until then the process loads PyTorch."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start: tuple[float, float] | None = None  # time and share

    def seconds(self, share: float) -> float | None:
        """Return the remaining time in seconds; None where it is too early to estimate."""
        now = self._clock()
        if self._start is None:
            self._start = (now, share) if share > 0 else None
            return None
        done, took = share - self._start[1], now - self._start[0]
        if done < LEAST_SHARE_DONE or took < LEAST_SECONDS:
            return None
        return took * (1 - share) / done

    def text(self, share: float) -> str:
        """Format the text of the progress bar: '%p %' and, once it can be estimated, the remaining time."""
        left = self.seconds(share)
        if left is None:
            return "%p %"
        if left > 1.5 * MINUTE:
            return _("{percent}, about {count} min left").format(percent="%p %", count=round(left / MINUTE))
        if left < 5:
            return _("{percent}, a few seconds left").format(percent="%p %")
        return _("{percent}, about {count} s left").format(percent="%p %", count=5 * round(left / 5))
