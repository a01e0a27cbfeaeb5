"""Memory that a computation frees and needs again at once."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's mallopt: blocks from which on one is mapped on its own, and what is freed at the heap's end until it is given
# back. The first is the most that glibc takes; its own defaults are the values after.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: (1 << 31) - 1}
_USUAL = {_MMAP_THRESHOLD: 128 << 10, _TRIM_THRESHOLD: 128 << 10}


@contextmanager
def kept() -> Iterator[None]:
    """What is freed within stays with the process until the end, where glibc is; elsewhere nothing happens.

    Given back to the system at once, as glibc does with blocks as large as a feature map, it has to be fetched and
    cleared anew for the next one: a tenth of the time of a registration.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    for setting, value in _KEPT.items():
        libc.mallopt(setting, value)
    try:
        yield
    finally:
        for setting, value in _USUAL.items():
            libc.mallopt(setting, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
