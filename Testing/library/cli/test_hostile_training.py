"""`pddnet train` where files are missing, settings are absurd or the disk is full: one line, nothing left behind."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from helpers.samples import MOVING, body, save
from pddnet.cli.main import main
from pddnet.errors import InputError
from pddnet.io.label_names import read_names
from pddnet.io.weights_file import write_weights
from pddnet.training import loop
from pddnet.training.config import TrainingConfig, read_config
from pddnet.training.loop import Outcome
from pddnet.training.run import TrainingRun
from pddnet.training.sources import read_validation


def _config(folder: Path, **settings: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"out": "run", "virtual": 1, **settings}))
    return path


@pytest.mark.parametrize("kind", ["anatomies", "donors"])
def test_a_label_map_that_is_missing(tmp_path: Path, capsys, kind: str) -> None:
    assert main(["train", str(_config(tmp_path, **{kind: ["maps/none.nii.gz"]}))]) == 2
    assert capsys.readouterr().err == f"pddnet: {tmp_path}/maps/none.nii.gz: no such file or folder; correct the path\n"
    (tmp_path / "maps").mkdir()
    assert main(["train", str(_config(tmp_path, **{kind: ["maps"]}))]) == 2
    assert capsys.readouterr().err == f"pddnet: {tmp_path}/maps: this is a folder; give a file\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning_rate": 0}, "'learning_rate' must be above zero and at most 1, not 0"),
        ({"learning_rate": 5}, "'learning_rate' must be above zero and at most 1, not 5"),
        ({"virtual": 10**9}, "'virtual' must be 10000 or less, not 1000000000"),
        ({"width": 10**9 - 10**9 % 8}, "'width' must be 1024 or less"),
        ({"seed": 2**64}, f"'seed' must be {2**62} or less"),
        ({"seed": 10**400}, "'seed' must be a number that is not negative, not inf"),
        ({"iterations": 10**12}, "'iterations' must be 1000000000 or less"),
        ({"pairs": {"view": [10**6, 10**6, 10**6]}}, "'view' must hold 134217728 voxels or fewer"),
        ({"pairs": {"steps": 10**9}}, "'steps' must be 101 or less"),
        ({"pairs": {"channels": 10**9}}, "'channels' must be 1024 or less"),
        ({"shares": {"a": 1}}, "'shares' are 4 numbers"),
        ({"anatomies": [[1]]}, "'anatomies' must be a list of files"),
    ],
)
def test_settings_that_no_machine_can_follow(tmp_path: Path, settings: dict, said: str) -> None:
    path = _config(tmp_path, **settings)
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"out": ' + "[" * 100_000, '{"out": "\udcff"}'])
def test_files_that_are_no_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"nested too deeply|neither UTF-8"):
        read_config(path)
    with pytest.raises(InputError, match=r"nested too deeply|neither UTF-8"):
        read_names(path)


@pytest.mark.parametrize("text", ['{"1": [2]}', '{"a": "liver"}', "[1]", "null"])
def test_tables_of_names_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(InputError, match=r"labels\.json: .*; correct or remove it"):
        read_names(tmp_path / "labels.json")


def test_a_folder_without_a_scan_to_validate_on(tmp_path: Path) -> None:
    case = tmp_path / "validation" / "one"
    case.mkdir(parents=True)
    save(body(MOVING), case / "ct.nii.gz")  # without labels
    config = TrainingConfig(tmp_path / "run", virtual=1, validation=tmp_path / "validation")
    with pytest.raises(InputError, match="no scan in this folder can be validated on; correct it or leave it out"):
        read_validation(config, lambda text: None)


def test_without_validation_that_is_said(tmp_path: Path, capsys, monkeypatch) -> None:
    outcome = Outcome(1, tmp_path / "none", float("nan"), False)
    monkeypatch.setattr(loop, "train", lambda *_, **__: outcome)
    assert main(["train", str(_config(tmp_path))]) == 0
    said = "there is no scan to validate on, so the last weights are kept and not the best; give 'validation'"
    assert f"warning: {said}\n" in capsys.readouterr().out
    (tmp_path / "v").mkdir()
    assert main(["train", str(_config(tmp_path, validation="v"))]) == 0
    assert said not in capsys.readouterr().out
    (tmp_path / "run").mkdir()
    run = TrainingRun.start(TrainingConfig(tmp_path / "run", width=8), None, loop.choose_device("cpu"))
    assert "best validation -," in run.write_log(60.0)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "train", full)
    assert main(["train", str(_config(tmp_path))]) == 2
    assert capsys.readouterr().err == (
        f"pddnet: {tmp_path}/run: the training cannot write its files (No space left on device); make room or choose "
        "another 'out', and the same command goes on\n"
    )
    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        write_weights(tmp_path / "w.npz", {"a": np.zeros(3)}, {"kind": "pdd"})
    assert sorted(os.listdir(tmp_path)) == ["config.json"]


def test_torchs_folder_goes_with_the_run(tmp_path: Path, capsys, monkeypatch) -> None:
    folders: list[str] = []

    def train(*_: object, **__: object) -> Outcome:
        folders.append(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        (Path(folders[0]) / "kernel").write_text("x")
        return Outcome(1, tmp_path / "none", float("nan"), False)

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(loop, "train", train)
    assert main(["train", str(_config(tmp_path))]) == 0
    assert "best validation Dice -\n" in capsys.readouterr().out
    assert Path(folders[0]).parent == tmp_path and not Path(folders[0]).exists()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
