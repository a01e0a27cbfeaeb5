"""Manage the private folder through which a worker and its client pass arrays (`WorkerFolder`).

It holds patient data, so it must not stay behind. The process that made a folder holds a lock on a file in it until it
ends, in whatever way. A folder whose lock is free is abandoned. Process numbers would be less reliable: they are used
again.
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
_YOUNG_SECONDS = 60.0  # a folder so new may not be locked yet
_ATTEMPTS = 5  # to delete a folder into which another thread writes
_PAUSE_SECONDS = 0.02  # between two attempts


class WorkerFolder:
    """Folder that only this user may read. Its maker, the worker, or a later `sweep` removes it."""

    def __init__(self, parent: str | Path) -> None:
        """Make the folder; raise OSError where the parent is missing or cannot be written."""
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
    """Delete a folder, even if another thread still writes into it; what cannot be deleted is left to `sweep`."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(OSError):
            _delete(folder)
        if not folder.exists():
            return
        time.sleep(_PAUSE_SECONDS)


def _delete(folder: Path) -> None:
    """Delete a folder as far as that goes; its lock last, without which no `sweep` would know what stays for ours."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _LOCK:
            with contextlib.suppress(OSError):  # on Windows another program may have it open
                path.unlink()
    if all(path.name == _LOCK for path in folder.iterdir()):
        shutil.rmtree(folder)


def sweep(parent: str | Path) -> None:
    """Remove the folders of processes that ended without doing so."""
    for folder in Path(parent).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):  # another user's, or just removed
            if time.time() - folder.stat().st_mtime > _YOUNG_SECONDS and _is_abandoned(folder / _LOCK):
                remove(folder)


def _is_abandoned(lock: Path) -> bool:
    """Return whether nobody holds the lock; raise OSError where it is held, or missing (not such a folder)."""
    if fcntl is None:
        lock.rename(lock)  # Windows refuses that for an open file
        return True
    with lock.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
