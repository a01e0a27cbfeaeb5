"""Hostile names, limits and streams: the command works where it can, and else ends with one line and exit code 2."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from helpers.paths import environment
from helpers.samples import FIXED, SHIFT, fake_register, write_pair
from pddnet import pipeline
from pddnet.cli.console import Console, printable
from pddnet.cli.main import main
from pddnet.errors import InputError
from pddnet.io.atomic_outputs import _HOST, sweep
from pddnet.io.landmarks import read_points
from pddnet.io.paths import itk_name
from pddnet.io.transforms import read_transform
from pddnet.io.volumes import read_volume
from pddnet.io.weights_file import read_weights

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names in other encodings")
OTHER = os.fsdecode(b"b\xfcse")  # a name in Latin-1
LONG = "a" * 300


def _line(capfd, argv: list[object]) -> str:
    """Run the command, which must refuse with one line, and return that."""
    assert main([str(word) for word in argv]) == 2
    error = capfd.readouterr().err
    assert error.startswith("pddnet: ") and error.count("\n") == 1
    return error.removeprefix("pddnet: ").rstrip("\n")


def _arguments(pair: dict[str, str], transform: object) -> list[object]:
    return ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", transform]


@linux
@pytest.mark.parametrize("inside", [False, True])
def test_folders_whose_names_are_not_utf8(tmp_path: Path, monkeypatch, inside: bool) -> None:
    plain, folder = tmp_path / "plain", tmp_path / OTHER
    plain.mkdir()
    pair = write_pair(plain)
    plain.rename(folder)
    pair = {name: str(folder / Path(path).name) for name, path in pair.items()}
    if inside:
        monkeypatch.chdir(folder)
        pair = {name: Path(path).name for name, path in pair.items()}
    monkeypatch.setattr(pipeline, "register", fake_register())
    out = Path() if inside else folder
    argv = [*_arguments(pair, out / "T.h5"), "--output-volume", out / "W.nrrd", "--output-inverse", out / "V.tfm"]
    assert main([str(word) for word in [*argv, "--report", out / "R.json"]]) == 0
    transform = read_transform(out / "T.h5")
    point = FIXED.index_to_point([4, 5, 6])
    assert np.allclose(transform.TransformPoint(point.tolist()), point + SHIFT, atol=0.01)
    assert read_volume(out / "W.nrrd")[0].grid.same_as(FIXED)
    assert json.loads((out / "R.json").read_text())["outputs"]["transform"] == str(out / "T.h5")
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []


@linux
def test_files_whose_names_are_not_utf8(tmp_path: Path, capfd) -> None:
    pair = write_pair(tmp_path)
    bad = tmp_path / os.fsdecode(b"f\xfc.nii.gz")
    os.rename(pair["F"], bad)
    line = _line(capfd, _arguments({**pair, "F": str(bad)}, tmp_path / "T.h5"))
    assert "the file name is not in UTF-8, and ITK cannot open it; rename the file" in line


@linux
def test_a_series_in_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / OTHER
    folder.mkdir()
    reader = sitk.ImageFileWriter()
    reader.KeepOriginalImageUIDOn()
    for number in range(20):
        image = sitk.GetImageFromArray(np.random.default_rng(number).integers(-900, 900, (1, 20, 22)).astype(np.int16))
        image.SetSpacing((2.0, 2.5, 3.0))
        image.SetMetaData("0008|0060", "CT")
        image.SetMetaData("0020|000e", "1.2.3.4")
        image.SetMetaData("0020|0032", f"-10\\20\\{3.0 * number - 300}")
        image.SetMetaData("0020|0037", "1\\0\\0\\0\\1\\0")
        reader.SetFileName(itk_name(folder / f"{number}.dcm"))
        reader.Execute(image)
    volume = read_volume(folder)[0]
    assert np.allclose(volume.grid.origin, [-10, 20, -300], atol=0.01)
    assert np.allclose(volume.grid.spacing, [2, 2.5, 3], atol=0.01)


def test_names_that_no_file_can_have(tmp_path: Path, capfd) -> None:
    pair = write_pair(tmp_path)
    long = _line(capfd, _arguments({**pair, "M": f"{tmp_path}/{LONG}.nii"}, tmp_path / "T.h5"))
    assert long.endswith(".nii: the path cannot be used (File name too long); correct it")
    nul = _line(capfd, _arguments({**pair, "M": f"{tmp_path}/m\0.nii"}, tmp_path / "T.h5"))
    assert nul == f"{tmp_path}/m\\x00.nii: the path cannot be used (embedded null byte); correct it"
    out = _line(capfd, _arguments(pair, f"{tmp_path}/{LONG}.h5"))
    assert out.endswith("aa.h5: the output path cannot be used (File name too long); correct it")
    inside = _line(capfd, _arguments(pair, f"{pair['F']}/T.h5"))
    assert (
        inside == f"{pair['F']}/T.h5: the output folder {os.path.realpath(pair['F'])} is no folder; choose another one"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path, capfd) -> None:
    pair, pipe = write_pair(tmp_path), tmp_path / "p.nii.gz"
    os.mkfifo(pipe)
    said = f"{pipe}: this is a pipe or a device, not a file; save the content in a file first"
    assert _line(capfd, _arguments({**pair, "M": str(pipe)}, tmp_path / "T.h5")) == said
    assert _line(capfd, [*_arguments(pair, tmp_path / "T.h5"), "--initial-transform", pipe]) == said
    assert _line(capfd, ["train", pipe]) == said
    with pytest.raises(InputError, match="this is a pipe"):
        read_points(pipe)
    with pytest.raises(InputError, match="a pipe or a device, and no weights file"):
        read_weights(pipe, "pdd")
    with pytest.raises(InputError, match="this is a folder; give a transform file"):
        read_transform(tmp_path)
    with pytest.raises(InputError, match="this is a pipe"):
        read_volume("/dev/null")


def test_what_the_system_refuses_is_no_fault_of_the_program(tmp_path: Path, capfd, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "checkpoint.npz"))

    monkeypatch.setattr(pipeline, "register", full)
    line = _line(capfd, _arguments(write_pair(tmp_path), tmp_path / "T.h5"))
    assert line == (
        f"{tmp_path}/checkpoint.npz: No space left on device; correct the path, free space or choose another folder"
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux heeds this limit")
@pytest.mark.parametrize("megabytes", [300, 480, 700])
def test_too_little_address_space(tmp_path: Path, megabytes: int) -> None:
    limit = megabytes << 20
    done = subprocess.run(
        [sys.executable, "-m", "pddnet", *map(str, _arguments(write_pair(tmp_path), tmp_path / "T.h5"))],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,  # a hang is the fault, not a busy machine
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"pddnet: this process may use {megabytes} MB of memory only (ulimit -v), and needs 1200 MB or more; "
        "raise that limit\n"
    )


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
@pytest.mark.parametrize("argv", [["--help"], ["register", "--help"], ["--version"]])
def test_a_full_standard_output_is_no_success(argv: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pddnet", *argv], stdout=full, stderr=subprocess.PIPE, env=environment(), text=True
        )
    assert done.returncode == 2
    assert done.stderr == (
        "pddnet: standard output cannot be written (No space left on device); send it where there is space\n"
    )


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, capfd) -> None:
    assert printable("a\x1b[2J\x07b\nc\x9b\x7f µ") == "a\\x1b[2J\\x07b\nc\\x9b\\x7f µ"
    Console().line("liver\x1b]0;owned\x07")
    assert capfd.readouterr().out == "liver\\x1b]0;owned\\x07\n"
    Console()(0.5, "atlas \x1b[2J")
    assert capfd.readouterr().out.endswith("  50 %  atlas \\x1b[2J\n")
    line = _line(capfd, _arguments({"F": f"{tmp_path}/\x1b[31mf.nii", "M": "m.nii"}, tmp_path / "T.h5"))
    assert line == f"{tmp_path}/\\x1b[31mf.nii: no such file or folder; correct the path"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("sent", [signal.SIGQUIT, signal.SIGUSR1, signal.SIGXCPU])
def test_signals_of_schedulers_leave_nothing_behind(tmp_path: Path, monkeypatch, capfd, sent: int) -> None:
    pair, write = write_pair(tmp_path), sitk.WriteImage
    signal.signal(sent, signal.SIG_DFL)  # a shell that starts the tests in the background ignores SIGQUIT

    def write_and_signal(*settings: object) -> None:
        write(*settings)
        os.kill(os.getpid(), sent)

    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(pipeline, "register", fake_register())
    monkeypatch.setattr(sitk, "WriteImage", write_and_signal)
    argv = [*_arguments(pair, tmp_path / "T.h5"), "--output-volume", tmp_path / "W.nii.gz"]
    assert main([str(word) for word in argv]) == 143
    assert capfd.readouterr().err == "pddnet: terminated; nothing was written\n"
    assert sorted(os.listdir(tmp_path)) == before


@linux
def test_what_a_killed_run_left_is_removed_though_its_number_is_used_again(tmp_path: Path) -> None:
    """In a container every run has the same process number: that of this one, which is younger than the file."""
    names = {age: f".pddnet-{_HOST:x}-{os.getpid()}-{age}-transform.h5" for age in ("old", "new")}
    for name in names.values():
        (tmp_path / name).write_bytes(b"x")
    os.utime(tmp_path / names["old"], (0, psutil.Process().create_time() - 60))
    sweep(tmp_path)
    assert os.listdir(tmp_path) == [names["new"]]
