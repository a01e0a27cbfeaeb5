"""One task of the cluster: register one pair, unless it is whole, or another run works on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import __version__
from .claim import claimed
from .jobs import Job
from .process import NotRegistered, ProcessPool
from .records import Outcome, row_of, whole

POOL = ProcessPool()


def register_pair(job: dict[str, Any]) -> dict[str, Any]:
    """Register a pair on the machine where this runs, and return the fields of its `Outcome`.

    job: the fields of `Job`. What goes wrong with the pair is its reason, no exception.
    """
    return vars(outcome_of(Job(**job), _registered))


def outcome_of(job: Job, register: Callable[[Job], dict[str, Any]]) -> Outcome:
    """Register a pair, unless it is whole or another run works on it, and tell what became of it.

    register: writes the files of the pair, all or none, and returns the report. Its exceptions pass, but OSError and
    NotRegistered.
    """
    if job.made["version"] != __version__:
        return Outcome(job.id, reason=f"the worker has pddnet {__version__}, the batch {job.made['version']}")
    try:
        with claimed(job.path("report").parent) as ours:
            if not ours:
                return Outcome(job.id, reason="another run works on it", busy=True)
            found = whole(job, at_once=False)
            if found:
                return Outcome(job.id, found, kept=True)
            job.path("sidecar").unlink(missing_ok=True)  # from now on it is not whole, until all its files are written
            return Outcome(job.id, row_of(register(job)))
    except NotRegistered as error:
        return Outcome(job.id, reason=str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return Outcome(job.id, reason=f"{place}{error.strerror or error}; free space, or correct the folder")


def _registered(job: Job) -> dict[str, Any]:
    """Register, and return the report."""
    with POOL.borrowed(job.runner, job.threads) as process:
        return process.register(job.arguments, job.limit_mb)
