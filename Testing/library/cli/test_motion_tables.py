"""`--output-motion` of `register` and `evaluate`: the rows, and what it needs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import SHIFT, fake_register, write_pair
from pddnet import pipeline
from pddnet.cli.main import main

SHIFT_RAS = SHIFT * [-1, -1, 1]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def shift(row: dict[str, str]) -> list[float]:
    return [float(row[f"shift_{axis}_mm"]) for axis in "ras"]


def test_register_writes_labels_and_what_the_network_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "register", fake_register())
    pair = write_pair(tmp_path)
    argv = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(tmp_path / "T.h5")]
    argv += [
        "--fixed-labels",
        pair["A"],
        "--output-motion",
        str(tmp_path / "M.csv"),
        "--report",
        str(tmp_path / "R.json"),
    ]
    assert main(argv) == 0
    table = rows(tmp_path / "M.csv")
    assert [(row["source"], row["structure"]) for row in table] == [
        ("label", "1"),
        ("label", "3"),
        ("network", "liver"),
    ]
    assert all(np.allclose(shift(row), SHIFT_RAS, atol=1e-3) for row in table)
    report = json.loads((tmp_path / "R.json").read_text())
    assert [row["name"] for row in report["motion"]] == ["1", "3", "liver"]
    assert np.allclose(report["motion"][0]["shift_ras_mm"], SHIFT_RAS, atol=1e-3)
    assert report["labels"] is None


def test_without_labels_and_network_there_is_no_motion_to_write(tmp_path: Path, capsys) -> None:
    pair = write_pair(tmp_path)
    argv = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(tmp_path / "T.h5")]
    assert main([*argv, "--preset", "mind", "--output-motion", str(tmp_path / "M.csv")]) == 2
    assert "--output-motion needs --fixed-labels, or a preset" in capsys.readouterr().err


def test_evaluate_measures_the_motion_of_the_fixed_labels_alone(tmp_path: Path, capsys) -> None:
    pair = write_pair(tmp_path)
    transform, table = tmp_path / "T.tfm", tmp_path / "M.csv"
    turn = sitk.Euler3DTransform((10, 40, -280), 0.0, 0.0, np.radians(30), SHIFT.tolist())
    sitk.WriteTransform(turn, str(transform))
    argv = ["evaluate", "--transform", str(transform), "--fixed-labels", pair["A"], "--output-motion", str(table)]
    assert main(argv) == 0
    large, small = rows(table)
    assert float(large["rotation_degrees"]) == pytest.approx(30.0, abs=1e-2)
    assert float(small["moving_ml"]) == pytest.approx(float(small["fixed_ml"]), rel=1e-3)
    assert main(argv[:3] + argv[5:]) == 2
    assert "--output-motion needs --fixed-labels" in capsys.readouterr().err
    assert main([*argv[:-1], str(tmp_path / "M.txt")]) == 2
    assert "use one of .csv" in capsys.readouterr().err
