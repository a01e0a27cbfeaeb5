"""`pddnet template`: its files, the mean at the mean place, what is left out, what is refused, and how it goes on."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import anatomy, fake_placer
from helpers.samples import FIXED, SHIFT, save, small_pair
from pddnet.batch import run, task
from pddnet.cli import batch
from pddnet.cli.main import main
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.evaluation.metrics import dice
from pddnet.io.atlas_folder import find_atlases


class _Client:
    """Stands in for Dask's client: the tasks run here, one after the other."""

    def scheduler_info(self) -> dict[str, Any]:
        return {"workers": {"here": {}}}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The stand-in registers; the ids of the scans for which it was asked."""
    asked: list[str] = []

    def run_tasks(client: Any, function: Callable, jobs: Sequence[dict], resources: Any) -> Iterator[tuple[int, Any]]:
        for number, job in enumerate(jobs):
            asked.append(job["id"])
            yield number, function(job)

    monkeypatch.setattr(run, "run_tasks", run_tasks)
    monkeypatch.setattr(batch, "local_cluster", lambda *_: contextlib.nullcontext(_Client()))
    monkeypatch.setattr(batch, "RUNNER", fake_placer.RUNNER)
    yield asked
    task.POOL.end()


def _template(folder: Path, scans: Sequence[Path], *more: str, labels: bool = True) -> int:
    maps = ["--labels", *(str(scan).replace(".nii.gz", "_labels.nii.gz") for scan in scans)] if labels else []
    return main(["template", *map(str, scans), *maps, "--out", str(folder / "T"), "--spacing", "2.5", *more])


def _image(path: Path) -> Image:
    return Image.from_sitk(sitk.ReadImage(str(path)))


def _report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "T" / "report.json").read_text("utf-8"))
    return found


def test_the_template_lies_at_the_mean_and_all_files_are_there(tmp_path: Path, started: list[str], capsys) -> None:
    scans = anatomy.write_scans(tmp_path)
    assert _template(tmp_path, scans) == 0
    said = capsys.readouterr().out
    assert "converged: the last round moved the mean by 0.0" in said and "round 3" not in said
    assert started == ["s1", "s2", "s0", "s1", "s2"]  # the first one is not registered to itself
    out = tmp_path / "T"
    template = _image(out / "template.nii.gz")
    points = anatomy.mean_points(template.grid)
    inside = np.linalg.norm(points, axis=-1) < anatomy.RADIUS_MM - 6
    assert np.abs(template.array[inside] - anatomy.hu(points[inside])).mean() < 3
    labels = _image(out / "template_labels.nii.gz")
    assert dice(labels.array == 2, anatomy.label(points) == 2) > 0.95  # type: ignore[operator]
    assert json.loads((out / "labels.json").read_text("utf-8")) == {"2": "label 2"}
    assert _image(out / "maps" / "label_probability.nii.gz").array[inside].mean() > 0.97
    count = _image(out / "maps" / "count.nii.gz").array
    assert count.max() == 3 and (count[inside] == 3).mean() > 0.9
    logs = []
    for number in range(3):
        folder = out / "scans" / f"s{number}"
        transform = sitk.ReadTransform(str(folder / "transform.h5"))
        place = np.array(transform.TransformPoint((anatomy.MEAN_SHIFT + [5, -4, 3]).tolist()))
        expected = anatomy.SHIFTS[number] + np.array([5, -4, 3]) / anatomy.MEAN_SCALE * anatomy.SCALES[number]
        assert np.abs(place - expected).max() < 0.05
        logs.append(np.log((anatomy.SCALES[number] / anatomy.MEAN_SCALE).prod()))
        assert np.allclose(_image(folder / "log_jacobian.nii.gz").array[inside], logs[-1], atol=5e-3)
    assert np.allclose(_image(out / "maps" / "log_jacobian_mean.nii.gz").array[inside], np.mean(logs), atol=5e-3)
    spread = _image(out / "maps" / "log_jacobian_std.nii.gz").array[inside]
    assert np.allclose(spread, np.std(logs, ddof=1), atol=5e-3)
    report = _report(tmp_path)
    assert report["converged"] and report["mean_displacement_mm"] < 0.02
    assert report["rounds"][0]["residual_mm"] > 5 > 0.1 > report["rounds"][1]["residual_mm"]
    rows = list(csv.DictReader((out / "rounds.csv").read_text("utf-8").splitlines()))
    assert [row["round"] for row in rows] == ["1", "2"] and float(rows[1]["sharpness_hu_per_mm"]) > 0
    rows = list(csv.DictReader((out / "scans.csv").read_text("utf-8").splitlines()))
    assert [float(row["log_jacobian_mean"]) for row in rows] == pytest.approx(logs, abs=5e-3)
    assert "data:image/png" in (page := (out / "template.html").read_text("utf-8")) and "Verdict: ok" in page
    assert re.search(r"intensity, HU \(white: \d+\)", page) and re.search(r"log-Jacobian \(white: 0\.\d\d\)", page)
    atlases, warnings = find_atlases(out)  # what `pddnet segment` takes
    assert [atlas.name for atlas in atlases] == ["template"] and not warnings
    assert not list(out.rglob(".pddnet-*"))


def test_what_is_whole_is_kept(tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    scans = anatomy.write_scans(tmp_path)
    assert _template(tmp_path, scans) == 0
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "T").rglob("*.nii.gz")}
    started.clear()
    assert _template(tmp_path, scans) == 0
    assert not started and files == {path: path.stat().st_mtime_ns for path in files}
    (tmp_path / "T" / "maps" / "count.nii.gz").unlink()
    (tmp_path / "T" / "rounds" / "2" / "target.nii.gz").unlink()
    assert _template(tmp_path, scans) == 0
    assert not started and all(path.exists() for path in files)
    first = tmp_path / "T" / "rounds" / "1" / "mean.nii.gz"
    assert first.stat().st_mtime_ns == files[first]
    assert _template(tmp_path, scans, "--spacing", "3") == 0  # the first round's registrations are the same
    assert started == ["s0", "s1", "s2"]
    assert _image(tmp_path / "T" / "template.nii.gz").grid.spacing.tolist() == [3.0, 3.0, 3.0]


def test_a_scan_that_cannot_be_registered_stops_the_round_and_a_second_start_completes_it(
    tmp_path: Path, started: list[str], capsys
) -> None:
    scans = anatomy.write_scans(tmp_path, s2={"fail": "it is broken", "once": str(tmp_path / "once")})
    fake_placer.tell(scans[2], np.diag(anatomy.SCALES[2]), anatomy.SHIFTS[2], fail="it is broken")
    assert _template(tmp_path, scans) == 4
    assert "not done: it is broken" in (said := capsys.readouterr().out)
    assert "1 of 2 scans are registered; what is whole is kept" in said
    assert (
        not (tmp_path / "T" / "template.nii.gz").exists()
        and not (tmp_path / "T" / "rounds" / "1" / "mean.nii.gz").exists()
    )
    fake_placer.tell(scans[2], np.diag(anatomy.SCALES[2]), anatomy.SHIFTS[2])
    started.clear()
    assert _template(tmp_path, scans) == 0
    assert started == ["s2", "s0", "s1", "s2"]


def test_a_scan_whose_registration_failed_is_left_out_and_named(tmp_path: Path, started: list[str], capsys) -> None:
    """The mean of the other two is not where that of all three is, so the rounds go on."""
    scans = anatomy.write_scans(tmp_path, s1={"verdict": "failed"})
    assert _template(tmp_path, scans, "--rounds", "1") == 3
    assert "without s1 (failed)" in (said := capsys.readouterr().out) and "not converged in 1 rounds" in said
    report = _report(tmp_path)
    assert [row["id"] for row in report["scans"]] == ["s0", "s2"] and report["rounds"][0]["dropped"] == ["s1"]
    template = _image(tmp_path / "T" / "template.nii.gz")
    others = [0, 2]
    place = template.grid.points()[template.array > -500].mean(0)
    assert np.abs(place - anatomy.SHIFTS[others].mean(0)).max() < 0.5
    assert "Verdict: doubtful" in (tmp_path / "T" / "template.html").read_text("utf-8")


def test_where_all_others_failed_there_is_no_mean(tmp_path: Path, started: list[str], capsys) -> None:
    scans = anatomy.write_scans(tmp_path, s1={"verdict": "failed"}, s2={"verdict": "failed"})
    assert _template(tmp_path, scans) == 2
    assert "1 scan is left to average, the registrations of all others failed" in capsys.readouterr().err
    assert not (tmp_path / "T" / "template.nii.gz").exists()


def test_the_start_leaves_no_trace(tmp_path: Path, started: list[str]) -> None:
    """From another scan, with other axes, the mean shows the same."""
    scans = anatomy.write_scans(tmp_path)
    assert _template(tmp_path, scans, "--rounds", "2", labels=False) == 0
    first = _image(tmp_path / "T" / "template.nii.gz")
    assert not (tmp_path / "T" / "template_labels.nii.gz").exists()
    (tmp_path / "T").rename(tmp_path / "other")
    assert _template(tmp_path, [scans[1], scans[0], scans[2]], "--rounds", "2", labels=False) == 0
    second = _image(tmp_path / "T" / "template.nii.gz").resample(first.grid, fill=np.nan)
    inside = np.linalg.norm(anatomy.mean_points(first.grid), axis=-1) < anatomy.RADIUS_MM - 6
    assert np.abs(first.array[inside] - second.array[inside]).mean() < 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["s0.nii.gz"], "this is the only scan, and its own mean; give two or more"),
        (["s0.nii.gz", "s0.nii.gz"], "one of the scans is given twice"),
        (["s0.nii.gz", "none.nii.gz"], "none.nii.gz: no such file"),
        (["s0.nii.gz", "s1.nii.gz", "--labels", "s0_labels.nii.gz"], "1 label maps and 2 scans"),
        (["s0.nii.gz", "s1.nii.gz", "--rounds", "6"], "--rounds 6: give 1 to 5"),
        (["s0.nii.gz", "s1.nii.gz", "--tolerance", "0"], "--tolerance 0: give a length above 0 mm"),
        (["s0.nii.gz", "s1.nii.gz", "--tolerance", "inf"], "--tolerance inf: give a length above 0 mm"),
        (["s0.nii.gz", "s1.nii.gz", "--spacing", "nan"], "--spacing nan: give 0.5 to 8 mm"),
        (["s0.nii.gz", "s1.nii.gz", "--spacing", "0.1"], "--spacing 0.1: give 0.5 to 8 mm"),
        (["s0.nii.gz", "s1.nii.gz", "--preset", "multimodal"], "is not for CT"),
        (["s0.nii.gz", "s1.nii.gz", "--device", "tpu"], "there is no device 'tpu'"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str, capsys
) -> None:
    anatomy.write_scans(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["template", *arguments, "--out", "T"]) == 2
    assert told in capsys.readouterr().err
    assert not started and not Path("T").exists()


def test_two_scans_of_one_name_have_folders_of_their_own(tmp_path: Path, started: list[str]) -> None:
    scans = anatomy.write_scans(tmp_path)
    other = tmp_path / "s0.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(scans[1])), str(other))
    shutil.copy(f"{scans[1]}.json", f"{other}.json")
    assert _template(tmp_path, [scans[0], other], "--rounds", "1", labels=False) == 0
    folders = sorted(path.name for path in (tmp_path / "T" / "scans").iterdir())
    assert len(folders) == 2 and all(re.fullmatch("s0-[0-9a-f]{8}", name) for name in folders)


def test_a_scan_in_the_folder_of_the_results_is_refused(tmp_path: Path, started: list[str], capsys) -> None:
    """A pattern of names would take the template itself for a scan the next time."""
    scans = anatomy.write_scans(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    assert main(["template", *map(str, scans), "--out", str(tmp_path / "link")]) == 2
    assert "s0.nii.gz: lies in the folder of the results" in capsys.readouterr().err
    assert not started


def test_a_label_map_that_is_none_is_named_before_anything_is_registered(
    tmp_path: Path, started: list[str], capsys
) -> None:
    scans = anatomy.write_scans(tmp_path)
    (tmp_path / "s2_labels.nii.gz").write_bytes(b"no labels")
    assert _template(tmp_path, scans) == 2
    assert "s2_labels.nii.gz: this is not an image" in capsys.readouterr().err
    assert not started


def test_a_label_map_beside_its_scan_is_told(tmp_path: Path, started: list[str], capsys) -> None:
    scans = anatomy.write_scans(tmp_path)
    path = tmp_path / "s2_labels.nii.gz"
    labels = _image(path)
    grid = labels.grid
    save(Image(labels.array, Grid(grid.shape, grid.spacing, grid.origin + 500, grid.direction)), path)
    assert _template(tmp_path, scans) == 0
    assert "s2_labels.nii.gz: no label lies inside the scan" in capsys.readouterr().out
    assert any("no label lies inside" in text for text in _report(tmp_path)["warnings"])


def test_files_of_another_template_do_not_stay(tmp_path: Path, started: list[str]) -> None:
    """Labels, and a scan, that the second one lacks; what is not ours stays."""
    scans = anatomy.write_scans(tmp_path)
    assert _template(tmp_path, scans) == 0
    out = tmp_path / "T"
    (out / "mine.txt").write_text("mine")
    (out / "scans" / "s2" / "mine.txt").write_text("mine")
    assert _template(tmp_path, scans[:2], labels=False) == 0
    left = {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and "rounds" not in path.parts
    }
    assert "scans/s1/transform.h5" in left and {"mine.txt", "scans/s2/mine.txt"} <= left
    gone = {"template_labels.nii.gz", "labels.json", "maps/label_probability.nii.gz", "scans/s2/transform.h5"}
    assert not gone & left and "scans/s2/log_jacobian.nii.gz" not in left


def test_labels_that_were_drawn_on_a_template_stay(tmp_path: Path, started: list[str]) -> None:
    scans = anatomy.write_scans(tmp_path)
    assert _template(tmp_path, scans, labels=False) == 0
    drawn = [tmp_path / "T" / name for name in ("template_labels.nii.gz", "labels.json", "scans/mine/transform.h5")]
    for path in drawn:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert _template(tmp_path, scans[:2], labels=False) == 0
    assert [path.read_text() for path in drawn] == ["mine"] * 3


def test_a_folder_of_another_kind_loses_nothing(tmp_path: Path, started: list[str]) -> None:
    scans = anatomy.write_scans(tmp_path)
    (tmp_path / "T").mkdir()
    (tmp_path / "T" / "report.json").write_text('{"command": "register"}')
    (tmp_path / "T" / "labels.json").write_text("{}")
    assert _template(tmp_path, scans, labels=False) == 0
    assert (tmp_path / "T" / "labels.json").read_text() == "{}"


def test_another_tolerance_is_another_report(tmp_path: Path, started: list[str], capsys) -> None:
    scans = anatomy.write_scans(tmp_path)
    assert _template(tmp_path, scans, "--rounds", "1") == 0
    assert not _report(tmp_path)["converged"]
    capsys.readouterr()
    assert _template(tmp_path, scans, "--rounds", "1", "--tolerance", "100") == 0
    assert _report(tmp_path)["converged"] and "converged: the last round" in capsys.readouterr().out


def test_a_scan_that_failed_is_named_also_when_the_mean_of_the_others_is_kept(
    tmp_path: Path, started: list[str], capsys
) -> None:
    """The mean of s0 and s1 is whole when s2 is given, too."""
    scans = anatomy.write_scans(tmp_path, s2={"verdict": "failed"})
    assert _template(tmp_path, scans[:2], "--rounds", "1") == 0
    capsys.readouterr()
    assert _template(tmp_path, scans, "--rounds", "1") == 3
    assert "without s2 (failed)" in capsys.readouterr().out
    assert _report(tmp_path)["rounds"][0]["dropped"] == ["s2"]


@pytest.mark.parametrize(
    ("record", "last"), [("rounds/1/round.json", "mean.nii.gz"), ("report.json", "template.nii.gz")]
)
def test_a_kill_between_two_renames_leaves_nothing_that_is_taken_for_whole(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch, record: str, last: str
) -> None:
    """Images of another spacing lie there, then: the old record must not vouch for them."""
    scans = anatomy.write_scans(tmp_path)
    assert _template(tmp_path, scans, "--rounds", "1") == 0
    first = _image(tmp_path / "T" / "template.nii.gz").grid

    class Killed(BaseException):
        pass

    def replace_one(source: Path, target: Path) -> None:
        os.rename(source, target)
        if target.name == last:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pddnet.io.atomic_outputs.os.replace", replace_one)
        with pytest.raises(Killed):
            _template(tmp_path, scans, "--rounds", "1", "--spacing", "3")
    assert not (tmp_path / "T" / record).exists()
    assert _template(tmp_path, scans, "--rounds", "1") == 0
    assert _image(tmp_path / "T" / "rounds" / "1" / "mean.nii.gz").grid.same_as(first)
    assert _image(tmp_path / "T" / "template.nii.gz").grid.same_as(first)


def test_a_scan_that_is_no_image_is_named(tmp_path: Path, started: list[str], capsys) -> None:
    scans = anatomy.write_scans(tmp_path)
    scans[1].write_bytes(b"no scan")
    assert _template(tmp_path, scans) == 2  # the stand-in registers anything; the average reads it
    assert "s1.nii.gz: this is not an image in a format that can be read" in capsys.readouterr().err
    assert not (tmp_path / "T" / "template.nii.gz").exists()


def test_a_scan_that_is_no_ct_is_named(tmp_path: Path, started: list[str], capsys) -> None:
    scans = anatomy.write_scans(tmp_path)
    shares = np.random.default_rng(0).random(anatomy.scan_grid(1).shape).astype(np.float32)
    save(Image(shares, anatomy.scan_grid(1)), scans[1])
    assert _template(tmp_path, scans) == 2
    assert "s1.nii.gz: the values are no HU" in capsys.readouterr().err


@pytest.mark.slow
def test_two_bodies_meet_halfway(tmp_path: Path) -> None:
    """For real, on Dask, in our own process: the mean of a body and the same one SHIFT away, on a left-handed grid."""
    scans = [save(image, tmp_path / f"{name}.nii.gz") for name, image in zip("ab", small_pair(), strict=True)]
    more = ("--preset", "mind", "--workers", "1", "--threads", "1", "--rounds", "2")
    assert _template(tmp_path, scans, *more, labels=False) == 0
    template = _image(tmp_path / "T" / "template.nii.gz")
    place = template.grid.points()[template.array > -500].mean(0)
    assert np.abs(place - (FIXED.centre + SHIFT / 2)).max() < 1.0
    ends = [sitk.ReadTransform(str(tmp_path / "T" / "scans" / name / "transform.h5")) for name in "ab"]
    landed = np.array([end.TransformPoint(place.tolist()) for end in ends])
    assert np.abs(landed.mean(0) - place).max() < 0.05
    assert np.abs(landed[1] - landed[0] - SHIFT).max() < 1.0


def test_other_names_beside_the_label_maps_are_another_template(tmp_path: Path, started: list[str]) -> None:
    scans = anatomy.write_scans(tmp_path)
    for name in ("left one", "other one"):
        (tmp_path / "labels.json").write_text(json.dumps({"2": name}), "utf-8")
        assert _template(tmp_path, scans, "--rounds", "1") == 0
        assert json.loads((tmp_path / "T" / "labels.json").read_text("utf-8")) == {"2": name}
