"""A pair is whole if all its files are there, made from the same inputs with the same settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers import batches, fake_registrar
from pddnet.batch.jobs import Job
from pddnet.batch.records import whole

NOW = 1_700_000_000


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A pair that was registered."""
    batches.write_scans(tmp_path, {"m": {"verdict": "doubtful", "error": 3.5}})
    job = batches.make_job(tmp_path, "m")
    Path(job.folder).mkdir(parents=True)
    fake_registrar.register(job.arguments)
    return job


def test_it_is_whole_and_its_row_is_known(job: Job) -> None:
    for at_once in (True, False):
        found = whole(job, at_once=at_once)
        assert found is not None
        assert (found["verdict"], found["expected_error_mm"], found["risk"]) == ("doubtful", 3.5, 0.1)


@pytest.mark.parametrize("output", ["transform", "preview", "sidecar", "report"])
def test_it_is_not_without_any_of_its_files(job: Job, output: str) -> None:
    job.path(output).unlink()
    assert whole(job, at_once=False) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"verdict": {}}'])
@pytest.mark.parametrize("output", ["sidecar", "report"])
def test_it_is_not_where_a_file_is_none_of_ours(job: Job, output: str, text: str) -> None:
    job.path(output).write_text(text, "utf-8")
    assert whole(job, at_once=False) is None


@pytest.mark.parametrize("made", [{"version": "0.0.9"}, {"weights": {"a.npz": "1"}}, {"options": {"preset": "mind"}}])
def test_it_is_not_with_another_version_weights_or_options(job: Job, made: dict) -> None:
    job.made.update({**job.made, **made})
    assert whole(job, at_once=False) is None


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_a_scan_that_was_only_touched_is_compared_by_what_it_holds(job: Job, side: str) -> None:
    path = Path(job.files[side])
    os.utime(path, (NOW, NOW))
    assert whole(job, at_once=True) is None
    assert whole(job, at_once=False) is not None
    path.write_text(path.read_text("utf-8") + " ", "utf-8")
    assert whole(job, at_once=False) is None


def test_it_is_not_where_the_report_is_of_other_scans_of_its_id(job: Job, tmp_path: Path) -> None:
    batches.write_scans(tmp_path, {"other": {"verdict": "ok", "error": 2.0}})
    other = batches.make_job(tmp_path, "other")
    Path(other.folder).mkdir()
    fake_registrar.register([*(a for a in other.arguments if "--report=" not in a), f"--report={job.path('report')}"])
    assert whole(job, at_once=False) is None
    fake_registrar.register(job.arguments)
    found = whole(job, at_once=False)
    assert found is not None and found["verdict"] == "doubtful"


def test_it_is_not_with_one_input_more(job: Job, tmp_path: Path) -> None:
    job.files["fixed_mask"] = str(tmp_path / "fixed.nii.gz")
    assert whole(job, at_once=False) is None
