"""Remember the time of the last run with each preset on this machine, in Slicer's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer

from pddnet.core.linear import DEFORMABLE
from pddnet.core.presets import PRESETS

KEY = "PDDRegistration/LastRun"


@dataclass(frozen=True)
class LastRun:
    """Last run with a preset; seconds: of the whole run; device: the device that it ran on."""

    seconds: float
    device: str


def rememberRun(report: dict[str, Any]) -> None:
    """Store the time of a run for the next session; linear runs and changed settings are not stored."""
    if report["preset"] in PRESETS and report["transform_type"] == DEFORMABLE:
        settings = slicer.app.userSettings()
        settings.setValue(f"{KEY}/{report['preset']}", f"{report['seconds']['total']:.3f} {report['device']}")


def lastRun(preset: str) -> LastRun | None:
    """Return the last run with a preset on this machine; None if there was none."""
    text = str(slicer.app.userSettings().value(f"{KEY}/{preset}") or "")
    seconds, _space, device = text.partition(" ")
    try:
        return LastRun(float(seconds), device)
    except ValueError:
        return None
