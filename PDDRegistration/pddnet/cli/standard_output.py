"""Write to standard output, and remember why it took no more: a command that printed nothing must not end well."""

from __future__ import annotations

import errno
import sys

_REFUSED: list[OSError] = []


def write(text: str) -> bool:
    """Write text at once, with escapes for what the stream cannot encode; return whether it was taken."""
    if sys.stdout is None:
        return False
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        _REFUSED.append(error)
        return False
    return True


def refusal() -> str:
    """Return why standard output took no more, such as a full disk; empty where it did, or where its reader left."""
    reasons = [error.strerror or str(error) for error in _REFUSED if error.errno != errno.EPIPE]
    return reasons[0] if reasons else ""
