"""Write lines and progress to standard output: a bar on a terminal, one line for each stage elsewhere (`Console`)."""

from __future__ import annotations

import shutil
import sys
import time

from . import standard_output

# Characters of the progress bar's line; the percentage, the stage and the seconds take the rest of the terminal.
_WIDEST_BAR, _NARROWEST_BAR = 30, 5
_STAGE_WIDTH = 24
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != ord("\n")}
_BESIDE_BAR = 45


def printable(text: str) -> str:
    """Write control characters as escapes: those in names of files, labels and points would command the terminal."""
    return text.translate(_ESCAPES)


class Console:
    """Write lines and progress to standard output.

    An object of this class is a `Progress`: call it with (fraction 0..1, stage). A closed pipe (`| head`) must not cost
    the user the outputs: from then on nothing is written, and the run continues.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout is not None and sys.stdout.isatty()
        self._start = time.perf_counter()
        self._stage = ""
        self._bar_stands = False
        self._reader_left = False

    def __call__(self, fraction: float, stage: str) -> None:
        """Show the fraction (0..1) of the work that is done, and the stage that runs now."""
        seconds = time.perf_counter() - self._start
        percent = round(100 * min(max(fraction, 0.0), 1.0))
        stage = printable(stage)  # it may name a file
        if self._terminal:
            self._write(f"\r{_bar(percent)} {percent:3d} %  {stage[:_STAGE_WIDTH]:{_STAGE_WIDTH}s}{seconds:6.1f} s")
            self._bar_stands = True
        elif stage != self._stage:
            self._write(f"{seconds:6.1f} s  {percent:3d} %  {stage}\n")
        self._stage = stage

    def line(self, text: str = "") -> None:
        """Print a line of text; the progress bar is erased first."""
        self.clear()
        self._write(printable(text) + "\n")

    def clear(self) -> None:
        """Erase the progress bar, if there is one."""
        if self._bar_stands:
            self._write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._bar_stands = False

    def _write(self, text: str) -> None:
        if sys.stdout is None or self._reader_left:
            return
        if not standard_output.write(text):
            self._terminal, self._reader_left = False, True


def _bar(percent: int) -> str:
    """Draw the progress bar in brackets, as wide as the terminal allows."""
    room = shutil.get_terminal_size().columns - _BESIDE_BAR
    width = min(_WIDEST_BAR, max(room, _NARROWEST_BAR))
    done = width * percent // 100
    return f"[{'#' * done}{'.' * (width - done)}]"
