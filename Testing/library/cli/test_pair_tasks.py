"""The process that registers the pairs of a batch: it reads the fixed scan once, and fails in the command's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import samples
from pddnet.cli import pair_tasks
from pddnet.core.memo import Memo
from pddnet.errors import Cancelled, InputError
from pddnet.io import volumes


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the scans that were read, with an empty memo."""
    names: list[str] = []
    real = volumes.read_volume

    def read_volume(path: str, **options: Any) -> Any:
        names.append(Path(path).name)
        return real(path, **options)

    monkeypatch.setattr(volumes, "read_volume", read_volume)
    monkeypatch.setattr(pair_tasks, "_KEPT", Memo())
    return names


def _arguments(folder: Path, *more: str) -> list[str]:
    pair = samples.write_pair(folder)
    paths = {
        "fixed": pair["F"],
        "moving": pair["M"],
        "output-transform": str(folder / "T.h5"),
        "sidecar": str(folder / "S.json"),
    }
    return [*(f"--{name}={path}" for name, path in paths.items()), *more]


def _silent(fraction: float, stage: str) -> None:
    pass


def test_the_fixed_scan_is_read_once_unless_it_changes(tmp_path: Path, read: list[str], calls: list[dict]) -> None:
    arguments = _arguments(tmp_path)
    reports = [pair_tasks.register(_silent, arguments=arguments) for _ in range(2)]
    assert read == ["F.nii.gz", "M.nii.gz", "M.nii.gz"]
    assert calls[0]["fixed"] is calls[1]["fixed"] and calls[0]["moving"] is not calls[1]["moving"]
    assert [report["warnings"] for report in reports] == [reports[0]["warnings"]] * 2
    known = json.loads((tmp_path / "S.json").read_text("utf-8"))["files"]["fixed"]
    samples.save(samples.ramp(samples.FIXED), tmp_path / "F.nii.gz")  # the same again, at another time
    pair_tasks.register(_silent, arguments=arguments)
    assert read[3:] == ["F.nii.gz", "M.nii.gz"]
    again = json.loads((tmp_path / "S.json").read_text("utf-8"))["files"]["fixed"]
    assert again["sha256"] == known["sha256"] and again["modified_ns"] > known["modified_ns"]


def test_what_is_wrong_is_told_as_by_the_command(tmp_path: Path, calls: list[dict], monkeypatch) -> None:
    arguments = _arguments(tmp_path)
    with pytest.raises(InputError, match=r"no such file or folder"):
        pair_tasks.register(_silent, arguments=[*arguments, f"--moving={tmp_path / 'none.nii'}"])
    with pytest.raises(InputError, match=r"unrecognized arguments: --colour"):
        pair_tasks.register(_silent, arguments=[*arguments, "--colour"])

    def cancel(fraction: float, stage: str) -> None:
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        pair_tasks.register(cancel, arguments=arguments)

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("pddnet.cli.register.identity", refuse)
    monkeypatch.setattr(pair_tasks, "_KEPT", Memo())
    with pytest.raises(InputError, match=r"M.nii.gz: Permission denied; correct the path"):
        pair_tasks.register(_silent, arguments=arguments)
    assert not (tmp_path / "T.h5").exists()
