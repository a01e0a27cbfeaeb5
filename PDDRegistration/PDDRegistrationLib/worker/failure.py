"""Describe why the worker did not answer a request, and define the exception for callers that wait (`Failure`)."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from pddnet.errors import Cancelled, InputError


@dataclass(frozen=True)
class Failure:
    """Reason why a request was not answered.

    kind: input (the message tells the user what to change), cancelled, memory, torch_missing, internal, died (the
    process ended), mismatch (it is not the one that belongs here). details: a traceback or the last lines of the log.
    """

    kind: str
    message: str
    details: str = ""

    def asException(self) -> Exception:
        """Return the exception for callers that wait: InputError, Cancelled or MemoryError, as the task raised them,
        else WorkerError."""
        kinds = {"input": InputError, "cancelled": Cancelled, "memory": MemoryError}
        return kinds[self.kind](self.message) if self.kind in kinds else WorkerError(self)


class WorkerError(RuntimeError):
    """Error of a request that a caller waited for; neither a wrong input nor a cancellation."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def cancelled() -> Failure:
    """Return the failure of a request that the user, or the end of the application, stopped."""
    return Failure("cancelled", _("The registration was cancelled."))


def noMemory() -> str:
    """Return the message for the user where this process, not the worker's, runs out of memory."""
    return _("The memory of this machine does not suffice; close other programs, or crop the volumes.")
