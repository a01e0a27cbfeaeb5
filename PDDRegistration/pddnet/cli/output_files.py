"""`output_files`: the output files of a subcommand, which also says what a stop leaves of them."""

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
    """`OutputFiles(outputs, inputs)` as a context.

    Raises:
        InputError: as `OutputFiles`.
        Stopped: the command was stopped within the block.
    """
    files = OutputFiles(outputs, inputs)
    with files, leaving(lambda: "the outputs are complete" if files.committed else NOTHING_WRITTEN):
        yield files
