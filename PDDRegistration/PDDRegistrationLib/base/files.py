"""Write files complete or not at all (`writeWhole`)."""

from __future__ import annotations

import os
from pathlib import Path

from pddnet.errors import InputError


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
