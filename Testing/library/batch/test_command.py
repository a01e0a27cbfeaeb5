"""`pddnet batch`: what it refuses, its exit codes, and that its pairs are what `pddnet register` makes of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
from distributed import Client

from helpers import batches, samples
from pddnet.batch import cluster
from pddnet.batch.jobs import Outputs, arguments_of, outputs_of
from pddnet.batch.pairs import FILES, SERIES, Pair
from pddnet.cli import batch as command
from pddnet.cli import register_arguments
from pddnet.cli.main import main


@pytest.fixture
def started(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The stand-in registers, in threads of this process; the numbers of workers that were asked for."""
    asked: list[int] = []

    @contextlib.contextmanager
    def local_cluster(workers: int, resources: dict[str, float] | None = None) -> Iterator[Client]:
        asked.append(workers)
        yield client

    monkeypatch.setattr(command, "local_cluster", local_cluster)
    monkeypatch.setattr(command, "RUNNER", batches.RUNNER)
    return asked


def _arguments(folder: Path, *more: str) -> list[str]:
    scans = ["--fixed", str(folder / "fixed.nii.gz"), "--moving-glob", str(folder / "m*.nii.gz")]
    return ["batch", *scans, "--out", str(folder / "out"), *more]


@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        ({"m1": {}, "m2": {"verdict": "doubtful"}}, 0, "2 of 2 pairs are whole"),
        ({"m1": {}, "m2": {"verdict": "failed"}}, 3, "2 of 2 pairs are whole"),
        ({"m1": {"fail": "it is broken"}, "m2": {"verdict": "failed"}}, 4, "not done: it is broken"),
    ],
)
def test_the_exit_code_says_how_it_went(
    tmp_path: Path, started: list[int], told: dict[str, Any], code: int, said: str, capsys
) -> None:
    batches.write_scans(tmp_path, told)
    assert main(_arguments(tmp_path, "--workers", "7")) == code
    assert said in capsys.readouterr().out
    assert started == [2]  # no more than pairs
    assert main(_arguments(tmp_path)) == code  # again: what is whole is kept, and judged all the same
    assert f"{sum('fail' not in scan for scan in told.values())} of 2 pairs are whole" in capsys.readouterr().out


def test_what_is_whole_needs_no_cluster(tmp_path: Path, started: list[int], capsys) -> None:
    batches.write_scans(tmp_path, {"m1": {}})
    assert main(_arguments(tmp_path)) == 0
    (tmp_path / "out" / "summary.html").unlink()
    assert main(_arguments(tmp_path)) == 0
    assert started == [1]
    assert (tmp_path / "out" / "summary.html").exists()
    assert main(_arguments(tmp_path, "--preset", "mind")) == 0  # made otherwise
    assert len(started) == 2


def test_a_summary_that_cannot_be_written_is_told(tmp_path: Path, started: list[int], capsys) -> None:
    batches.write_scans(tmp_path, {"m1": {}})
    (tmp_path / "out" / "summary.html").mkdir(parents=True)
    assert main(_arguments(tmp_path)) == 4
    assert "summary.html: is a folder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give one of a table, --fixed with --moving-glob, and --bids"),
        (("p.csv", "--bids", "."), "give one of a table"),
        (("--moving-glob", "*"), "--moving-glob needs --fixed"),
        (("p.csv", "--fixed", "p.csv"), "--fixed belongs to --moving-glob or --bids"),
        (("p.csv",), "there are no pairs in it"),
        (("p.csv", "--preset", "none"), "no preset"),
        (("p.csv", "--device", "tpu"), "there is no device 'tpu'"),
        (("p.csv", "--workers", "0"), "--workers 0: give 1 or more"),
        (("p.csv", "--limit-memory", "0.01"), "--limit-memory 0.01: give 0.1 or more"),
        (("p.csv", "--workers", "1", "--scheduler", "tcp://x:1"), "not allowed with"),
    ],
)
def test_wrong_arguments_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], told: str, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text("fixed,moving\n", "utf-8")
    assert main(["batch", *arguments, "--out", "out"]) == 2
    assert told in capsys.readouterr().err
    assert not Path("out").exists()


def test_resources_are_a_name_and_a_number(tmp_path: Path, capsys) -> None:
    batches.write_scans(tmp_path, {"m1": {}})
    assert main(_arguments(tmp_path, "--resources", "GPU=one")) == 2
    assert "--resources GPU=one: give a name and a number" in capsys.readouterr().err


def test_a_scheduler_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    batches.write_scans(tmp_path, {"m1": {}})
    assert main(_arguments(tmp_path, "--scheduler", "tcp://127.0.0.1:9")) == 2
    assert "tcp://127.0.0.1:9: no Dask scheduler answers" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["dask", "distributed", "jinja2"])
def test_a_missing_package_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, capsys
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["batch", "p.csv", "--out", str(tmp_path / "out")]) == 2
    assert f"pddnet batch needs {missing}" in (said := capsys.readouterr().err)
    assert "pip install 'pddnet[cluster]'" in said


def test_nothing_of_dask_is_imported_otherwise() -> None:
    code = (
        "import sys; from pddnet.cli.main import build_parser; import pddnet.cli.pair_tasks; "
        "build_parser('batch'); print(sorted({'dask', 'distributed', 'jinja2', 'psutil', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_register_understands_what_a_pair_is_written_as() -> None:
    files = {name: f"/d/-{name}.nii.gz" for name in FILES}
    pair = Pair("p", files, dict.fromkeys(SERIES, "2"))
    outputs = outputs_of(pair, Outputs(warped=True, pages=True))
    parser = argparse.ArgumentParser()
    register_arguments.add_arguments(parser)
    args = parser.parse_args(arguments_of(pair, Path("/out/p"), outputs, ["--preset=fast"]))
    for name, path in files.items():
        assert getattr(args, name) == path
    assert (args.moving_series, args.preset) == ("2", "fast")
    written = (args.output_transform, args.output_preview, args.output_volume, args.output_labels, args.output_motion)
    assert (*written, args.report_html, args.sidecar, args.report) == tuple(
        f"/out/p/{name}" for name in outputs.values()
    )


def _displacements(path: Path) -> tuple[float, ...]:
    """All numbers of a transform: its field, or the file's parts one after the other."""
    transform = sitk.ReadTransform(str(path))
    found = (*transform.GetFixedParameters(), *transform.GetParameters())
    assert len(found) > 1000
    return found


@pytest.mark.slow
def test_pairs_are_what_the_command_makes_of_them_alone(tmp_path: Path, capsys) -> None:
    """Two real pairs and a scan that is none, with our own process, which keeps the fixed scan between them."""
    fixed, moving = samples.bent_pair()
    images = {"fixed": fixed, "moving1": moving, "moving2": samples.small_pair()[1]}
    paths = {name: samples.save(image, tmp_path / f"{name}.nii.gz") for name, image in images.items()}
    (tmp_path / "moving3.nii.gz").write_bytes(b"no scan")
    assert main(_arguments(tmp_path, "--preset", "fast", "--workers", "1", "--threads", "1", "--warped")) == 4
    for number in (1, 2):
        folder, alone = tmp_path / "out" / f"moving{number}", tmp_path / f"alone{number}.nii.gz"
        arguments = [sys.executable, "-m", "pddnet", "register", "--preset", "fast", "--fixed", str(paths["fixed"])]
        arguments += ["--moving", str(paths[f"moving{number}"]), "--output-transform", str(tmp_path / "t.h5")]
        arguments += ["--output-volume", str(alone)]
        done = subprocess.run(arguments, capture_output=True, timeout=300, check=False)
        assert done.returncode in (0, 3), done.stderr
        name = f"from-moving{number}_to-fixed_mode-image_xfm"
        assert _displacements(folder / f"{name}.h5") == _displacements(tmp_path / "t.h5")
        assert (folder / f"desc-moving{number}_space-fixed_ct.nii.gz").read_bytes() == alone.read_bytes()
        sidecar = json.loads((folder / f"{name}.json").read_text("utf-8"))
        assert sidecar["options"]["preset"] == "fast" and re.fullmatch(
            "[0-9a-f]{64}", sidecar["files"]["fixed"]["sha256"]
        )
        assert (folder / "preview.png").read_bytes().startswith(b"\x89PNG")
    table = (tmp_path / "out" / "summary.csv").read_text("utf-8")
    assert "moving3.nii.gz: this is not an image in a format that can be read" in table
    (tmp_path / "moving3.nii.gz").unlink()
    capsys.readouterr()
    assert main(_arguments(tmp_path, "--preset", "fast", "--warped")) in (0, 3)  # its own sidecars are known again
    assert "2 of 2 pairs are whole" in capsys.readouterr().out.splitlines()[0]
