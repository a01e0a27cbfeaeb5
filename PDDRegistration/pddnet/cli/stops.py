"""Handle a command that is interrupted, by Ctrl-C or by the system, and report the state of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import Cancelled

NOTHING_WRITTEN = "nothing was written"


class Terminated(BaseException):
    """Raised when the system asks the process to end; like KeyboardInterrupt it must pass every `except Exception`."""


class Stopped(BaseException):
    """Raised when a command is interrupted; carries a message on the state of its outputs.

    reason: the interruption. left: the message, the second half of the line for the user.
    """

    def __init__(self, reason: KeyboardInterrupt | Terminated | Cancelled, left: str) -> None:
        super().__init__(left)
        self.reason, self.left = reason, left


@contextmanager
def leaving(left: Callable[[], str]) -> Iterator[None]:
    """Convert an interruption in this block into `Stopped` with the message that `left` then returns.

    Raises:
        Stopped: in place of KeyboardInterrupt, Terminated and Cancelled.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated, Cancelled) as reason:
        raise Stopped(reason, left()) from reason
