"""Claim a pair, so that two runs in one folder do not register it twice.

The claim is a lock on a file, which the system releases when the process ends, in whatever way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two runs there do the same work, and each file is whole all the same
    fcntl = None  # type: ignore[assignment]

_NAME = ".claim"


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claim the pair of this folder during the block; yields whether it is ours. Raise OSError where it cannot be made.

    On a file system without locks everyone may work on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _NAME).open("ab") as file:
        yield _lock(file.fileno())


def forget(folder: Path) -> None:
    """Remove the folder of a pair that nobody works on any more, if the claim is all that it holds."""
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [_NAME]:
            (folder / _NAME).unlink()
            folder.rmdir()


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
