"""The command and the worker change settings of their process; a program that calls the library keeps its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import pddnet
from helpers.samples import write_pair
from pddnet.cli.console import Console
from pddnet.cli.main import main
from pddnet.tensor.execution import Work
from pddnet.training.config import TrainingConfig
from pddnet.training.run import TrainingRun

PARENT = Path(pddnet.__file__).parents[1]

STATE = """
import faulthandler, gc, locale, os, signal, sys
import numpy as np, SimpleITK as sitk

def state(torch=None):
    os.umask(mask := os.umask(0))
    found = {
        "environment": dict(os.environ),
        "garbage": (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.excepthook),
        "imports": (list(sys.path), list(sys.meta_path)),
        "numpy": np.geterr(),
        "sitk": sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(),
        "process": (mask, locale.setlocale(locale.LC_ALL), faulthandler.is_enabled(), os.getcwd()),
    }
    if torch:
        found["torch"] = (
            torch.get_num_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
            torch.are_deterministic_algorithms_enabled(), torch.backends.mkldnn.enabled,
            torch.get_default_dtype(), torch.random.get_rng_state().tolist(),
        )
    return found
"""


def _run(code: str, *arguments: str, **variables: str) -> list[str]:
    """The last words that a program prints in a process whose environment says nothing of OpenMP but `variables`."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"PYTHONPATH": str(PARENT), **variables}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.mark.slow
def test_importing_the_library_changes_nothing() -> None:
    code = f"{STATE}before = state()\nimport pddnet, pddnet.pipeline, pddnet.cli.main, pddnet.worker.server\n"
    assert _run(code + "after = state()\nprint([n for n in before if before[n] != after[n]])") == ["[]"]


@pytest.mark.slow
@pytest.mark.parametrize("loaded", ["torch", "None"])
def test_a_program_that_runs_the_command_keeps_its_settings(tmp_path: Path, loaded: str) -> None:
    pair = write_pair(tmp_path)
    argv = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--preset", "fast"]
    argv += ["--output-transform", str(tmp_path / "T.h5"), "--report", str(tmp_path / "R.json")]
    code = (
        f"{STATE}"
        f"{'import torch; torch.set_num_threads(3)' if loaded == 'torch' else ''}\n"
        f"from pddnet.cli.main import main\nbefore = state({loaded})\n"
        f"code = main(sys.argv[1:])\nafter = state({loaded})\n"
        "print(code in (0, 3), [n for n in before if before[n] != after[n]])"
    )
    assert _run(code, *argv) == ["True", "[]"]


def test_the_command_leaves_malloc_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pddnet.process._glibc", lambda: pytest.fail("malloc was set for good"))
    assert main(["evaluate", "--transform", "missing.h5"]) == 2


ENTRIES = {
    "command": "from pddnet import __main__; __main__.main = lambda: show() or 0; __main__.command()",
    "worker": "from pddnet.worker import server; server._Server.serve = lambda self: show(); server.main('folder')",
}
SHOW = """
import gc, os, sys
def show():
    before = gc.get_threshold()[0]
    import pddnet.tensor
    line = f"{os.environ['OMP_WAIT_POLICY']} {before > 100000} {gc.get_threshold() == usual}"
    os.write(answers, line.encode())
usual, answers = gc.get_threshold(), os.dup(1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("entry", list(ENTRIES))
@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_the_entries_set_what_suits_a_process_that_only_computes(entry: str, given: dict, expected: str) -> None:
    assert _run(SHOW + ENTRIES[entry], **given) == [expected, "True", "True"]


def test_no_thread_is_left_with_one_of_torchs_threads() -> None:
    """Threads that meet torch while another is in `each`, in it themselves or not, get the process's number."""
    before, found = torch.get_num_threads(), {}
    torch.set_num_threads(3)
    running, finish = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        running.set()
        assert finish.wait(60)

    def each() -> None:
        at_work = []
        Work().each(lambda _: at_work.append(torch.get_num_threads()), [(i,) for i in range(5)], torch.device("cpu"))
        found["each"] = at_work, torch.get_num_threads()

    first = threading.Thread(target=lambda: Work().each(hold, [(i,) for i in range(3)], torch.device("cpu")))
    try:
        first.start()
        assert running.wait(60)
        for target in (each, lambda: found.update(alone=torch.get_num_threads())):
            other = threading.Thread(target=target)
            other.start()
            other.join()
    finally:
        finish.set()
        first.join()
        after = torch.get_num_threads()
        torch.set_num_threads(before)
    assert found == {"each": ([1] * 5, 3), "alone": 3}
    assert after == 3


def test_many_threads_in_each_at_once_leave_the_number_as_it_was() -> None:
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(3)

    def repeat() -> None:
        for _ in range(20):
            Work().each(lambda _: found.append(torch.get_num_threads()), [(i,) for i in range(4)], torch.device("cpu"))
        found.append(torch.get_num_threads())

    threads = [threading.Thread(target=repeat) for _ in range(6)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        new: list[int] = []
        late = threading.Thread(target=lambda: new.append(torch.get_num_threads()))
        late.start()
        late.join()
    finally:
        torch.set_num_threads(before)
    assert sorted(found) == [1] * (6 * 20 * 4) + [3] * 6
    assert new == [3]


def test_a_reader_that_leaves_changes_no_stream_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    stream = Broken()
    monkeypatch.setattr(sys, "stdout", stream)
    console = Console()
    console.line("first")
    console.line("second")
    assert sys.stdout is stream
    assert stream.getvalue() == "first\n"


@pytest.mark.skipif(os.name != "posix", reason="a pipe without a reader")
def test_the_commands_code_stands_where_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pddnet", "--version"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_training_leaves_the_programs_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    config = TrainingConfig(out=tmp_path, virtual=1, iterations=1)
    first = TrainingRun.start(config, None, torch.device("cpu"))
    assert torch.rand(3).tolist() == expected.tolist()
    again = TrainingRun.start(config, None, torch.device("cpu"))
    for one, other in zip(first.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, other)
