"""Open the output files of a subcommand; a stopped command reports the state of these files (`output_files`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..io.atomic_outputs import OutputFiles
from .stops import NOTHING_WRITTEN, leaving


@contextmanager
def output_files(
    outputs: Mapping[str, tuple[str | Path | None, tuple[str, ...]]], inputs: Iterable[str | Path] = ()
) -> Iterator[OutputFiles]:
    """Open `OutputFiles(outputs, inputs)` as a context.

    Raises:
        InputError: as for `OutputFiles`.
        Stopped: the command was stopped within the block.
    """
    files = OutputFiles(outputs, inputs)
    with files, leaving(lambda: "the outputs are complete" if files.committed else NOTHING_WRITTEN):
        yield files
