"""Settings of a process that does nothing but compute: memory, garbage collection, waiting threads.

They hold for the whole process, so only its entry may call `prepare` (the command, the worker), never the library: a
program that imports pddnet keeps its own.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

# Settings of mallopt: how many blocks are mapped on their own, how much may lie free at the heap's end until it is
# given back, and how many heaps the threads have between them.
_MAPPED, _TRIM_THRESHOLD, _ARENAS = (-4, 0), (-1, (1 << 31) - 1), (-8, 1)
# New objects between two searches for garbage: torch makes a million while it loads, gone through again and again.
_NEW_OBJECTS = 1 << 20
_thresholds: tuple[int, ...] = ()  # the garbage collector's own, while others hold


def prepare() -> None:
    """All settings; call it before torch is imported."""
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


def torch_is_loaded() -> None:
    """Look for garbage as often as before `collect_rarely`; nothing where it was not called."""
    global _thresholds
    if not _thresholds:
        return
    gc.set_threshold(*_thresholds)
    _thresholds = ()
    gc.freeze()  # both together: torch's objects count as old, and are not gone through at once
    gc.unfreeze()


def keep() -> None:
    """Keep freed memory in the process.

    glibc gives blocks as large as a feature map back to the system when they are freed; fetched and cleared anew, they
    take a tenth of the time of a registration. Elsewhere nothing is changed.
    """
    libc = _glibc()
    if libc is not None:
        for setting, value in (_MAPPED, _TRIM_THRESHOLD, _ARENAS):
            libc.mallopt(setting, value)


def give_back() -> None:
    """Give to the system what is free now, or only waits to be found so."""
    gc.collect()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
