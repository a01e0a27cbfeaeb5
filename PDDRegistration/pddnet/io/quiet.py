"""`quiet`: keeps what C libraries print off the terminal, whichever thread calls them, and tells it. torch-free."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_LOCK = threading.Lock()
_USERS: set[object] = set()  # one for every block that runs
_SAVED: list[tuple[int, int]] = []  # while a block runs: the descriptors, and copies of what they were
_FILE: list[int] = []  # while a block runs: the file to which both descriptors point, unless that is the null device
_MOST_BYTES = 1 << 20  # of what was printed in a block; the rest is not looked at
_WARNING = re.compile(r"^WARNING: In [^\n]*\n((?:[^\n]+\n?)+)", re.MULTILINE)
_DECIDED = (
    "Non uniform sampling",  # of DICOM slices: `dicom` tells by how many mm
    "No Series were found",  # in one of several folders: `dicom` tells where there is none at all
    "unexpected scales in",  # an sform or qform: `nifti_forms` tells by how many mm
)
_CLASS = re.compile(r"^\w+ \((?:0x)?[0-9a-fA-F]+\): ")


@dataclass
class Heard:
    """What was printed while a block of `quiet` ran, also by other threads; known when the block has ended."""

    text: str = ""

    @property
    def warnings(self) -> list[str]:
        """Return the warnings of ITK, each in one line, without the place in its code."""
        found = (" ".join(_CLASS.sub("", match).split()) for match in _WARNING.findall(self.text))
        return list(dict.fromkeys(found))

    def sentences(self, name: str) -> list[str]:
        """Return the warnings for the user, who knows the file by `name`, without those that our own checks decide."""
        untold = [text for text in self.warnings if not any(part in text for part in _DECIDED)]
        return [f"{name}: ITK warns: {text}" for text in untold]


@contextmanager
def quiet() -> Iterator[Heard]:
    """Keep what C libraries print (ITK, HDF5, GDCM, MetaIO) off the terminal: their errors come back as exceptions.

    Descriptors belong to the process, not to a thread: the first user redirects them and the last one restores them.
    """
    user, heard = object(), Heard()
    try:
        with _LOCK:
            if not _USERS:
                _redirect()
            _USERS.add(user)
            start = _end()
        yield heard
    finally:
        with _LOCK:
            heard.text = _read(start)
            _USERS.discard(user)
            if not _USERS:
                _restore()


def _redirect() -> None:
    """Point standard output and error at a temporary file; an application without a console has neither."""
    try:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            _SAVED.append((number, os.dup(number)))
        target = _open_target()
    except (OSError, ValueError, AttributeError):
        _restore()
        return
    for number, _ in _SAVED:
        os.dup2(target, number)


def _open_target() -> int:
    """Open a file that has no name, or the null device where no temporary file can be written."""
    with suppress(OSError), tempfile.TemporaryFile(buffering=0) as file:
        _FILE.append(os.dup(file.fileno()))
        return _FILE[0]
    null = os.open(os.devnull, os.O_RDWR)
    _FILE.append(null)
    return null


def _end() -> int:
    """Return how many bytes were printed so far."""
    return os.fstat(_FILE[0]).st_size if _FILE else 0


def _read(start: int) -> str:
    """Return what was printed after the first `start` bytes; the descriptors share one position, which is kept."""
    if not _FILE or _end() <= start:
        return ""
    position = os.lseek(_FILE[0], 0, os.SEEK_CUR)
    os.lseek(_FILE[0], start, os.SEEK_SET)
    content = os.read(_FILE[0], _MOST_BYTES)
    os.lseek(_FILE[0], position, os.SEEK_SET)
    return content.decode("utf-8", "replace")


def _restore() -> None:
    while _SAVED:
        number, copy = _SAVED.pop()
        os.dup2(copy, number)
        os.close(copy)
    while _FILE:
        os.close(_FILE.pop())
