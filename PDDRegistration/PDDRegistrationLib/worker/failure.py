"""`Failure`: why the worker did not answer a request, and the exception for callers that wait."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from pddnet.errors import Cancelled, InputError


@dataclass(frozen=True)
class Failure:
    """Why a request was not answered.

    kind: input (the message tells the user what to change), cancelled, memory, torch_missing, internal, died (the
    process ended), mismatch (it is not the one that belongs here). details: a traceback or the last lines of the log.
    """

    kind: str
    message: str
    details: str = ""

    def asException(self) -> Exception:
        """For callers that wait: InputError, Cancelled or MemoryError, as the task raised them, else WorkerError."""
        kinds = {"input": InputError, "cancelled": Cancelled, "memory": MemoryError}
        return kinds[self.kind](self.message) if self.kind in kinds else WorkerError(self)


class WorkerError(RuntimeError):
    """A request that was waited for failed; neither a wrong input nor a cancellation."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def cancelled() -> Failure:
    """The user, or the end of the application, stopped the request."""
    return Failure("cancelled", _("The registration was cancelled."))


def noMemory() -> str:
    """What to tell the user where this process, not the worker's, runs out of memory."""
    return _("The memory of this machine does not suffice; close other programs, or crop the volumes.")
