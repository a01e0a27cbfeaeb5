"""`writeWhole`: a file appears complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from pddnet.errors import InputError


def writeWhole(path: str | Path, content: bytes, failure: str) -> None:
    """Write a file through a temporary one beside it.

    failure: what to tell the user, with {path} and {reason} in it.

    Raises:
        InputError: it cannot be written there; what stood there before stays.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(failure.format(path=path, reason=error.strerror)) from error
