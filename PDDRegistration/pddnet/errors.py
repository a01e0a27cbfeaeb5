"""The ways in which a run ends early, apart from programming errors."""

from __future__ import annotations


class InputError(ValueError):
    """An input or a setting is wrong. The message is one sentence for the user: where, what is wrong, what to do."""


class TorchMissing(InputError):
    """torch is not installed, or cannot be loaded."""


class Cancelled(Exception):
    """The caller's progress callback asked the run to stop."""
