"""Register the pairs of a batch in a process that serves requests (`pddnet.worker.server`): one request, one pair.

A pair is registered by the code of `pddnet register`. What belongs to the fixed scan is kept for the next pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..core.memo import Memo
from ..core.result import Progress
from ..errors import InputError
from . import register as command
from .main import build_parser
from .stops import Stopped

_KEPT = Memo()


def register(progress: Progress, *, arguments: list[str]) -> dict[str, Any]:
    """Register one pair, write its files, all or none, and return its report.

    arguments: those of `pddnet register`.

    Raises:
        InputError, TorchMissing, Cancelled, MemoryError: as the command would report them.
    """
    args = build_parser("register").parse_args(["register", *arguments])
    with reasons_passed_on():
        command.check_arguments(args)
        return command.carry_out(args, progress, _KEPT)


@contextmanager
def reasons_passed_on() -> Iterator[None]:
    """Let a command's exceptions leave this block as those that the server knows.

    Raises:
        InputError: also where a file cannot be written. Cancelled: in place of `Stopped`.
    """
    try:
        yield
    except Stopped as stop:
        raise stop.reason from None
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        raise InputError(f"{error.filename}: {error.strerror}; correct the path or free space") from error


TASKS = {"register": register}
