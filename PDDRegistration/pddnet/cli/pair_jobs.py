"""Make the jobs of a batch: for each pair the arguments of `pddnet register`, and with what the result is made."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..batch.jobs import Job, Outputs, arguments_of, outputs_of
from ..batch.pairs import Pair
from ..core.intensity import AUTO
from ..core.linear import DEFORMABLE
from ..core.presets import find_preset
from ..run.provenance import weights_used
from . import register_arguments


@dataclass(frozen=True)
class PairSettings:
    """What holds for all pairs, in the words of `pddnet register`.

    weights: a file of the user's own training. adjust: see `preset_overrides.adjusted`.
    """

    preset: str = "default"
    transform_type: str = DEFORMABLE
    intensity: str = AUTO
    device: str = "auto"
    diffeomorphic: bool = False
    weights: str | None = None
    adjust: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """Write them as arguments of `pddnet register`."""
        names = ("preset", "transform_type", "intensity", "device")
        found = [_option(name, getattr(self, name)) for name in names]
        if self.diffeomorphic:
            found.append("--diffeomorphic")
        if self.weights:
            found.append(f"--weights={os.path.abspath(self.weights)}")
        return [*found, *(_adjusted(name, value) for name, value in self.adjust.items())]


class PairJobs:
    """Make the job of each pair."""

    def __init__(
        self, out: Path, settings: PairSettings, wanted: Outputs, runner: Sequence[str] = (), limit_mb: float = 0.0
    ) -> None:
        """out: an absolute path, the folder of all results. runner, limit_mb: see `Job`."""
        self._out, self._wanted, self._arguments = out, wanted, settings.arguments()
        weights = weights_used(find_preset(settings.preset), Path(settings.weights) if settings.weights else None)
        self._made = {"version": __version__, "weights": weights}
        self._runner, self._limit_mb = list(runner), limit_mb
        self._parser = argparse.ArgumentParser()
        register_arguments.add_arguments(self._parser)

    def __call__(self, pair: Pair) -> Job:
        """Make the job of a pair."""
        folder, outputs = self._out / pair.id, outputs_of(pair, self._wanted)
        arguments = arguments_of(pair, folder, outputs, self._arguments)
        made = {**self._made, "options": register_arguments.options(self._parser.parse_args(arguments))}
        return Job(pair.id, str(folder), pair.files, arguments, outputs, made, self._runner, limit_mb=self._limit_mb)


def _option(name: str, value: Any) -> str:
    return f"--{name.replace('_', '-')}={value}"


def _adjusted(name: str, value: Any) -> str:
    """Write a setting that replaces the preset's."""
    if name == "both_ways":
        return "--both-ways" if value else "--one-way"
    return _option(name, value)
