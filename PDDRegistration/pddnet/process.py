"""Set up a process that does nothing but compute: its memory, its garbage collection, its waiting threads.

They hold for the whole process, so only its entry may call `prepare` (the command, the worker), never the library: a
program that imports pddnet keeps its own.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

# Parameters of glibc's mallopt (malloc.h) and the values that they get.
_M_MMAP_MAX = (-4, 0)  # no block is mapped on its own
_M_TRIM_THRESHOLD = (-1, (1 << 31) - 1)  # bytes that may lie free at the heap's end: as many as can be
_M_ARENA_MAX = (-8, 1)  # all threads share one heap
# New objects between two searches for garbage. torch makes a million while it loads; each search goes through them all.
_NEW_OBJECTS = 1 << 20
_thresholds: tuple[int, ...] = ()  # the garbage collector's usual thresholds, while `collect_rarely` holds


def prepare() -> None:
    """Change all settings; call it before torch is imported."""
    wait_passively()
    collect_rarely()
    keep()


def wait_passively() -> None:
    """Let torch's threads wait for each other without spinning.

    With one other busy process on two cores, spinning makes the cost volume fifteen times slower. OpenMP reads this
    when torch is first imported; a value that the user set stays. Child processes inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def collect_rarely() -> None:
    """Look for garbage less often until torch is loaded."""
    global _thresholds
    _thresholds = _thresholds or gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS)


def restore_garbage_collection() -> None:
    """Look for garbage as often as before `collect_rarely`; do nothing where it was not called."""
    global _thresholds
    if not _thresholds:
        return
    gc.set_threshold(*_thresholds)
    _thresholds = ()
    gc.freeze()  # both together: torch's objects count as old, and are not gone through at once
    gc.unfreeze()


def keep() -> None:
    """Keep freed memory in the process, so that it is used again.

    glibc gives blocks as large as a feature map back to the system when they are freed. To fetch and clear them again
    takes a tenth of the time of a registration. Without glibc nothing is changed.
    """
    libc = _glibc()
    if libc is not None:
        for parameter, value in (_M_MMAP_MAX, _M_TRIM_THRESHOLD, _M_ARENA_MAX):
            libc.mallopt(parameter, value)


def give_back() -> None:
    """Collect garbage, and give free memory back to the system."""
    gc.collect()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
