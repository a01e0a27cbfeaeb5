"""Provide `Work`, the progress callback and chunk size of long loops, and run such loops on all cores of a CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

CACHED = 1 << 18  # values at once: a core's cache holds a few such pieces, and distributing them costs little
_STARTING = threading.Lock()  # held while torch's number of threads is temporarily changed


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Work:
    """Progress callback and chunk size of long loops.

    tick: called many times a second; it may raise `Cancelled`. gpu_values: float32 values to compute at once on a GPU.
    """

    tick: Callable[[], None] = _nothing
    gpu_values: int = 1 << 26

    def at_once(self, device: torch.device) -> int:
        """Return how many values to compute at once on a device."""
        return CACHED if device.type == "cpu" else self.gpu_values

    def each(self, function: Callable[..., None], parts: Iterable[tuple[Any, ...]], device: torch.device) -> None:
        """Call function(*part) for every part, in any order; the parts must not depend on each other.

        On a CPU there is one thread per core, each with torch's own threads off: operations on a few thousand values
        take less time than two threads need to synchronise after each of them. They adopt the caller's gradient mode,
        which torch keeps per thread, like its number of threads: with another number, sums would be rounded in another
        order.
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
    """Make a pool of `count` threads with torch's own threads off; elsewhere torch keeps using `cores` threads.

    torch.set_num_threads is meant for the calling thread, but any thread of the process that uses torch for the first
    time later starts with the number set last. So all threads of the pool start here, and the number is restored before
    they compute anything.
    """
    told, go = threading.Semaphore(0), threading.Event()

    def start() -> None:
        torch.get_num_threads()  # initialises this thread, which would otherwise undo the next line
        torch.set_num_threads(1)
        told.release()
        go.wait()  # occupies the thread, so that every thread of the pool gets one `start`

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
        go.set()  # also if starting was interrupted
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(cores)


ALONE = Work()  # without progress
