"""Why a command ends early: one line on standard error, an exit code, and nothing of the program's own changed."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest

from helpers.samples import write_pair
from pddnet import pipeline
from pddnet.cli import main as command
from pddnet.cli.main import main
from pddnet.cli.stops import Stopped, Terminated, leaving
from pddnet.errors import Cancelled


def _raising(error: BaseException):
    def run(*_: object, **__: object) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
        (Cancelled("cancelled"), 130, "interrupted; nothing was written"),
        (Terminated(), 143, "terminated; nothing was written"),
        (Stopped(Terminated(), "half of it stands"), 143, "terminated; half of it stands"),
        (Stopped(KeyboardInterrupt(), "half of it stands"), 130, "interrupted; half of it stands"),
    ],
)
def test_what_stops_a_command(monkeypatch: pytest.MonkeyPatch, capsys, error, code: int, line: str) -> None:
    monkeypatch.setattr(command, "_run", _raising(error))
    assert main(["register"]) == code
    assert capsys.readouterr().err == f"pddnet: {line}\n"


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), Terminated(), Cancelled("cancelled")])
def test_what_is_left_is_asked_for_when_the_stop_comes(reason: BaseException) -> None:
    left = ["nothing"]

    def work() -> None:
        with leaving(lambda: left[-1]):
            left.append("all")
            raise reason

    with pytest.raises(Stopped) as caught:
        work()
    assert (caught.value.reason, caught.value.left, caught.value.__cause__) == (reason, "all", reason)


def test_a_fault_passes_through_what_tells_of_stops() -> None:
    with pytest.raises(ZeroDivisionError), leaving(lambda: pytest.fail("nobody stopped it")):
        raise ZeroDivisionError


def test_too_little_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(pipeline, "register", _raising(MemoryError()))
    pair = write_pair(tmp_path)
    out = tmp_path / "T.h5"
    assert main(["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(out)]) == 2
    assert capsys.readouterr().err == (
        "pddnet: the memory of this machine does not suffice; close other programs, crop the volumes or use "
        "--preset fast\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.nii.gz", "B.nii.gz", "F.nii.gz", "M.nii.gz"]


def test_a_fault_shows_its_traceback_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(command, "_run", _raising(ZeroDivisionError("by nothing\nat all")))
    assert main([]) == 1
    assert capsys.readouterr().err == (
        "pddnet: internal fault, ZeroDivisionError: by nothing at all; set PDDNET_TRACEBACK=1, run again and report "
        "what it prints\n"
    )
    monkeypatch.setenv("PDDNET_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main([])


def test_the_line_begins_below_the_bar_of_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["dance"]) == 2
    assert capsys.readouterr().out == "\n"


def test_without_streams_the_code_alone_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["dance"]) == 2


def test_in_another_thread_no_signal_is_touched(capsys) -> None:
    before, found = signal.getsignal(signal.SIGTERM), []
    thread = threading.Thread(target=lambda: found.append(main(["dance"])))
    thread.start()
    thread.join()
    assert found == [2]
    assert signal.getsignal(signal.SIGTERM) is before
    assert "invalid choice: 'dance'" in capsys.readouterr().err


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_sigterm_ends_a_command_unless_the_program_ignores_it(monkeypatch: pytest.MonkeyPatch, before) -> None:
    seen = []
    monkeypatch.setattr(command, "_run", lambda _: seen.append(signal.getsignal(signal.SIGTERM)) or 0)
    usual = signal.signal(signal.SIGTERM, before)
    try:
        assert main([]) == 0
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, usual)
    if before is signal.SIG_IGN:
        assert seen == [before]
    else:
        with pytest.raises(Terminated):
            seen[0]()
