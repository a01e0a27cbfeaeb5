"""Write the log of this session's runs, as lines of text that can be copied (`RunLog`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from pddnet.core.image import Image

from ..base.result_texts import stageText
from ..registration.selection import Selection
from ..worker.failure import Failure

MOST_LINES = 500


class RunLog:
    """Log of runs; every line is passed to `write` at once."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._began, self._stage = clock(), ""

    def begin(self, selection: Selection, request: dict[str, Any]) -> None:
        """Log the start of a run."""
        self._began, self._stage = self._clock(), ""
        names = (selection.movingVolume.GetName(), selection.fixedVolume.GetName())
        self._write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}  {names[0]} to {names[1]}")
        how = f"{selection.transformType}, preset {selection.preset}, device {selection.device}"
        self._write(f"{how}{_settings(selection.adjust)}")
        for side in ("fixed", "moving"):
            self._write(f"{side}: {_nodeText(request[side])}")
        used = [name for name in ("initial_transform", "fixed_mask", "moving_mask", "fixed_labels") if name in request]
        if used:
            self._write(f"with {', '.join(name.replace('_', ' ') for name in used)}")

    def stage(self, stage: str) -> None:
        """Log the progress of a run; only a new stage is a line."""
        if stage != self._stage:
            self._stage = stage
            self._line(stageText(stage))

    def finish(self, report: dict[str, Any], lines: Iterable[str]) -> None:
        """Log the success of a run; lines: the output of its process."""
        verdict = report["verdict"]
        self._line(f"{verdict['status']} (risk {verdict['risk']:.2f}) on {report['device']}")
        for text in (*verdict["reasons"], *report["warnings"], *lines):
            self._write(f"  {text}")
        self._write("  " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report["seconds"].items()))

    def fail(self, failure: Failure, lines: Iterable[str]) -> None:
        """Log the failure or cancellation of a run; lines: the output of its process."""
        self._line(f"{failure.kind}: {failure.message}")
        for text in (*failure.details.splitlines(), *lines):
            self._write(f"  {text}")

    def _line(self, text: str) -> None:
        self._write(f"{self._clock() - self._began:7.1f} s  {text}")


def _settings(adjust: Any) -> str:
    return "".join(f", {name.replace('_', ' ')} {value}" for name, value in adjust.items())


def _nodeText(image: Image) -> str:
    size, spacing = (" x ".join(f"{n:.4g}" for n in numbers) for numbers in (image.grid.size, image.grid.spacing))
    return f"{size} voxels of {spacing} mm, {image.array.dtype}"
