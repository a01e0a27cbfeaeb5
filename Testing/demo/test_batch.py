"""The demo of batches paints patients, lists all but the first with the first, and segments it by the others."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from demo import batch
from pddnet.cli import main as command
from pddnet.io.atlas_folder import find_atlases


@pytest.mark.slow
def test_three_patients_are_registered_to_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    real = command.main

    def main(arguments: list[str]) -> int:
        asked.append(arguments)
        return real(arguments) if arguments[0] == "phantom" else {"batch": 0, "segment": 3}[arguments[0]]

    monkeypatch.setattr(command, "main", main)
    monkeypatch.setattr(sys, "argv", ["batch", "--out", str(tmp_path / "demo"), "--spacing", "10"])
    assert batch.main() == 3
    assert asked[1][:2] == ["batch", str(tmp_path / "demo" / "pairs.csv")]
    with (tmp_path / "demo" / "pairs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["patient_0002", "patient_0003", "patient_0004"]
    assert {row["fixed"] for row in rows} == {"patients/patient_0001/ct.nii.gz"}
    files = [row[name] for row in rows for name in ("fixed", "moving", "fixed_labels", "moving_labels")]
    assert all((tmp_path / "demo" / name).is_file() for name in files)
    patients = tmp_path / "demo" / "patients"
    assert asked[2][:4] == ["segment", str(patients / "patient_0001" / "ct.nii.gz"), "--atlases", str(patients)]
    assert [atlas.name for atlas in find_atlases(patients)[0]] == [f"patient_000{n}" for n in (1, 2, 3, 4)]
