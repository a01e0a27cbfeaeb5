"""The Dask cluster: one on this machine, sized to its cores and memory, or one that runs already."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..io.memory import free_bytes

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

USUAL_BYTES = 3e9  # what a registration of two CTs takes
CONNECT_SECONDS = 30
STARTS = 2  # of the local cluster, at most
AT_ONCE = 500  # tasks in one message to the scheduler
_LOST = "the connection to the Dask scheduler was lost"
_NEEDED = ("dask", "distributed", "jinja2")


def check_installed() -> None:
    """Raise InputError where a package that only batches need is missing."""
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"pddnet batch needs {name}, which is not installed; install it: pip install 'pddnet[cluster]'"
            ) from None


def size_of(pairs: int, limit_mb: float = 0.0) -> int:
    """Return how many registrations this machine can run at the same time, at least one.

    pairs: no more than that. limit_mb: memory of one; 0: as is usual.
    """
    by_memory = free_bytes() / (limit_mb * 2**20 or USUAL_BYTES)
    return int(max(min(cores(), by_memory, pairs), 1))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def local_cluster(workers: int, resources: dict[str, float] | None = None) -> Iterator[Client]:
    """Start workers on this machine, each with these resources, and end them after the block.

    Raises:
        InputError: they cannot be started.
    """
    import dask
    from distributed import Client

    # Each worker is a process that only waits for the process that registers: its memory says nothing.
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": None}
    options |= {"preload": ["pddnet.batch.worker_start"], "silence_logs": logging.CRITICAL, "dashboard_address": ":0"}
    options |= {"resources": resources} if resources else {}
    with (
        dask.config.set({"distributed.worker.use-file-locking": False}),
        _started(options) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _started(options: dict[str, Any]) -> LocalCluster:
    """Start the cluster; once more where a worker died meanwhile."""
    from distributed import LocalCluster

    for _ in range(STARTS):
        try:
            return LocalCluster(**options)
        except (RuntimeError, OSError) as error:
            reason = str(error)
    raise InputError(f"Dask cannot start workers on this machine ({reason}); close other programs, or give --workers 1")


@contextmanager
def running_cluster(address: str) -> Iterator[Client]:
    """Connect to the scheduler of a cluster that runs; it goes on after the block.

    Raises:
        InputError: nothing answers there.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(f"{address}: no Dask scheduler answers ({error}); correct --scheduler, or start one") from None
    with client:
        yield client


def has_workers(client: Client) -> bool:
    """Tell whether a cluster has any worker yet; those of a queue come when it is their turn."""
    return bool(client.scheduler_info()["workers"])


def run_tasks(
    client: Client,
    function: Callable[[dict[str, Any]], dict[str, Any]],
    arguments: Sequence[dict[str, Any]],
    resources: dict[str, float] | None = None,
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Run a task for each of the arguments; yield (its number, what it returned), as they end.

    A text in place of what it returned is the reason why the cluster could not run it.
    """
    from distributed import as_completed

    futures = client.map(function, arguments, pure=False, retries=0, resources=resources, batch_size=AT_ONCE)
    numbers = {future.key: number for number, future in enumerate(futures)}
    for future in as_completed(futures):
        yield numbers[future.key], _result(future)
        future.release()


def _result(future: Any) -> dict[str, Any] | str:
    if future.status == "finished":
        try:
            result: dict[str, Any] = future.result()
        except Exception:  # of many kinds, by where it was lost; the files of the pair tell more
            return _LOST
        return result
    if future.status == "error":
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            return "the Dask workers that had it ended one after the other"
        return f"the Dask worker failed ({type(error).__name__}: {error})"
    return _LOST
