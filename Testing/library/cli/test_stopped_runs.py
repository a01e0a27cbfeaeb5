"""A run that is killed, interrupted or terminated at any moment leaves inputs alone and no half file."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk

from helpers.paths import environment
from helpers.samples import FIXED, fake_register, write_pair
from pddnet import pipeline
from pddnet.cli.main import main

OUTPUTS = ("T.h5", "W.nii.gz", "U.mha", "R.json")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals")]


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """A shell lets its background jobs, and all that they start, ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _arguments(pair: dict[str, str], out: Path) -> list[str]:
    names = dict(zip(("--output-transform", "--output-volume", "--output-spread", "--report"), OUTPUTS, strict=True))
    tail = [word for option, name in names.items() for word in (option, str(out / name))]
    return ["register", "--fixed", pair["F"], "--moving", pair["M"], *tail]


def _stop(moment: str, sent: signal.Signals, folder: Path, argv: list[str]) -> tuple[int, str]:
    """Start the command, send the signal at that moment, and return the exit code and standard error."""
    marker = folder / "marker"
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers.stopped_run", moment, str(marker), *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    try:
        for _ in range(600):
            if marker.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        assert marker.exists(), process.stderr.read().decode()
        process.send_signal(sent)
        error = process.communicate(timeout=30)[1].decode()
    finally:
        process.kill()
        process.wait()
    return process.returncode, error


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("moment", "sent", "code"),
    [
        ("read", signal.SIGKILL, -9),
        ("register", signal.SIGKILL, -9),
        ("transform", signal.SIGKILL, -9),
        ("write", signal.SIGKILL, -9),
        ("read", signal.SIGTERM, 143),
        ("register", signal.SIGINT, 130),
        ("write", signal.SIGINT, 130),
        ("write", signal.SIGTERM, 143),
    ],
)
def test_stopped_before_the_end(tmp_path: Path, monkeypatch, moment: str, sent: signal.Signals, code: int) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    out.mkdir()
    pair = write_pair(inputs)
    (out / "T.h5").write_bytes(b"the result of an earlier run")
    before = _digests(inputs), _digests(out)
    returned, error = _stop(moment, sent, tmp_path, _arguments(pair, out))
    assert returned == code
    visible = {name: digest for name, digest in _digests(out).items() if not name.startswith(".")}
    assert (_digests(inputs), visible) == before
    left = [name for name in os.listdir(out) if name.startswith(".")]
    if sent != signal.SIGKILL:
        assert left == []
        assert error == f"pddnet: {'interrupted' if code == 130 else 'terminated'}; nothing was written\n"
        return
    assert bool(left) == (moment in ("transform", "write"))  # a killed process cannot tidy up
    monkeypatch.setattr(pipeline, "register", fake_register())
    assert main(_arguments(pair, out)) == 0  # but the next one does
    assert sorted(os.listdir(out)) == sorted(OUTPUTS)


def test_killed_between_two_renames_every_file_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    pair = write_pair(tmp_path)
    assert _stop("rename", signal.SIGKILL, tmp_path, _arguments(pair, out))[0] == -9
    visible = [name for name in os.listdir(out) if not name.startswith(".")]
    assert visible == ["T.h5"]  # and not the report, which comes last
    assert sitk.ReadTransform(str(out / "T.h5")).GetDimension() == 3


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_between_renames_waits_for_the_last(tmp_path: Path, monkeypatch, capsys, sent, code) -> None:
    pair = write_pair(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    replace = os.replace

    def replace_and_signal(source: Path, target: Path) -> None:
        replace(source, target)
        os.kill(os.getpid(), sent)

    monkeypatch.setattr(pipeline, "register", fake_register())
    monkeypatch.setattr(os, "replace", replace_and_signal)
    assert main(_arguments(pair, out)) == code
    assert capsys.readouterr().err.endswith("; the outputs are complete\n")
    assert sorted(os.listdir(out)) == sorted(OUTPUTS)
    assert sitk.ReadImage(str(out / "W.nii.gz")).GetSize() == tuple(FIXED.size)


@pytest.mark.parametrize(
    ("moment", "sent"), [("register", signal.SIGKILL), ("rename", signal.SIGKILL), ("write", signal.SIGTERM)]
)
def test_a_stopped_sequence_has_whole_frames_and_goes_on(tmp_path: Path, monkeypatch, moment: str, sent) -> None:
    pair, out = write_pair(tmp_path), tmp_path / "out"
    argv = ["sequence", "--frames", pair["F"], pair["M"], "--reference", "0", "--out", str(out), "--warped"]
    _stop(moment, sent, tmp_path, argv)
    for record in out.glob("frame_*.json"):
        assert sitk.ReadTransform(str(record.with_suffix(".h5"))).GetDimension() == 3
        assert sitk.ReadImage(str(out / f"{record.stem}_warped.nii.gz")).GetSize() == tuple(FIXED.size)
    assert not (out / "report.json").exists()
    assert len(list(out.glob("frame_*.json"))) == (moment == "register")
    monkeypatch.setattr(pipeline, "register", fake_register())
    assert main(argv) == 0
    names = [f"frame_00{n}{end}" for n in (0, 1) for end in (".h5", ".json", "_warped.nii.gz")]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "motion.csv", "report.json"])
