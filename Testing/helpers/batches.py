"""Batches of made-up scans, registered by a stand-in that is as faulty as the scans tell it to be."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import fake_registrar
from pddnet import __version__
from pddnet.batch.jobs import Job, Outputs, arguments_of, outputs_of
from pddnet.batch.pairs import Pair
from pddnet.batch.run import Batch

RUNNER = [sys.executable, fake_registrar.__file__]
MADE = {"version": __version__, "weights": {}, "options": {"preset": "fast"}}


def write_scans(folder: Path, told: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a fixed scan, and moving ones that hold what the stand-in is told; see `fake_registrar`."""
    folder.mkdir(exist_ok=True)
    for name, content in {"fixed": {}, **told}.items():
        (folder / f"{name}.nii.gz").write_text(json.dumps(content), "utf-8")


def make_batch(
    folder: Path, told: Mapping[str, Mapping[str, Any]], made: dict[str, Any] = MADE, **options: Any
) -> Batch:
    """Write the scans and make a batch of them, into folder/out. options: of `Job`."""
    write_scans(folder, told)
    batch = Batch(folder / "out", [make_job(folder, name, made, **options) for name in told])
    batch.make_folder()
    return batch


def make_job(folder: Path, name: str, made: dict[str, Any] = MADE, **options: Any) -> Job:
    """Make the job of one moving scan."""
    pair = Pair(
        name, {side: str(folder / f"{file}.nii.gz") for side, file in (("fixed", "fixed"), ("moving", name))}, {}
    )
    place, outputs = folder / "out" / name, outputs_of(pair, Outputs())
    arguments = [*arguments_of(pair, place, outputs, []), f"--made={json.dumps(made)}"]
    return Job(name, str(place), pair.files, arguments, outputs, dict(made), **{"runner": RUNNER, **options})
