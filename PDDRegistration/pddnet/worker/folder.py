"""The private folder through which a worker and its client pass arrays: patient data, so it must not stay behind.

Whoever made a folder holds a lock in it as long as it lives, however it ends. A folder whose lock is free belongs to
nobody: process numbers would tell less, because they are used again.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted
    fcntl = None  # type: ignore[assignment]

PREFIX = "pddnet-"
_LOCK = ".owner"
_YOUNG = 60.0  # s; a folder so new may not be locked yet


class WorkerFolder:
    """A folder that nobody else may read; it is `remove`d by its maker, by the worker, or by a later `sweep`."""

    def __init__(self, parent: str | Path) -> None:
        """Raises OSError where the parent is missing or cannot be written."""
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
        self._lock = (self.path / _LOCK).open("ab")
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Delete the folder and everything in it."""
        self._lock.close()
        remove(self.path)


def remove(folder: Path) -> None:
    """Delete a folder in which another thread may still be writing; what cannot be deleted is left to `sweep`."""
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.02)


def sweep(parent: str | Path) -> None:
    """Remove the folders of makers that died without doing so."""
    for folder in Path(parent).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):  # someone else's, or just gone
            if time.time() - folder.stat().st_mtime > _YOUNG and _is_abandoned(folder / _LOCK):
                remove(folder)


def _is_abandoned(lock: Path) -> bool:
    """Whether nobody holds the lock; OSError where it is held, or there is none (not such a folder)."""
    if fcntl is None:
        lock.unlink()
        return True
    with lock.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
