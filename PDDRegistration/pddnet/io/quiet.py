"""`quiet`: what C libraries print stays off the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what C libraries print (ITK, HDF5, GDCM, MetaIO) off the terminal: their errors come back as exceptions."""
    saved = []
    try:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            saved.append((number, os.dup(number)))
        null = os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError, AttributeError):  # an application without a console has no such descriptors
        for _, copy in saved:
            os.close(copy)
        yield
        return
    try:
        for number, _ in saved:
            os.dup2(null, number)
        yield
    finally:
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)
        os.close(null)
