"""A command that is stopped from outside, by Ctrl-C or by the system, and what it says that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import Cancelled

NOTHING_WRITTEN = "nothing was written"


class Terminated(BaseException):
    """The system asked the process to end; like KeyboardInterrupt it must pass by every `except Exception`."""


class Stopped(BaseException):
    """A stop of a command that tells what it leaves.

    reason: what stopped the command. left: the second half of the line for the user.
    """

    def __init__(self, reason: KeyboardInterrupt | Terminated | Cancelled, left: str) -> None:
        super().__init__(left)
        self.reason, self.left = reason, left


@contextmanager
def leaving(left: Callable[[], str]) -> Iterator[None]:
    """Let a stop within this block say what it leaves; `left` is called when that happens.

    Raises:
        Stopped: in place of KeyboardInterrupt, Terminated and Cancelled.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated, Cancelled) as reason:
        raise Stopped(reason, left()) from reason
