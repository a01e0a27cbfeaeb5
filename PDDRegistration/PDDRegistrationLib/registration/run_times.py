"""Remember the time of the last run with each preset on this machine, in Slicer's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer

from pddnet.core.presets import PRESETS

KEY = "PDDRegistration/LastRun"


@dataclass(frozen=True)
class LastRun:
    """seconds: of the whole run; device: where it ran."""

    seconds: float
    device: str


def rememberRun(report: dict[str, Any]) -> None:
    """Keep the time of a run for the next session; runs with changed settings are not kept."""
    if report["preset"] in PRESETS:
        settings = slicer.app.userSettings()
        settings.setValue(f"{KEY}/{report['preset']}", f"{report['seconds']['total']:.3f} {report['device']}")


def lastRun(preset: str) -> LastRun | None:
    """The last run with a preset on this machine; None if there was none."""
    text = str(slicer.app.userSettings().value(f"{KEY}/{preset}") or "")
    seconds, _space, device = text.partition(" ")
    try:
        return LastRun(float(seconds), device)
    except ValueError:
        return None
