"""`--sidecar`: what a transform was made with, and its verdict, in a file of its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from helpers.samples import fake_register, write_pair
from pddnet import __version__, pipeline
from pddnet.cli.main import main
from pddnet.io.weights_file import BUNDLED_SHA256


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "register", fake_register())


def _arguments(folder: Path, *more: str) -> list[str]:
    pair = write_pair(folder)
    return ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(folder / "T.h5"), *more]


def test_the_sidecar_says_what_the_report_says(tmp_path: Path, capsys) -> None:
    assert main(_arguments(tmp_path, "--sidecar", "--report", str(tmp_path / "R.json"))) == 0
    sidecar = json.loads((tmp_path / "T.h5.json").read_text("utf-8"))
    report = json.loads((tmp_path / "R.json").read_text("utf-8"))
    common = ["version", "preset", "weights", "status", "risk", "reasons", "inputs"]
    assert list(sidecar) == [*common, "options", "files"]
    assert sidecar["version"] == __version__
    assert sidecar["weights"] == {name: BUNDLED_SHA256[name] for name in ("semantic.npz", "expected_error.npz")}
    assert sidecar["inputs"] == {"fixed": str(tmp_path / "F.nii.gz"), "moving": str(tmp_path / "M.nii.gz")}
    assert {key: sidecar[key] for key in ("status", "risk", "reasons")} == {
        key: report["verdict"][key] for key in ("status", "risk", "reasons")
    }
    assert sidecar["preset"] == report["preset"]
    assert f"written   {tmp_path / 'T.h5.json'}" in capsys.readouterr().out


def test_without_the_option_nothing_stands_beside_the_transform(tmp_path: Path) -> None:
    assert main(_arguments(tmp_path)) == 0
    assert not (tmp_path / "T.h5.json").exists()


def test_the_report_cannot_have_the_name_of_the_sidecar(tmp_path: Path, capsys) -> None:
    assert main(_arguments(tmp_path, "--sidecar", "--report", str(tmp_path / "T.h5.json"))) == 2
    assert "two outputs have the same path" in capsys.readouterr().err
    assert not (tmp_path / "T.h5").exists()


def test_it_holds_what_the_result_depends_on(tmp_path: Path) -> None:
    more = ("--preset", "mind", "--smoothness", "2", "--sidecar", str(tmp_path / "S.json"))
    assert main(_arguments(tmp_path, *more)) == 0
    assert not (tmp_path / "T.h5.json").exists()
    sidecar = json.loads((tmp_path / "S.json").read_text("utf-8"))
    options = sidecar["options"]
    assert (options["preset"], options["smoothness"], options["iterations"], options["no_alignment"]) == (
        *("mind", 2.0, None, False),
    )
    for name, path in (("fixed", tmp_path / "F.nii.gz"), ("moving", tmp_path / "M.nii.gz")):
        content = path.read_bytes()
        assert sidecar["files"][name] == {
            "bytes": len(content),
            "modified_ns": path.stat().st_mtime_ns,
            "sha256": hashlib.sha256(content).hexdigest(),
        }


def test_a_scan_that_is_exported_again_during_the_run_is_not_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = _arguments(tmp_path, "--sidecar")
    moving = tmp_path / "M.nii.gz"
    used, found = moving.read_bytes(), fake_register()

    def overtaken(*args, **kwargs):
        moving.write_bytes(b"another scan")
        return found(*args, **kwargs)

    monkeypatch.setattr(pipeline, "register", overtaken)
    assert main(arguments) == 0
    files = json.loads((tmp_path / "T.h5.json").read_text("utf-8"))["files"]
    assert files["moving"]["sha256"] == hashlib.sha256(used).hexdigest()
