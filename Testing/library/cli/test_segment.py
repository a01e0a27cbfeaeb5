"""`pddnet segment`: the labels on the scan's grid, what is dropped, the report, and whole files or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import samples
from helpers.samples import FIXED, MOVING, SHIFT, ball, fake_register, labels, ramp, save, small_pair
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.image import Image
from pddnet.core.result import Registration
from pddnet.evaluation.metrics import dice
from pddnet.io.segment_headers import Segment, read_segments, segmentation

TRUTH = labels(FIXED, FIXED.centre).array
FAR = np.array([0.0, 0.0, 15.0])  # mm, of the wrong atlases' labels


def _atlas(folder: Path, name: str, shift: np.ndarray = SHIFT, scan: Image | None = None) -> None:
    save(scan or ramp(MOVING), folder / f"{name}.nii.gz")
    save(labels(MOVING, FIXED.centre + shift), folder / f"{name}_labels.nii.gz")


def _by_name(statuses: dict[float, str]) -> Callable[..., Registration]:
    """A stand-in whose verdict depends on the moving scan's lowest value."""

    def register(fixed: Image, moving: Image, *args: Any, **settings: Any) -> Registration:
        return fake_register(statuses.get(float(moving.array.min()), "ok"))(fixed, moving, *args, **settings)

    return register


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scan and a folder for its atlases; every registration finds SHIFT."""
    monkeypatch.setattr(pipeline, "register", fake_register())
    save(ramp(FIXED), tmp_path / "F.nii.gz")
    (tmp_path / "atlases").mkdir()
    return tmp_path


def _segment(folder: Path, *more: str, out: str = "out.nii.gz") -> int:
    outputs = ["--out", str(folder / out), "--report", str(folder / "r.json")]
    return main(["segment", str(folder / "F.nii.gz"), "--atlases", str(folder / "atlases"), *outputs, *more])


def _array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "r.json").read_text())
    return found


def _agreement(found: np.ndarray, truth: np.ndarray = TRUTH) -> float:
    return min(dice(found == label, truth == label) or 0.0 for label in (1, 3))


def test_labels_lie_on_the_grid_of_the_scan_at_the_right_place(folder: Path, capsys) -> None:
    """The atlas has another oblique, left-handed grid; SimpleITK warps its labels alike."""
    _atlas(folder / "atlases", "a")
    maps = ["--probability", str(folder / "p.nii.gz"), "--disagreement", str(folder / "d.nii.gz")]
    assert _segment(folder, *maps) == 0
    written = sitk.ReadImage(str(folder / "out.nii.gz"))
    shift = sitk.TranslationTransform(3, SHIFT.tolist())
    expected = sitk.Resample(
        sitk.ReadImage(str(folder / "atlases" / "a_labels.nii.gz")), written, shift, sitk.sitkNearestNeighbor
    )
    assert Image.from_sitk(written).grid.same_as(FIXED)
    assert np.array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(expected))
    assert _agreement(sitk.GetArrayFromImage(written)) > 0.75
    assert set(np.unique(_array(folder / "p.nii.gz"))) <= {0.0, 1.0}
    assert not _array(folder / "d.nii.gz").any()
    assert "1 of 1 atlases, fused by joint" in capsys.readouterr().out


def test_a_failed_atlas_and_one_that_cannot_be_read_are_dropped_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    _atlas(folder / "atlases", "good")
    marked = ramp(MOVING)
    marked.array[0, 0, 0] = -3000
    _atlas(folder / "atlases", "bad", SHIFT + FAR, marked)
    _atlas(folder / "atlases", "broken")
    (folder / "atlases" / "broken_labels.nii.gz").write_bytes(b"no image")
    monkeypatch.setattr(pipeline, "register", _by_name({-3000.0: "failed"}))
    assert _segment(folder, "--method", "majority") == 0
    report = _report(folder)
    atlases = {atlas["name"]: atlas for atlas in report["atlases"]}
    assert [atlases[name]["used"] for name in ("good", "bad", "broken")] == [True, False, False]
    assert atlases["bad"]["reason"] == "its registration failed (the views hardly overlap)"
    assert atlases["bad"]["verdict"]["status"] == "failed"
    assert atlases["broken"]["verdict"] is None
    assert "broken_labels.nii.gz" in atlases["broken"]["reason"]
    dropped = [text for text in report["warnings"] if "dropped" in text]
    assert [text.split()[1] for text in dropped] == ["bad", "broken"]
    assert _agreement(_array(folder / "out.nii.gz")) > 0.75


def test_without_an_atlas_that_can_be_used_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    _atlas(folder / "atlases", "a")
    monkeypatch.setattr(pipeline, "register", fake_register("failed"))
    assert _segment(folder) == 2
    error = capsys.readouterr().err
    assert "none of 1 atlases can be used (a: its registration failed (the views hardly overlap))" in error
    assert sorted(path.name for path in folder.iterdir()) == ["F.nii.gz", "atlases"]


def test_the_report_has_volume_and_disagreement_of_each_organ(folder: Path) -> None:
    _atlas(folder / "atlases", "a")
    _atlas(folder / "atlases", "b")
    _atlas(folder / "atlases", "c", SHIFT + FAR)
    (folder / "atlases" / "labels.json").write_text(json.dumps({"1": "liver", "3": "spleen"}))
    assert _segment(folder, "--method", "majority", "--disagreement", str(folder / "d.nii.gz")) == 0
    fused, others = _array(folder / "out.nii.gz"), _array(folder / "d.nii.gz")
    assert np.allclose(np.unique(others), [0, 1 / 3])
    rows = {row["name"]: row for row in _report(folder)["labels"]}
    for name, label in (("liver", 1), ("spleen", 3)):
        count = int((fused == label).sum())
        assert rows[name]["volume_ml"] == pytest.approx(count * 3.0 * 2.5 * 4.0 / 1000)
        assert rows[name]["disagreement"] == pytest.approx(float(others[fused == label].mean()), abs=1e-6)
        assert rows[name]["probability"] == pytest.approx(1 - rows[name]["disagreement"], abs=1e-6)
        assert rows[name]["expected_dice"] is None


def test_names_colours_and_terminology_are_kept(folder: Path) -> None:
    """Two atlases whose numbers differ; the result has those of the first one."""
    tags = "TerminologyEntry:Segmentation category and type~SCT^123037004^Anatomical Structure|"
    looks = {"liver": ((0.5, 0.25, 0.125), tags), "spleen": ((0.0, 1.0, 0.5), "")}
    for name, numbers in (("a", {1: "liver", 3: "spleen"}), ("b", {5: "spleen", 8: "Liver"})):
        save(ramp(MOVING), folder / "atlases" / f"{name}.nrrd")
        image = labels(MOVING, FIXED.centre + SHIFT)
        if name == "b":
            image = Image(np.select([image.array == 1, image.array == 3], [8, 5]).astype(np.uint8), MOVING)
        segments = {n: Segment(each, 0, n, *looks[each.lower()]) for n, each in numbers.items()}
        sitk.WriteImage(segmentation(image, segments), str(folder / "atlases" / f"{name}.seg.nrrd"))
    assert _segment(folder, out="out.seg.nrrd") == 0
    written = read_segments(folder / "out.seg.nrrd")
    assert written == [Segment("liver", 0, 1, *looks["liver"]), Segment("spleen", 0, 3, *looks["spleen"])]
    assert _agreement(_array(folder / "out.seg.nrrd")) > 0.75
    assert [atlas["used"] for atlas in _report(folder)["atlases"]] == [True, True]


def test_the_best_atlases_are_those_that_look_like_the_scan(folder: Path) -> None:
    for name in ("a", "b"):
        _atlas(folder / "atlases", name, SHIFT + FAR, Image(ramp(MOVING).array[::-1].copy(), MOVING))
    _atlas(folder / "atlases", "c")
    assert _segment(folder, "--method", "majority", "--most", "1") == 0
    atlases = _report(folder)["atlases"]
    assert [atlas["used"] for atlas in atlases] == [False, False, True]
    assert atlases[0]["reason"] == "not among the best 1"
    assert _agreement(_array(folder / "out.nii.gz")) > 0.75


def test_leave_one_out_expects_what_atlases_find_of_each_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three equal atlases find each other's labels where nothing moves; a fourth has its labels elsewhere."""
    rest = np.zeros(3)
    monkeypatch.setattr(samples, "SHIFT", rest)
    for name in ("a", "b", "c"):
        _atlas(folder / "atlases", name)
    _atlas(folder / "atlases", "d", SHIFT + FAR)
    assert _segment(folder, "--method", "majority", "--leave-one-out") == 0
    rows = _report(folder)["labels"]
    here, there = (labels(MOVING, FIXED.centre + SHIFT + away).array for away in (rest, FAR))
    for row in rows:
        expected = (3 * 1.0 + (dice(here == row["label"], there == row["label"]) or 0.0)) / 4
        assert row["expected_dice"] == pytest.approx(expected)
        assert row["cases"] == 4


def test_the_scan_itself_is_no_atlas_of_its_own(folder: Path) -> None:
    save(labels(FIXED, FIXED.centre), folder / "F_labels.nii.gz")
    argv = ["segment", str(folder / "F.nii.gz"), "--atlases", str(folder), "--out", str(folder / "out.nii.gz")]
    assert main(argv) == 2
    _atlas(folder, "a")
    assert main([*argv, "--report", str(folder / "r.json")]) == 0
    report = _report(folder)
    assert [atlas["name"] for atlas in report["atlases"]] == ["a"]
    assert any("was left out" in text for text in report["warnings"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "mean"], "there is no method 'mean'"),
        (["--most", "0"], "give 1 or more"),
        (["--preset", "multimodal"], "not for CT"),
        (["--leave-one-out"], "needs two atlases or more"),
        (["--out", "x.txt"], "unknown file extension"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_written(folder: Path, capsys, more: list[str], message: str) -> None:
    _atlas(folder / "atlases", "a")
    assert _segment(folder, *more) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["F.nii.gz", "atlases"]


@pytest.mark.slow
def test_atlases_are_registered_and_fused_for_real(tmp_path: Path) -> None:
    """Two bodies that lie elsewhere, on an oblique, left-handed grid; one has noise besides."""
    fixed, moving = small_pair()
    save(fixed, tmp_path / "F.nii.gz")
    (tmp_path / "atlases").mkdir()
    noise = np.random.default_rng(1).normal(0, 15, moving.array.shape)
    for name, scan in (("a", moving), ("b", Image((moving.array + noise).astype(np.int16), MOVING))):
        _atlas(tmp_path / "atlases", name, scan=scan)
    assert _segment(tmp_path, "--preset", "mind") == 0
    inside = ball(FIXED, FIXED.centre, 22.0)
    assert _agreement(_array(tmp_path / "out.nii.gz") * inside, TRUTH * inside) > 0.7
    assert all(atlas["difference"] < 0.1 for atlas in _report(tmp_path)["atlases"])
