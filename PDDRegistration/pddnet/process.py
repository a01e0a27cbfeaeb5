"""Set up a process that only computes: memory, garbage collection, waiting threads.

The settings apply to the whole process, so only its entry point may call `prepare` (the command, the worker), never the
library: a program that imports pddnet keeps its own settings.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import sys

# Parameters of glibc's mallopt (malloc.h) and the values set for them.
_M_MMAP_MAX = (-4, 0)  # number of blocks mapped separately: none
_M_TRIM_THRESHOLD = (-1, (1 << 31) - 1)  # free bytes at the heap's end that are kept: the largest value
_M_ARENA_MAX = (-8, 1)  # all threads share one heap
# New objects between two garbage collections. torch makes a million while it loads; a full collection visits them all.
_NEW_OBJECTS = 1 << 20
_thresholds: tuple[int, ...] = ()  # the previous thresholds, while `collect_rarely` applies


LEAST_ADDRESS_SPACE_MB = 1200  # what Python, ITK and torch map before they compute anything


def address_space_mb() -> float:
    """Return how much memory this process may map, in MB (`ulimit -v`); infinity where nothing limits it."""
    try:
        import resource  # not on Windows
    except ImportError:
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit / 2**20


def prepare() -> None:
    """Apply all settings; call this before torch is imported."""
    wait_passively()
    collect_rarely()
    keep()


def wait_passively() -> None:
    """Let torch's threads wait for each other without spinning.

    With one other busy process on two cores, spinning makes the cost volume fifteen times slower. OpenMP reads the
    environment variable when torch is first imported; a value that the user set is kept. Child processes inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def collect_rarely() -> None:
    """Collect garbage less often, until `restore_garbage_collection`: loading torch is faster."""
    global _thresholds
    _thresholds = _thresholds or gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS)


def restore_garbage_collection() -> None:
    """Restore the garbage collection thresholds that `collect_rarely` replaced; do nothing where it was not called."""
    global _thresholds
    if not _thresholds:
        return
    gc.set_threshold(*_thresholds)
    _thresholds = ()
    gc.freeze()  # torch's million objects live as long as the process: no search for garbage visits them


def keep() -> None:
    """Keep freed memory in the process for reuse.

    glibc returns blocks as large as a feature map to the system when they are freed. To obtain and clear them again
    takes a tenth of the time of a registration. Without glibc nothing changes.
    """
    libc = _glibc()
    if libc is not None:
        for parameter, value in (_M_MMAP_MAX, _M_TRIM_THRESHOLD, _M_ARENA_MAX):
            libc.mallopt(parameter, value)


def give_back() -> None:
    """Collect garbage, and return free memory to the system."""
    gc.unfreeze()  # also what was garbage when torch was loaded
    gc.collect()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
