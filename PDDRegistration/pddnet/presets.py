"""Every preset as data: one table. All lengths in millimetres, equal along all axes."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True)
class Preset:
    """What a registration run uses."""

    name: str
    purpose: str


PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset("fast", "a first look"),
        Preset("default", "CT of different or of one patient"),
        Preset("paper", "the paper's sizes"),
        Preset("multimodal", "scans of different kinds (untested)"),
    )
}


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(f"there is no preset '{name}'; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
