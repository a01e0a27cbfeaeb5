"""Name files (`fileName`), write them complete or not at all (`writeWhole`), and make a private folder for them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from slicer.i18n import tr as _

from pddnet.errors import InputError
from pddnet.worker.folder import WorkerFolder, sweep


def fileName(name: str) -> str:
    """Return a node's name as that of a file, without what Windows allows in none."""
    return re.sub(r'[\\/:*?"<>|]+', "_", name)


def writeWhole(path: str | Path, content: bytes, failure: str) -> None:
    """Write a file completely or not at all, through a temporary file in the same folder.

    failure: the message to the user, with the placeholders {path} and {reason}.

    Raises:
        InputError: the file cannot be written; an existing file stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(failure.format(path=path, reason=error.strerror)) from error


def privateFolder(temporary: Path) -> WorkerFolder:
    """Make a private folder in the folder for temporary files, and remove those of processes that have ended.

    Raises:
        InputError: the folder for temporary files cannot be used.
    """
    try:
        sweep(temporary)
        return WorkerFolder(temporary)
    except OSError as error:
        text = _("{folder}: the folder for temporary files cannot be used ({reason}); free space or choose another")
        raise InputError(text.format(folder=temporary, reason=error.strerror)) from error
