"""Register two 3-D scans: `pddnet.register(fixed, moving)` finds the transform and says whether to trust it.

The names in `__all__` are loaded when they are first used: importing pddnet imports neither numpy nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.field import DisplacementField
    from .core.grid import Grid
    from .core.image import Image
    from .core.presets import PRESETS
    from .io.volumes import read_volume
    from .pipeline import register

__version__ = "0.1.0"
__all__ = ["PRESETS", "DisplacementField", "Grid", "Image", "__version__", "read_volume", "register"]

_HOMES = {
    "DisplacementField": "core.field",
    "Grid": "core.grid",
    "Image": "core.image",
    "PRESETS": "core.presets",
    "read_volume": "io.volumes",
    "register": "pipeline",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that it lives in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pddnet' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
