"""Whatever is killed at any instant: the others finish, no pair is half there, a second start completes the rest."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers import batches
from helpers.paths import LIBRARY, REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs signals")]

PROGRAM = f"""
import sys
from pddnet.cli import batch, main
batch.RUNNER = {batches.RUNNER}
sys.exit(main.main(sys.argv[1:]))
"""
SECONDS = 120.0
PATIENCE = {  # of Dask: how soon it gives up what does not answer
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1500ms",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s",
}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{LIBRARY}{os.pathsep}{REPOSITORY / 'Testing'}", **PATIENCE}


@contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of Python, killed at the end."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, *arguments], stdout=pipe, stderr=pipe, text=True, env=_environment())
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _arguments(folder: Path, *more: str) -> tuple[str, ...]:
    scans = ("--fixed", str(folder / "fixed.nii.gz"), "--moving-glob", str(folder / "m*.nii.gz"))
    return ("-c", PROGRAM, "batch", *scans, "--out", str(folder / "out"), *more)


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out + err


def _until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


def _registering(marker: Path) -> psutil.Process:
    """The process that registers the pair with this marker, once it does."""
    return psutil.Process(int(_until(lambda: marker.exists() and marker.read_text("utf-8"), "no pair was begun")))


def _whole(folder: Path) -> set[str]:
    """The pairs that are whole; those that are not have no report."""
    reports = sorted((folder / "out").glob("*/report.json"))
    for report in reports:
        assert len([path for path in report.parent.iterdir() if path.name != ".claim"]) == 4
    return {report.parent.name for report in reports}


def _states(folder: Path) -> dict[str, str]:
    with (folder / "out" / "summary.csv").open(encoding="utf-8") as file:
        return {row["id"]: row["verdict"] or row["reasons"] for row in csv.DictReader(file)}


def _scans(folder: Path, told: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write scans; the first one takes for ever until its marker, which is returned, is there."""
    marker = folder / "begun"
    batches.write_scans(folder, {**told, "m0": {"once": str(marker), "seconds": SECONDS}})
    return marker


def test_a_killed_client_leaves_no_process_and_nothing_half(tmp_path: Path) -> None:
    marker = _scans(tmp_path, {"m1": {}, "m2": {}, "m3": {"verdict": "failed"}})
    with _started(*_arguments(tmp_path, "--workers", "2")) as client:
        _registering(marker)
        _until(lambda: len(_whole(tmp_path)) == 3, "the others were not registered")
        family = psutil.Process(client.pid).children(recursive=True)
        client.kill()
        assert psutil.wait_procs(family, 30)[1] == []
    assert _whole(tmp_path) == {"m1", "m2", "m3"}
    with _started(*_arguments(tmp_path, "--workers", "1")) as again:
        code, said = _finish(again)
    assert "3 of 4 pairs are whole" in said and "kept" in said
    assert (code, _whole(tmp_path)) == (3, {"m0", "m1", "m2", "m3"})
    assert _states(tmp_path) == {"m3": "failed", "m0": "ok", "m1": "ok", "m2": "ok"}


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """A worker of this machine's own cluster is killed, with the process that registers for it."""
    marker = _scans(tmp_path, {"m1": {}, "m2": {}})
    with _started(*_arguments(tmp_path, "--workers", "2")) as client:
        process = _registering(marker)
        worker = process.parent()
        assert worker is not None and worker.pid != client.pid
        worker.kill()
        code, said = _finish(client)
        assert psutil.wait_procs([process], 30)[1] == []  # its standard input was closed
    assert (code, _whole(tmp_path)) == (0, {"m0", "m1", "m2"}), said


def test_a_terminated_client_says_what_is_whole(tmp_path: Path) -> None:
    marker = _scans(tmp_path, {"m1": {}})
    with _started(*_arguments(tmp_path, "--workers", "2")) as client:
        _registering(marker)
        _until(lambda: _whole(tmp_path), "the other was not registered")
        family = psutil.Process(client.pid).children(recursive=True)
        client.send_signal(signal.SIGTERM)
        code, said = _finish(client)
        assert psutil.wait_procs(family, 30)[1] == []
    assert code == 143
    assert "terminated; 1 of 2 pairs are whole in" in said
    assert _states(tmp_path) == {"m0": "the run ended before", "m1": "ok"}


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler and two worker processes, as on several machines."""
    file = folder / "scheduler.json"
    with _started(
        "-m", "dask", "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
    ) as scheduler:
        _until(lambda: file.exists() and file.stat().st_size, "the scheduler did not start")
        worker = ("-m", "dask", "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard")
        worker += ("--local-directory", str(folder), "--no-nanny")
        with _started(*worker), _started(*worker):
            yield scheduler, str(file)


def test_a_worker_that_loses_its_connection_and_a_scheduler_that_dies(tmp_path: Path) -> None:
    marker = _scans(tmp_path, {"m1": {}, "m2": {}})
    with _cluster(tmp_path) as (scheduler, file):
        address = json.loads(Path(file).read_text("utf-8"))["address"]
        with _started(*_arguments(tmp_path, "--scheduler", address)) as client:
            worker = _registering(marker).parent()
            assert worker is not None
            worker.suspend()  # it answers no more, and holds its pair
            _until(lambda: _whole(tmp_path) == {"m1", "m2"}, "the others were not registered")
            time.sleep(3.0)  # until the scheduler has given it up
            worker.resume()  # it learns that it is out, and ends
            code, said = _finish(client)
        assert (code, _whole(tmp_path)) == (0, {"m0", "m1", "m2"}), said
        assert scheduler.poll() is None  # the cluster is not ours, and goes on

        batches.write_scans(tmp_path, {"m3": {"once": str(tmp_path / "second"), "seconds": SECONDS}})
        with _started(*_arguments(tmp_path, "--scheduler", address)) as client:
            _registering(tmp_path / "second")
            scheduler.kill()
            code, said = _finish(client)
        assert code == 4, said
        assert _states(tmp_path)["m3"] == "the connection to the Dask scheduler was lost"
