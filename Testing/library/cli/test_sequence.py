"""`pddnet sequence`: a transform per frame, each started from its neighbour, the motion over time, and going on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.moving_body import (
    COUNT,
    REFERENCE,
    STEP_MM,
    finds_the_shift,
    image_of,
    shift_of,
    write_frames,
    write_labels,
)
from helpers.samples import FIXED, ball, save
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.sequence import start_frame, visiting_order
from pddnet.errors import Cancelled
from pddnet.io import volumes

POINTS = FIXED.corners() * 0.6 + FIXED.centre * 0.4  # inside the reference


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Every call of the stand-in for the registration."""
    noted: list[dict] = []
    monkeypatch.setattr(pipeline, "register", finds_the_shift(noted))
    return noted


def _argv(frames: list[str], out: Path, *more: str) -> list[str]:
    return ["sequence", "--frames", *frames, "--reference", str(REFERENCE), "--out", str(out), *more]


def _transform(out: Path, frame: int) -> sitk.Transform:
    return sitk.ReadTransform(str(out / f"frame_{frame:03d}.h5"))


def _motion(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "motion.csv").read_text("utf-8").splitlines()))


def test_the_order_leads_away_from_the_reference() -> None:
    assert visiting_order(5, 2) == [3, 4, 1, 0]
    assert visiting_order(3, 0) == [1, 2]
    assert visiting_order(3, 2) == [1, 0]
    assert [start_frame(n, 2, failed=[4, 0]) for n in (0, 1, 3, 4, 5)] == [1, None, None, 3, 3]


def test_every_frame_gets_its_transform_and_its_place_in_the_tables(tmp_path: Path, calls: list[dict], capsys) -> None:
    frames, out = write_frames(tmp_path), tmp_path / "new" / "out"
    assert main(_argv(frames, out, "--labels", write_labels(tmp_path), "--warped")) == 0
    names = [f"frame_{n:03d}{end}" for n in range(COUNT) for end in (".h5", ".json", "_warped.nii.gz")]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "motion.csv", "report.json"])
    fixed = sitk.ReadImage(frames[REFERENCE])
    for frame in range(COUNT):
        for point in POINTS:
            landed = _transform(out, frame).TransformPoint(point.tolist())
            assert np.allclose(landed, point + shift_of(frame), atol=1e-3)
        warped = sitk.ReadImage(str(out / f"frame_{frame:03d}_warped.nii.gz"))
        moved = sitk.TranslationTransform(3, shift_of(frame).tolist())
        expected = sitk.Resample(sitk.ReadImage(frames[frame]), fixed, moved, sitk.sitkLinear, -1000)
        difference = sitk.GetArrayFromImage(warped).astype(int) - sitk.GetArrayFromImage(expected)
        assert np.abs(difference).max() <= 1
    report = json.loads((out / "report.json").read_text())
    assert [line["frame"] for line in report["frames"]] == [0, 1, 2, 3]
    assert [line["verdict"]["status"] for line in report["frames"]] == ["ok", "reference", "ok", "ok"]
    assert [line["start_frame"] for line in report["frames"]] == [None, None, None, 2]
    assert [line["seconds"] > 0 for line in report["frames"]] == [True, False, True, True]
    assert [line["input"] for line in report["frames"]] == frames
    assert json.loads((out / "frame_003.json").read_text())["settings"]["start"] == "initial transform"
    out_text = capsys.readouterr().out
    assert "frame 3: stage 1" in out_text
    assert "frame   3" in out_text


def test_the_motion_over_time_has_a_row_per_structure_and_frame(tmp_path: Path, calls: list[dict]) -> None:
    out = tmp_path / "out"
    assert main(_argv(write_frames(tmp_path), out, "--labels", write_labels(tmp_path))) == 0
    rows = _motion(out)
    assert [(row["source"], row["structure"], row["frame"]) for row in rows] == [
        (source, name, str(frame))
        for source, name in (("label", "1"), ("label", "3"), ("network", "liver"))
        for frame in range(COUNT)
    ]
    of_labels = [row for row in rows if row["source"] == "label"]
    for row in of_labels:
        shift = [float(row[f"shift_{axis}_mm"]) for axis in "ras"]
        assert np.allclose(shift, shift_of(int(row["frame"])) * [-1, -1, 1], atol=2e-3)
        assert float(row["mean_mm"]) == pytest.approx(np.linalg.norm(shift_of(int(row["frame"]))), abs=2e-3)
        assert float(row["moving_ml"]) == pytest.approx(float(row["fixed_ml"]), rel=1e-3)
    liver = rows[-COUNT:]
    assert (float(liver[REFERENCE]["mean_mm"]), float(liver[0]["mean_mm"])) == (0.0, 17.3)


def test_each_frame_starts_where_its_neighbour_ended(tmp_path: Path, calls: list[dict], monkeypatch) -> None:
    read: list[str] = []
    original = volumes.read_volume
    monkeypatch.setattr("pddnet.io.sequence.read_volume", lambda path: read.append(str(path)) or original(path))
    frames = write_frames(tmp_path)
    assert main(_argv(frames, tmp_path / "out")) == 0
    assert [call["frame"] for call in calls] == [2, 3, 0]
    first, second, before = calls
    assert (first["initial_transform"], first["align"]) == (None, False)
    assert (before["initial_transform"], before["align"]) == (None, False)
    for point in POINTS:
        assert np.allclose(second["initial_transform"].TransformPoint(point.tolist()), point + STEP_MM, atol=1e-3)
    assert read == [frames[n] for n in (REFERENCE, 2, 3, 0)]


def test_a_failed_neighbour_is_no_start(tmp_path: Path, monkeypatch, capsys) -> None:
    noted: list[dict] = []
    monkeypatch.setattr(pipeline, "register", finds_the_shift(noted, lambda frame: "failed" if frame == 2 else "ok"))
    assert main(_argv(write_frames(tmp_path), tmp_path / "out", "--align")) == 3
    assert [(call["initial_transform"], call["align"]) for call in noted] == [(None, True)] * 3
    assert "failed: the views hardly overlap" in capsys.readouterr().out


def test_a_stopped_run_keeps_whole_frames_and_goes_on(tmp_path: Path, monkeypatch, capsys) -> None:
    noted: list[dict] = []
    found = finds_the_shift(noted)

    def stopped(fixed, moving, *args, **settings):
        if len(noted) == 2:
            raise Cancelled
        return found(fixed, moving, *args, **settings)

    frames, out = write_frames(tmp_path), tmp_path / "out"
    monkeypatch.setattr(pipeline, "register", stopped)
    assert main(_argv(frames, out)) == 130
    left = f"pddnet: interrupted; 3 of 4 frames are whole in {out}, and the same command goes on from there\n"
    assert capsys.readouterr().err == left
    whole = sorted(path.name for path in out.iterdir())
    assert whole == [f"frame_{n:03d}{end}" for n in (1, 2, 3) for end in (".h5", ".json")]
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}

    monkeypatch.setattr(pipeline, "register", found)
    assert main(_argv(frames, out)) == 0
    assert [call["frame"] for call in noted] == [2, 3, 0]
    assert {name: (out / name).stat().st_mtime_ns for name in whole} == before
    assert "3 of 4 frames are whole" in capsys.readouterr().out
    assert len(json.loads((out / "report.json").read_text())["frames"]) == COUNT
    assert len(_motion(out)) == COUNT  # the liver's, of all frames


def test_a_frame_without_its_record_is_made_again_from_the_neighbour_on_disk(tmp_path: Path, calls: list[dict]) -> None:
    frames, out = write_frames(tmp_path), tmp_path / "out"
    assert main(_argv(frames, out)) == 0
    (out / "frame_003.json").unlink()  # as if the run was killed between two files
    (out / "frame_003.h5").write_bytes(b"older")
    assert main(_argv(frames, out)) == 0
    assert [call["frame"] for call in calls] == [2, 3, 0, 3]
    start = calls[-1]["initial_transform"]
    assert np.allclose(start.TransformPoint(FIXED.centre.tolist()), FIXED.centre + STEP_MM, atol=1e-3)
    landed = _transform(out, 3).TransformPoint(POINTS[0].tolist())
    assert np.allclose(landed, POINTS[0] + shift_of(3), atol=1e-3)


def test_results_of_other_inputs_are_not_mixed(tmp_path: Path, calls: list[dict], capsys) -> None:
    frames, out = write_frames(tmp_path), tmp_path / "out"
    assert main(_argv(frames, out)) == 0
    assert main(_argv(frames, out, "--preset", "fast")) == 2
    assert "the frame was made with another preset; choose another folder or empty this" in capsys.readouterr().err
    save(image_of(3, FIXED), Path(frames[3]))
    assert main(_argv(frames, out)) == 2
    err = capsys.readouterr().err
    assert "frame_003.json: the frame was made with another frame;" in err
    assert err.count("\n") == 1


def test_the_volumes_of_one_4d_file_are_frames(tmp_path: Path, calls: list[dict]) -> None:
    images = [image_of(frame, FIXED).to_sitk() for frame in range(3)]
    path = tmp_path / "4d.nii.gz"
    sitk.WriteImage(sitk.JoinSeries(images), str(path))
    assert main(["sequence", "--frames", str(path), "--reference", "1", "--out", str(tmp_path / "out")]) == 0
    assert len(calls) == 2
    for call, frame in zip(calls, (2, 0), strict=True):
        assert call["moving"].grid.same_as(FIXED)
        assert np.array_equal(call["moving"].array, sitk.GetArrayFromImage(images[frame]))
    assert np.array_equal(calls[0]["fixed"].array, sitk.GetArrayFromImage(images[1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--reference", "4"], "--reference 4: there is no such frame; give 0 to 3"),
        (["--preset", "none"], "none"),
        (["--labels", "nowhere.nii.gz"], "nowhere.nii.gz: no such file or folder"),
        (["--frames", "one"], "one: no such file or folder"),
        (["--transform-type", "bent"], "there is no transform type 'bent'"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path: Path, calls: list[dict], capsys, change: list[str], said) -> None:
    assert main(_argv(write_frames(tmp_path), tmp_path / "out", *change)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert calls == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("in_one_file", [False, True])
def test_presets_of_volumes_are_refused_of_single_slices_over_time(tmp_path: Path, capsys, in_one_file: bool) -> None:
    """2-D + t."""
    slices = np.random.default_rng(0).integers(-900, 900, (3, 1, 40, 40)).astype(np.int16)
    paths = [tmp_path / f"{n}.nii.gz" for n in range(3)]
    for path, voxels in zip(paths, slices, strict=True):
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    if in_one_file:
        paths = [tmp_path / "cine.nii.gz"]
        sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(voxels) for voxels in slices]), str(paths[0]))
    names = [str(path) for path in paths]
    assert (
        main(["sequence", "--frames", *names, "--reference", "0", "--out", str(tmp_path / "out"), "--preset", "mind"])
        == 2
    )
    told = capsys.readouterr().err.splitlines()[-1]
    assert "--preset: only for volumes, and these are 2-D images" in told
    assert not (tmp_path / "out").exists()


def test_one_frame_is_no_sequence(tmp_path: Path, capsys) -> None:
    frames = write_frames(tmp_path, 1)
    assert main(["sequence", "--frames", *frames, "--reference", "0", "--out", str(tmp_path / "out")]) == 2
    assert "this is one frame; give two or more, or one 4-D NIfTI file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_registration_itself_follows_the_body(tmp_path: Path) -> None:
    frames, out = write_frames(tmp_path), tmp_path / "out"
    assert main(_argv(frames, out, "--device", "cpu")) == 0
    points = FIXED.points()[ball(FIXED, FIXED.centre, 15)][::7]
    for frame in range(COUNT):
        landed = [_transform(out, frame).TransformPoint(point) for point in points.tolist()]
        assert np.linalg.norm(landed - points - shift_of(frame), axis=1).max() < 1.0, frame


def test_a_frame_that_lies_elsewhere_is_named(tmp_path: Path, calls: list[dict], capsys) -> None:
    frames = write_frames(tmp_path)
    image = sitk.ReadImage(frames[-1])
    image.SetOrigin([value + 5000 for value in image.GetOrigin()])
    sitk.WriteImage(image, frames[-1])
    assert main(_argv(frames, tmp_path / "out")) == 2
    start = COUNT - 2 if COUNT - 2 != REFERENCE else None
    where = f"under the transform of frame {start}" if start else "where it lies"
    told = f"{frames[-1]}: {where}, frame {COUNT - 1} does not overlap the reference, frame {REFERENCE}; "
    assert told in capsys.readouterr().err
    assert main(_argv(frames[: REFERENCE + 1] + frames[-1:], tmp_path / "two")) == 2
    assert "let --align search for the start" in capsys.readouterr().err
