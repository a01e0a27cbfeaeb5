"""A pair as it travels to the machine that registers it: paths and settings, as JSON holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import names
from .pairs import Pair


@dataclass(frozen=True)
class Outputs:
    """Which outputs are written of every pair, besides transform, sidecar, report and preview."""

    warped: bool = False
    pages: bool = False


@dataclass(frozen=True)
class Job:
    """One pair to register.

    Attributes:
        folder: for the files of the pair.
        files: paths of the inputs, by name.
        arguments: of `pddnet register`.
        outputs: names of the files in the folder, by output.
        made: version, options and weights on which the result depends, as the sidecar holds them.
        runner: the program that registers, and its arguments; empty: our own worker.
        threads: cores that it may use; 0: as the environment says.
        limit_mb: memory that it may use; 0: any.
    """

    id: str
    folder: str
    files: dict[str, str]
    arguments: list[str]
    outputs: dict[str, str]
    made: dict[str, Any] = field(default_factory=dict)
    runner: list[str] = field(default_factory=list)
    threads: int = 0
    limit_mb: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON holds it; `Job(**...)` is the same again."""
        return asdict(self)

    def path(self, output: str) -> Path:
        """Return the path of an output."""
        return Path(self.folder) / self.outputs[output]


def outputs_of(pair: Pair, wanted: Outputs) -> dict[str, str]:
    """Name the files that are written of a pair, by output."""
    found = {"transform": names.transform_name(pair), "preview": names.PREVIEW}
    if wanted.warped:
        found["volume"] = names.warped_name(pair)
    if "moving_labels" in pair.files:
        found["labels"] = names.warped_labels_name(pair)
    if "fixed_labels" in pair.files:
        found["motion"] = names.MOTION
    if wanted.pages:
        found["page"] = names.PAGE
    return {**found, "sidecar": names.sidecar_name(pair), "report": names.REPORT}


_OPTIONS = {"transform": "--output-transform", "preview": "--output-preview", "volume": "--output-volume"}
_OPTIONS |= {"labels": "--output-labels", "motion": "--output-motion", "page": "--report-html"}
_OPTIONS |= {"sidecar": "--sidecar", "report": "--report"}


def arguments_of(pair: Pair, folder: Path, outputs: dict[str, str], settings: Sequence[str]) -> list[str]:
    """Write the arguments of `pddnet register` for a pair; settings are those that hold for all."""
    inputs = {**pair.files, **pair.series}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in inputs.items()]
    return [*given, *settings, *(f"{_OPTIONS[key]}={folder / name}" for key, name in outputs.items())]
