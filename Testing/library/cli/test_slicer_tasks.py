"""What Slicer's process for long runs does: a pair as `pddnet batch` makes it, which either of them keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import samples
from pddnet.batch.claim import claimed, forget
from pddnet.batch.records import whole
from pddnet.cli import batch as command
from pddnet.cli import pair_tasks, slicer_tasks
from pddnet.cli.main import build_parser
from pddnet.core.memo import Memo
from pddnet.errors import Cancelled, InputError
from pddnet.io.segment_headers import read_segments

SETTINGS = {"preset": "mind", "adjust": {"capture_range": 20.0, "both_ways": False}}


def _silent(fraction: float, stage: str) -> None:
    pass


@pytest.fixture
def request_of(tmp_path: Path, calls: list[dict], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A pair of files, as Slicer sends it."""
    monkeypatch.setattr(pair_tasks, "_KEPT", Memo())
    files = samples.write_pair(tmp_path)
    pair = {"id": "p1", "files": {"fixed": files["F"], "moving": files["M"]}, "series": {}}
    return {"pair": pair, "out": str(tmp_path / "out"), "settings": SETTINGS}


def test_a_pair_is_registered_with_the_settings_and_kept_the_next_time(
    request_of: dict[str, Any], tmp_path: Path, calls: list[dict]
) -> None:
    told = [slicer_tasks.pair(_silent, **request_of) for _ in range(2)]
    assert [(each["id"], each["row"]["verdict"], each["kept"]) for each in told] == [
        ("p1", "ok", False),
        ("p1", "ok", True),
    ]
    assert len(calls) == 1
    made = json.loads((tmp_path / "out" / "p1" / "from-M_to-F_mode-image_xfm.json").read_text("utf-8"))["options"]
    assert (made["preset"], made["capture_range"], made["both_ways"]) == ("mind", 20.0, False)
    changed = request_of | {"settings": SETTINGS | {"preset": "fast"}}
    assert slicer_tasks.pair(_silent, **changed)["kept"] is False
    assert len(calls) == 2


def test_the_command_keeps_what_slicer_made(request_of: dict[str, Any], tmp_path: Path) -> None:
    slicer_tasks.pair(_silent, **request_of | {"settings": {"preset": "mind"}})
    table = tmp_path / "pairs.csv"
    table.write_text("fixed,moving,id\nF.nii.gz,M.nii.gz,p1\n", "utf-8")
    args = build_parser("batch").parse_args(["batch", str(table), "--out", str(tmp_path / "out"), "--preset", "mind"])
    (job,) = command.make_batch(args, tmp_path / "out", command._pairs(args)).jobs
    assert whole(job, at_once=True) is not None


def test_what_fails_or_is_cancelled_passes(request_of: dict[str, Any], tmp_path: Path) -> None:
    def cancel(fraction: float, stage: str) -> None:
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        slicer_tasks.pair(cancel, **request_of)
    request_of["pair"]["files"]["moving"] = str(tmp_path / "none.nii")
    with pytest.raises(InputError, match="no such file"):
        slicer_tasks.pair(_silent, **request_of)
    with claimed(tmp_path / "out" / "p1"):
        assert slicer_tasks.pair(_silent, **request_of)["busy"]
    forget(tmp_path / "out" / "p1")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_holds_anything_is_not_forgotten(tmp_path: Path) -> None:
    with claimed(tmp_path / "p1"):
        (tmp_path / "p1" / "report.json").write_text("{}", "utf-8")
    forget(tmp_path / "p1")
    assert (tmp_path / "p1" / "report.json").is_file()
    forget(tmp_path / "none")


@pytest.fixture
def atlases(tmp_path: Path, calls: list[dict]) -> dict[str, Any]:
    """A scan with one atlas, as Slicer sends it; the label map names nothing."""
    files = samples.write_pair(tmp_path)
    folder = tmp_path / "atlases"
    folder.mkdir()
    for name, key in (("a", "M"), ("a_labels", "B")):
        Path(files[key]).rename(folder / f"{name}.nii.gz")
    options = [f"--atlases={folder}", f"--out={tmp_path / 'out.seg.nrrd'}", "--preset=fast"]
    return {"arguments": [files["F"], *options], "adjust": {"capture_range": 20.0}}


def test_a_scan_is_segmented_with_the_settings(atlases: dict[str, Any], tmp_path: Path, calls: list[dict]) -> None:
    report = slicer_tasks.segment(_silent, **atlases)
    assert (report["preset"], report["method"]) == ("fast (changed)", "joint")
    assert [atlas["used"] for atlas in report["atlases"]] == [True]
    assert calls[0]["preset"].name == "fast (changed)"
    found = [(each.name, each.value) for each in read_segments(tmp_path / "out.seg.nrrd")]
    assert found == [("label 1", 1), ("label 3", 3)]


def test_a_segmentation_that_is_cancelled_or_fails_writes_nothing(atlases: dict[str, Any], tmp_path: Path) -> None:
    def cancel(fraction: float, stage: str) -> None:
        if stage == "fuse":
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        slicer_tasks.segment(cancel, **atlases)
    (tmp_path / "atlases" / "a.nii.gz").unlink()
    with pytest.raises(InputError, match="there is no scan to this label map"):
        slicer_tasks.segment(_silent, **atlases)
    assert not (tmp_path / "out.seg.nrrd").exists()
