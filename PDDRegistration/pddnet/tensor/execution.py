"""`Work`: progress ticks and chunk sizes, passed down to every long loop; and loops over the cores of a CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

CACHED = 1 << 18  # values at once: a core's cache holds a few such pieces, and handing them out costs little
_STARTING = threading.Lock()  # held while torch's number of threads is not the true one


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Work:
    """Whom to tell that work was done, and how much to compute at once.

    tick: called many times a second; it may raise `Cancelled`. gpu_values: float32 values that a GPU works on at once.
    """

    tick: Callable[[], None] = _nothing
    gpu_values: int = 1 << 26

    def at_once(self, device: torch.device) -> int:
        """How many values to work on at once on that device."""
        return CACHED if device.type == "cpu" else self.gpu_values

    def each(self, function: Callable[..., None], parts: Iterable[tuple[Any, ...]], device: torch.device) -> None:
        """function(*part) for every part, in any order; the parts must not depend on each other.

        On a CPU one thread per core, each with torch's own threads off: operations on a few thousand values cost less
        than two threads need to meet after each of them. They follow the caller's gradient mode, which torch keeps per
        thread, as it does how many threads it takes: a thread that was not told would round its sums in another order.
        """
        with _STARTING:
            cores = torch.get_num_threads()
        if device.type != "cpu" or cores == 1:
            for part in parts:
                self.tick()
                function(*part)
            return
        gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def one(*part: Any) -> None:
            with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
                function(*part)

        parts = list(parts)
        with _single_threads(min(cores, len(parts)) or 1, cores) as pool:
            for done in as_completed([pool.submit(one, *part) for part in parts]):
                self.tick()
                done.result()


@contextmanager
def _single_threads(count: int, cores: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `count` threads with torch's own threads off; outside it torch keeps taking `cores`.

    torch.set_num_threads is meant for the calling thread, but any thread of the process that meets torch later starts
    with the number that was set last. So the pool's threads all start here, and the number is set back before they
    compute anything.
    """
    told, go = threading.Semaphore(0), threading.Event()

    def start() -> None:
        torch.get_num_threads()  # a thread's first look at the number would undo what was set before
        torch.set_num_threads(1)
        told.release()
        go.wait()  # so that every thread gets one of these

    pool = ThreadPoolExecutor(count)
    try:
        with _STARTING:
            for _ in range(count):
                pool.submit(start)
            for _ in range(count):
                told.acquire()
            torch.set_num_threads(cores)
        go.set()
        yield pool
    finally:
        go.set()  # also where the start was interrupted
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(cores)


ALONE = Work()  # without progress
