"""Name what the client can request, one function each, by the code of the command; torch is imported when needed.

Every function takes `progress(fraction, stage)`, which may raise `Cancelled`, and the request's fields by keyword, and
returns the answer's fields. Transforms map fixed to moving points in LPS mm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.result import Progress
from .evaluate_task import evaluate
from .page_task import page
from .register_task import register, warp


def warm(progress: Progress) -> dict[str, Any]:
    """Import torch and report its version and the device that it computes with.

    Returns:
        torch (its version), threads, and cuda: None, or the name, memory_free and memory_total (bytes) of the GPU.

    Raises:
        TorchMissing: torch cannot be imported.
    """
    from ..tensor.device import describe

    return describe()


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "warm": warm,
    "register": register,
    "warp": warp,
    "evaluate": evaluate,
    "page": page,
}
