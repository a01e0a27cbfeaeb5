"""Run the worker: a long-lived process that registers, warps and measures on request; `PDDRegistrationLib` starts it.

Importing this package imports neither numpy nor torch: Slicer's process needs only the protocol.
"""

from .server import IDLE, PROTOCOL, arguments, main

__all__ = ["IDLE", "PROTOCOL", "arguments", "main"]
