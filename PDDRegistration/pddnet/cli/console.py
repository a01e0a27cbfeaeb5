"""What the command shows: a progress bar on a terminal, a line per stage elsewhere. Standard output only."""

from __future__ import annotations

import shutil
import sys
import time


class Console:
    """Lines and progress on standard output.

    An object of this class is a `Progress`: call it with (fraction 0..1, stage). A reader that goes away (`| head`)
    must not cost the user the outputs, so that nothing more is written then.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout is not None and sys.stdout.isatty()
        self._start = time.perf_counter()
        self._stage = ""
        self._bar = False
        self._reader_left = False

    def __call__(self, fraction: float, stage: str) -> None:
        """Show how far the work is."""
        seconds = time.perf_counter() - self._start
        percent = round(100 * min(max(fraction, 0.0), 1.0))
        if self._terminal:
            width = min(30, max(shutil.get_terminal_size().columns - 45, 5))
            done = width * percent // 100
            self._write(f"\r[{'#' * done}{'.' * (width - done)}] {percent:3d} %  {stage[:24]:24s}{seconds:6.1f} s")
            self._bar = True
        elif stage != self._stage:
            self._write(f"{seconds:6.1f} s  {percent:3d} %  {stage}\n")
        self._stage = stage

    def line(self, text: str = "") -> None:
        """Print text; a bar that stands there is wiped first."""
        self.clear()
        self._write(text + "\n")

    def clear(self) -> None:
        """Wipe the bar."""
        if self._bar:
            self._write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._bar = False

    def _write(self, text: str) -> None:
        if sys.stdout is None or self._reader_left:
            return
        encoding = sys.stdout.encoding or "ascii"
        try:
            sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
            sys.stdout.flush()
        except OSError:
            self._terminal, self._reader_left = False, True
