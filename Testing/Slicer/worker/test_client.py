"""The worker's client under Qt, with a launcher between it and the worker, as PythonSlicer is one."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK as sitk

import pddnet
from helpers import worker_programs
from helpers.paths import environment
from helpers.worker_programs import answer_to
from pddnet import pipeline
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import Cancelled, InputError

if TYPE_CHECKING:
    from PDDRegistrationLib.worker.client import Worker

LIBRARY = worker_programs.LIBRARY
STAGES = ["start", "prepare", "structures", "align", "match 1", "finish", "warp", "measure"]  # of the preset 'fast'

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")


class Calls:
    """What a request's callbacks were called with."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.done: list[dict[str, Any]] = []
        self.failed: list[Any] = []

    @property
    def callbacks(self) -> tuple[Callable, Callable, Callable]:
        return lambda fraction, stage: self.stages.append(stage), self.done.append, self.failed.append

    @property
    def over(self) -> bool:
        return bool(self.done or self.failed)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a name that is hard for programs."""
    folder = tmp_path / "Müllers Büro (ö ß é)"
    folder.mkdir()
    return folder


@pytest.fixture
def make(host: object, place: Path) -> Iterator[Callable[..., Worker]]:
    """Makes workers; afterwards they are stopped, and no file of theirs may be left."""
    from PDDRegistrationLib.worker.client import Worker

    temporary = place / "temporär"
    temporary.mkdir()
    launcher, made = worker_programs.make_launcher(place / "bin"), []

    def one(parent: Path = LIBRARY, program: Path = launcher, **settings: Any) -> Worker:
        made.append(Worker(program, parent, temporary, **settings))
        return made[-1]

    yield one
    for worker in made:
        worker.stop()
        assert not worker.isRunning
    assert list(temporary.iterdir()) == []


@pytest.fixture
def waiting(place: Path) -> Path:
    """A folder with a pddnet that knows the request 'wait'."""
    return worker_programs.make_waiting_pddnet(place / "ein pddnet")


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    """Two small bodies of noise in air, on oblique grids; the second left-handed, 15 mm to the side."""
    bodies = []
    for seed, spacing, sign, shift in ((1, (4.0, 4.0, 4.0), 1, (0, 0, 0)), (2, (4.5, 4.0, 3.5), -1, (15, -8, 11))):
        turn = sitk.Euler3DTransform((0, 0, 0), 0.2 * seed, -0.1, 0.15)
        matrix = np.array(turn.GetMatrix()).reshape(3, 3) * [sign, 1, 1]
        centre = np.array([10.0, -20.0, 30.0]) + shift
        grid = Grid((26, 28, 30), spacing, centre - matrix @ (np.array(spacing) * [14.5, 13.5, 12.5]), matrix)
        rng = np.random.default_rng(seed)
        inside = (((grid.points() - centre) / [34, 26, 30]) ** 2).sum(-1) < 1
        bodies.append(Image(np.where(inside, rng.integers(-60, 90, grid.shape), -1000).astype(np.int16), grid))
    return bodies[0], bodies[1]


def _alive(pid: int) -> bool:
    """Whether the process exists; a zombie does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if Path("/proc").is_dir():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _ends(pid: int) -> bool:
    """Whether the process is gone within a while."""
    for _ in range(200):
        if not _alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_a_registration_is_bit_identical_to_a_direct_call(host, make, pair: tuple[Image, Image]) -> None:
    fixed, moving = pair
    before = fixed.array.copy(), moving.array.copy()
    worker, calls = make(), Calls()
    request = {"do": "register", "fixed": fixed, "moving": moving, "preset": "fast", "device": "cpu"}
    worker.submit({**request, "warp": {"moving": moving}}, *calls.callbacks)
    assert host.waitUntil(lambda: calls.over, 60)
    assert calls.failed == []
    expected = pipeline.register(fixed, moving, "fast", device="cpu")
    done = calls.done[0]
    assert np.abs(expected.field.array).max() > 5
    assert np.array_equal(done["field"].array, expected.field.array)
    assert np.array_equal(done["spread"].array, expected.uncertainty.array)
    assert done["field"].grid.same_as(expected.field.grid, 1e-12)
    assert done["report"]["verdict"]["status"] == expected.verdict.status
    assert done["report"]["verdict"]["measures"] == expected.verdict.measures
    assert np.array_equal(done["warped"]["moving"].array, expected.warp(moving).array)
    assert list(dict.fromkeys(calls.stages)) == STAGES
    assert worker_files(worker) == []
    assert np.array_equal(fixed.array, before[0])
    assert np.array_equal(moving.array, before[1])
    assert worker.isRunning
    assert not worker.isBusy


def test_waiting_needs_no_event_loop_and_requests_may_follow_each_other(make, waiting: Path) -> None:
    worker = make(waiting)
    first, second = Calls(), Calls()
    numbers = [worker.submit({"do": "wait", "seconds": 0.2}, *calls.callbacks) for calls in (first, second)]
    worker.waitFor(numbers[1])
    assert first.done == second.done == [{"pid": worker.hello["pid"]}]
    third = answer_to(worker, {"do": "wait", "seconds": 0.1})
    assert third["pid"] == worker.hello["pid"]
    launcher = Path(f"/proc/{third['pid']}/status")
    if launcher.exists():
        assert f"PPid:\t{os.getpid()}" not in launcher.read_text()  # there is a process between
    assert {"printed", "written", "put"} <= set(worker.log)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_cancelled_request_leaves_the_process_alive(host, make, waiting: Path, blocking: bool) -> None:
    worker, calls = make(waiting), Calls()
    number = worker.submit({"do": "wait"}, lambda *_: worker.cancel(number), *calls.callbacks[1:])
    if blocking:
        worker.waitFor(number)
    assert host.waitUntil(lambda: calls.over, 20)
    assert calls.done == []
    assert calls.failed[0].kind == "cancelled"
    assert answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"] == worker.hello["pid"]


@pytest.mark.slow
def test_a_registration_can_be_cancelled_in_every_stage(host, make, pair: tuple[Image, Image]) -> None:
    worker = make()
    request = {"do": "register", "fixed": pair[0], "moving": pair[1], "preset": "fast", "device": "cpu"}
    request |= {"warp": {"moving": pair[1]}}
    for stage in STAGES:
        calls, numbers = Calls(), []
        onProgress = _cancelling(worker, numbers, stage)
        numbers.append(worker.submit(request, onProgress, *calls.callbacks[1:]))
        assert host.waitUntil(lambda calls=calls: calls.over, 60)
        assert calls.done == []
        assert [failure.kind for failure in calls.failed] == ["cancelled"], stage
        assert list(worker_files(worker)) == []
        assert not worker.isBusy


def _cancelling(worker: Worker, numbers: list[int], stage: str) -> Callable[[float, str], None]:
    return lambda _, now: worker.cancel(numbers[0]) if now == stage else None


def worker_files(worker: Worker) -> list[Path]:
    """The arrays that lie in its private folder."""
    return list(place_of(worker).glob("pddnet-*/[0-9]*"))


def place_of(worker: Worker) -> Path:
    """Where its private folder lies."""
    return worker._temporary


@pytest.mark.slow
@pytest.mark.parametrize("blocking", [True, False])
def test_a_process_that_does_not_hear_is_killed(host, make, waiting: Path, blocking: bool) -> None:
    worker, calls, other = make(waiting), Calls(), Calls()
    number = worker.submit({"do": "wait", "deaf": True}, lambda *_: worker.cancel(number), *calls.callbacks[1:])
    worker.submit({"do": "wait"}, *other.callbacks)
    if blocking:
        worker.waitFor(number)
    assert host.waitUntil(lambda: calls.over and other.over, 20)
    assert calls.failed[0].kind == "cancelled"
    assert other.failed[0].kind == "died"
    pid = worker.hello["pid"]
    assert _ends(pid)
    assert list(place_of(worker).iterdir()) == []
    assert answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"] != pid


def test_a_request_that_waits_is_cancelled_at_once_and_the_process_goes_on(make, waiting: Path) -> None:
    worker = make(waiting)
    first, second, third = Calls(), Calls(), Calls()
    requests = ({"do": "wait", "seconds": 3.0}, {"do": "wait"}, {"do": "wait", "seconds": 0.1})
    numbers = [
        worker.submit(request, *calls.callbacks)
        for request, calls in zip(requests, (first, second, third), strict=True)
    ]
    while not first.stages:
        worker._process.waitForReadyRead(100)
        worker._readOutput()
    worker.cancel(numbers[1])
    assert [failure.kind for failure in second.failed] == ["cancelled"]
    worker.cancel(numbers[1])
    worker.waitFor(numbers[2])  # longer than a request may take to end
    assert first.done == third.done == [{"pid": worker.hello["pid"]}]
    assert (len(second.failed), second.done, first.failed, third.failed) == (1, [], [], [])
    assert "cancelled" not in worker.log


def test_arrays_of_a_request_that_was_cancelled_while_it_waited_are_deleted(make, waiting: Path) -> None:
    from pddnet.worker.messages import pack

    worker = make(waiting)
    answer_to(worker, {"do": "wait", "seconds": 0.1})
    done = pack({"field": np.zeros(3)}, worker._arraysFolder, "99-out")
    assert len(worker_files(worker)) == 1
    worker._receive(json.dumps({"id": 99, "done": done}).encode())
    assert worker_files(worker) == []


class Unwanted(Exception):
    """Raised by a progress callback."""


def test_what_the_progress_callback_raises_cancels_and_comes_out_of_the_wait(make, waiting: Path) -> None:
    worker = make(waiting)

    def refuse(fraction: float, stage: str) -> None:
        raise Unwanted(stage)

    with pytest.raises(Unwanted, match="wait"):
        answer_to(worker, {"do": "wait"}, refuse)
    number = worker.submit({"do": "wait"}, onFailed=lambda failure: None)
    worker.cancel(number)
    worker.waitFor(number)
    assert answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"] == worker.hello["pid"]


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "blocking"), [("worker", True), ("worker", False), ("launcher", False)])
def test_a_killed_process_says_its_last_lines_and_the_next_request_starts_another(
    host, make, waiting: Path, victim: str, blocking: bool
) -> None:
    worker, calls = make(waiting), Calls()

    def kill(*_: object) -> None:
        os.kill(worker.hello["pid"] if victim == "worker" else worker._process.processId(), signal.SIGKILL)

    number = worker.submit({"do": "wait", "deaf": True}, kill, *calls.callbacks[1:])
    if blocking:
        worker.waitFor(number)
    assert host.waitUntil(lambda: calls.over, 20)
    failure = calls.failed[0]
    assert failure.kind == "died"
    assert "put" in failure.message.splitlines()
    assert "put" in failure.details.splitlines()
    assert list(place_of(worker).iterdir()) == []
    first = worker.hello["pid"]
    assert _ends(first)
    assert answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"] != first


@pytest.mark.slow
def test_a_request_from_within_a_failure(host, make, waiting: Path) -> None:
    worker, calls = make(waiting), Calls()
    worker.submit(
        {"do": "wait"},
        lambda *_: os.kill(worker.hello["pid"], signal.SIGKILL),
        onFailed=lambda _: worker.submit({"do": "wait", "seconds": 0.1}, *calls.callbacks),
    )
    assert host.waitUntil(lambda: calls.over, 20)
    assert calls.done[0]["pid"] == worker.hello["pid"]


def test_a_request_from_within_a_stop(host, make, waiting: Path) -> None:
    worker, calls = make(waiting), Calls()
    number = worker.submit(
        {"do": "wait"}, onFailed=lambda _: worker.submit({"do": "wait", "seconds": 0.1}, *calls.callbacks)
    )
    worker.stop()
    assert host.waitUntil(lambda: calls.over, 20)
    assert calls.done[0]["pid"] == worker.hello["pid"]
    worker.waitFor(number)  # long over


@pytest.mark.slow
def test_a_process_that_died_while_nothing_ran_is_noticed_by_the_next_request(make, waiting: Path) -> None:
    worker = make(waiting)
    first = answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"]
    os.kill(first, signal.SIGKILL)
    assert _ends(first)
    time.sleep(0.3)  # for the launcher
    assert answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"] != first


@pytest.mark.slow
def test_it_ends_when_idle_and_starts_again(host, make, waiting: Path) -> None:
    worker = make(waiting, idleSeconds=0.3)
    first = answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"]
    assert host.waitUntil(lambda: not worker.isRunning, 10)
    assert _ends(first)
    assert list(place_of(worker).iterdir()) == []
    second = answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"]
    assert second != first
    time.sleep(0.8)  # without an event loop: it has said goodbye, and nobody heard
    assert answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"] not in (first, second)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before it said hello", "idle", "computing", "deaf"])
def test_stop_leaves_nothing(make, waiting: Path, when: str) -> None:
    worker, calls = make(waiting), Calls()
    if when == "idle":
        answer_to(worker, {"do": "wait", "seconds": 0.1})
    elif when == "before it said hello":
        worker.submit({"do": "wait"}, *calls.callbacks)
    else:
        under_way: list[str] = []
        worker.submit({"do": "wait", "deaf": when == "deaf"}, lambda *_: under_way.append(""), *calls.callbacks[1:])
        while not under_way:
            worker._process.waitForReadyRead(100)
    worker.stop()
    assert not worker.isRunning
    assert list(place_of(worker).iterdir()) == []
    assert [failure.kind for failure in calls.failed] == ([] if when == "idle" else ["cancelled"])
    if when != "before it said hello":
        assert _ends(worker.hello["pid"])
    worker.stop()


def test_a_client_that_is_dropped_leaves_nothing(host, place: Path, waiting: Path) -> None:
    from PDDRegistrationLib.worker.client import Worker

    temporary = place / "tmp"
    temporary.mkdir()
    worker = Worker(worker_programs.make_launcher(place / "bin"), waiting, temporary, idleSeconds=1.0)
    pid = answer_to(worker, {"do": "wait", "seconds": 0.1})["pid"]
    known = weakref.ref(worker)
    del worker
    gc.collect()
    host.waitUntil(lambda: not _alive(pid), 10)
    host.processEvents(0.1)
    gc.collect()
    assert known() is None
    assert _ends(pid)
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_when_the_client_is_killed_the_process_ends_and_no_files_stay(place: Path, waiting: Path) -> None:
    temporary = place / "tmp"
    temporary.mkdir()
    launcher = worker_programs.make_launcher(place / "bin")
    argv = [sys.executable, "-m", "helpers.worker_programs", str(launcher), str(waiting), str(temporary)]
    client = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment())
    pid = int(client.stdout.readline())
    assert _alive(pid)
    assert list(temporary.glob("pddnet-*/99-0.npy"))
    client.kill()
    client.wait()
    assert _ends(pid)
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_wrong_input_a_missing_torch_and_a_fault(host, make, waiting: Path, pair: tuple[Image, Image]) -> None:
    from PDDRegistrationLib.worker.failure import WorkerError

    worker = make(waiting)
    flat = Image(np.zeros(pair[0].grid.shape, np.int16), pair[0].grid)
    with pytest.raises(InputError, match="moving volume: every voxel has the same value"):
        answer_to(worker, {"do": "register", "fixed": pair[0], "moving": flat})
    with pytest.raises(WorkerError, match="'second'") as caught:
        answer_to(worker, {"do": "wait", "second": 1})
    assert caught.value.failure.kind == "internal"
    assert "Traceback" in caught.value.failure.details
    (waiting / "torch.py").write_text("raise ImportError('no torch here')")
    calls = Calls()
    worker.stop()
    number = worker.submit({"do": "warm"}, *calls.callbacks)
    worker.waitFor(number)
    assert calls.failed[0].kind == "torch_missing"
    assert "no torch here" in calls.failed[0].message
    with pytest.raises(Cancelled):
        answer_to(worker, {"do": "wait"}, lambda *_: worker.cancel(number + 1))


def test_another_pddnet_is_refused(make, place: Path, waiting: Path) -> None:
    from PDDRegistrationLib.worker.failure import WorkerError

    (place / "empty").mkdir()
    with pytest.raises(WorkerError, match="instead of") as caught:  # finds the one that is installed here
        answer_to(make(place / "empty"), {"do": "warm"})
    assert caught.value.failure.kind == "mismatch"
    package = waiting / "pddnet" / "__init__.py"
    package.unlink()
    package.write_text('__version__ = "0.0.1"')
    with pytest.raises(WorkerError, match=r"0\.0\.1.*restart") as caught:
        answer_to(make(waiting), {"do": "warm"})
    assert caught.value.failure.kind == "mismatch"
    package.write_text(f'__version__ = "{pddnet.__version__}"')
    server = Path("pddnet", "worker", "server.py")
    source = (LIBRARY / server).read_text()
    (waiting / server).unlink()
    (waiting / server).write_text(source.replace("PROTOCOL = 1", "PROTOCOL = 99"))
    with pytest.raises(WorkerError, match="protocol 99"):
        answer_to(make(waiting), {"do": "warm"})


def test_a_python_that_is_not_there_or_fails_at_once(make, place: Path, waiting: Path) -> None:
    from PDDRegistrationLib.worker.failure import WorkerError

    with pytest.raises(WorkerError, match="cannot be started"):
        answer_to(make(program=place / "nowhere"), {"do": "warm"})
    (waiting / "pddnet" / "worker" / "server.py").unlink()
    (waiting / "pddnet" / "worker" / "server.py").write_text("raise SystemError('broken here')")
    with pytest.raises(WorkerError, match="broken here") as caught:
        answer_to(make(waiting), {"do": "warm"})
    assert caught.value.failure.kind == "died"


def test_a_temporary_folder_that_is_not_there(host, place: Path) -> None:
    from PDDRegistrationLib.worker.client import Worker

    with pytest.raises(InputError, match="temporary"):
        Worker(sys.executable, LIBRARY, place / "missing").submit({"do": "warm"})


def test_the_report_of_a_failed_run_tells_geometry_and_no_names(host, place: Path, pair: tuple[Image, Image]) -> None:
    from PDDRegistrationLib.ui.run_report import runReport, saveRunReport
    from PDDRegistrationLib.worker.failure import Failure

    request = {"do": "register", "fixed": pair[0], "moving": pair[1], "preset": "fast", "warp": {"Doe^John": pair[1]}}
    home = os.path.expanduser("~")
    failure = Failure("died", "Doe^John broke", f"{home}/scans/Doe^John.nrrd\nlast line")
    saveRunReport(
        place / "r.json", runReport(request, failure, ["a", "of Doe^John, Doe"], {"pid": 7}, ["Doe", "Doe^John"])
    )
    assert [path.name for path in place.iterdir()] == ["r.json"]
    text = (place / "r.json").read_text()
    report = json.loads(text)
    assert "Doe" not in text
    assert len(text) < 10_000
    assert report["failure"]["details"] == ["<home>/scans/<name>.nrrd", "last line"]
    assert report["log"] == ["a", "of <name>, <name>"]
    assert report["settings"] == {"do": "register", "preset": "fast"}
    assert report["inputs"]["moving"]["grid"]["size"] == pair[1].grid.size.tolist()
    assert report["inputs"]["moving"]["voxels"] == str(pair[1].array.dtype)
    assert np.allclose(report["inputs"]["fixed"]["grid"]["origin_lps_mm"], pair[0].grid.origin)
    assert report["versions"]["pddnet"] == pddnet.__version__
    with pytest.raises(InputError, match="cannot be written"):
        saveRunReport(place / "missing" / "r.json", report)
