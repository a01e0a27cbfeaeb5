"""`quiet`: keeps what C libraries print off the terminal, whichever thread calls them. torch-free."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
_USERS: set[object] = set()  # one for every block that runs
_SAVED: list[tuple[int, int]] = []  # while a block runs: the descriptors, and copies of what they were


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what C libraries print (ITK, HDF5, GDCM, MetaIO) off the terminal: their errors come back as exceptions.

    Descriptors belong to the process, not to a thread: the first user redirects them and the last one restores them.
    """
    user = object()
    try:
        with _LOCK:
            if not _USERS:
                _redirect()
            _USERS.add(user)
        yield
    finally:
        with _LOCK:
            _USERS.discard(user)
            if not _USERS:
                _restore()


def _redirect() -> None:
    """Point standard output and error at the null device; an application without a console has neither."""
    try:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            _SAVED.append((number, os.dup(number)))
        null = os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError, AttributeError):
        _restore()
        return
    for number, _ in _SAVED:
        os.dup2(null, number)
    os.close(null)


def _restore() -> None:
    while _SAVED:
        number, copy = _SAVED.pop()
        os.dup2(copy, number)
        os.close(copy)
