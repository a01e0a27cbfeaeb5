"""What Slicer asks of its process for long runs (`pddnet.worker.server`), by the code of the command.

Every function takes `progress(fraction, stage)`, which may raise `Cancelled`, and the request's fields by keyword.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..batch.jobs import Job, Outputs
from ..batch.pairs import Pair
from ..batch.task import outcome_of
from ..core.preset_overrides import adjusted
from ..core.result import Progress
from . import pair_tasks
from . import segment as segment_command
from .main import build_parser
from .pair_jobs import PairJobs, PairSettings


def pair(progress: Progress, *, pair: dict[str, Any], out: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Register a pair of a batch as `pddnet batch` does, unless it is whole, and return the fields of its `Outcome`.

    Args:
        pair: the fields of `batch.pairs.Pair`; only paths travel.
        out: the folder of the results, an absolute path.
        settings: the fields of `PairSettings`.

    Raises:
        InputError, TorchMissing, Cancelled, MemoryError: as for `pair_tasks.register`.
    """
    job = PairJobs(Path(out), PairSettings(**settings), Outputs())(Pair(**pair))

    def register(job: Job) -> dict[str, Any]:
        return pair_tasks.register(progress, arguments=job.arguments)

    return vars(outcome_of(job, register))


def segment(progress: Progress, *, arguments: list[str], adjust: dict[str, Any]) -> dict[str, Any]:
    """Segment a scan by atlases as `pddnet segment` does, write its files, all or none, and return its report.

    Args:
        arguments: those of `pddnet segment`; only paths travel.
        adjust: settings that replace the preset's, see `core.preset_overrides.adjusted`.

    Raises:
        InputError, TorchMissing, Cancelled, MemoryError: as the command would report them.
    """
    args = build_parser("segment").parse_args(["segment", *arguments])
    with pair_tasks.reasons_passed_on():
        settings = segment_command.settings_of(args)
        preset = adjusted(settings.preset, **adjust)
        return segment_command.carry_out(args, replace(settings, preset=preset), progress)


TASKS = {"pair": pair, "segment": segment}
