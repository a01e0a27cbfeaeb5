"""Memory that a computation frees and needs again at once: for processes that do nothing but compute.

glibc gives blocks as large as a feature map back to the system when they are freed; fetched and cleared anew, they take
a tenth of the time of a registration. Elsewhere no setting is changed for that.
"""

from __future__ import annotations

import ctypes
import gc
import sys

# Settings of mallopt: how many blocks are mapped on their own, how much may lie free at the heap's end until it is
# given back, and how many heaps the threads have between them.
_MAPPED, _TRIM_THRESHOLD, _ARENAS = (-4, 0), (-1, (1 << 31) - 1), (-8, 1)
# New objects between two searches for garbage: torch makes a million while it loads, gone through again and again.
_NEW_OBJECTS = 1 << 20


def keep() -> None:
    """From now on what is freed stays with the process, and garbage is looked for less often."""
    gc.set_threshold(_NEW_OBJECTS)
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
