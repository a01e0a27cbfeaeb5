"""The process that registers: its answers, its deaths, and its memory."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helpers import batches
from pddnet.batch import process as batch_process
from pddnet.batch.claim import claimed
from pddnet.batch.jobs import Job
from pddnet.batch.process import NotRegistered, ProcessPool, RegistrationProcess


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    pool = ProcessPool()
    yield pool
    pool.end()


def _jobs(folder: Path, **told: dict) -> list[Job]:
    batches.write_scans(folder, told)
    jobs = [batches.make_job(folder, name) for name in told]
    for job in jobs:
        Path(job.folder).mkdir(parents=True)
    return jobs


def test_one_process_registers_one_pair_after_the_other(tmp_path: Path, pool: ProcessPool) -> None:
    found = []
    for job in _jobs(tmp_path, a={"verdict": "failed"}, b={"fail": "scan b is broken"}, c={}):
        with pool.borrowed(job.runner, 0) as process:
            try:
                found.append((process.number, process.register(job.arguments)["verdict"]["status"]))
            except NotRegistered as error:
                found.append((process.number, str(error)))
    assert [what for _, what in found] == ["failed", "scan b is broken", "ok"]
    assert len({pid for pid, _ in found}) == 1


def test_after_some_pairs_another_process_takes_over(
    tmp_path: Path, pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory would grow; whether the pairs failed does not matter."""
    monkeypatch.setattr(batch_process, "MOST_PAIRS", 2)
    jobs = _jobs(tmp_path, a={}, b={"fail": "scan b is broken"}, c={}, d={}, e={})
    numbers = []
    for job in jobs:
        with contextlib.suppress(NotRegistered), pool.borrowed(job.runner, 0) as process:
            numbers.append(process.number)
            process.register(job.arguments)
    first, second, third = dict.fromkeys(numbers)
    assert numbers == [first, first, second, second, third]
    assert not psutil.pid_exists(first) and not psutil.pid_exists(second)
    assert psutil.pid_exists(third)


def test_a_death_is_told_and_the_next_pair_has_a_new_process(tmp_path: Path, pool: ProcessPool) -> None:
    dies, lives = _jobs(tmp_path, a={"die": signal.SIGSEGV}, b={})
    with (
        pytest.raises(NotRegistered, match="its process ended with SIGSEGV: about to die"),
        pool.borrowed(dies.runner, 0) as process,
    ):
        process.register(dies.arguments)
    with pool.borrowed(lives.runner, 0) as process:
        assert process.register(lives.arguments)["verdict"]["status"] == "ok"


def test_a_process_that_takes_too_much_memory_is_ended(tmp_path: Path, pool: ProcessPool) -> None:
    small, large = _jobs(tmp_path, small={"grow": 1}, large={"grow": 400, "seconds": 30})
    with pool.borrowed(small.runner, 0) as process:
        process.register(small.arguments, limit_mb=300)
    with (
        pytest.raises(NotRegistered, match=r"more memory than --limit-memory allows, 0.3 GB"),
        pool.borrowed(large.runner, 0) as process,
    ):
        process.register(large.arguments, limit_mb=300)


def test_a_program_that_is_none_is_told(tmp_path: Path) -> None:
    process = RegistrationProcess([sys.executable, "-c", "print('no protocol')"])
    with pytest.raises(NotRegistered, match="its process ended with exit code 0"):
        process.register([])
    process.end()


def test_it_ends_when_the_one_that_started_it_ends(pool: ProcessPool, tmp_path: Path) -> None:
    with pool.borrowed(batches.RUNNER, 0) as process:
        pid, stdin = process.number, process._process.stdin
    assert stdin is not None
    stdin.close()  # as the system does when we end
    assert psutil.Process(pid).wait(10) == 0


def test_it_may_use_the_cores_that_it_is_given() -> None:
    code = "import os, json; print(json.dumps({'id': 1, 'done': {'cores': os.environ['OMP_NUM_THREADS']}}), flush=True)"
    process = RegistrationProcess([sys.executable, "-c", code], threads=3)
    assert process.register([]) == {"cores": "3"}
    process.end()


def test_a_pair_is_claimed_by_one(tmp_path: Path) -> None:
    pair, other = tmp_path / "pair", tmp_path / "other"
    with claimed(pair) as first, claimed(pair) as second, claimed(other) as third:
        assert (first, second, third) == (True, False, True)
    with claimed(pair) as again:
        assert again
