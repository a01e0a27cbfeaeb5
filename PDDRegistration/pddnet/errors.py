"""The ways in which a run ends early, apart from programming errors."""

from __future__ import annotations


class InputError(ValueError):
    """An input or a setting is wrong. The message is one sentence for the user: where, what is wrong, what to do."""


class TorchMissing(InputError):
    """torch is not installed, or cannot be loaded."""


_MAPPING_FAILED = ("failed to map segment", "cannot allocate memory", "cannot apply additional memory protection")


def lacks_memory(error: BaseException) -> bool:
    """Tell whether a library could not be loaded because the process may not have more memory."""
    return any(words in str(error).lower() for words in _MAPPING_FAILED)


class Cancelled(Exception):
    """The caller's progress callback asked the run to stop."""
