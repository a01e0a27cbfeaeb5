"""`pddnet register` with 2-D images: what it reads, what it writes, what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.planes import empty, painted, points_of, texture
from helpers.samples import write_pair
from pddnet.cli.main import main
from pddnet.features.plane_net import PlaneNet, save
from pddnet.features.semantic_net import BUNDLED_WEIGHTS

SHIFT = np.array([6.0, -4.0])
LIKE = empty((72, 64), 2.0, (-70.0, -66.0), degrees=10)


@pytest.fixture(scope="module")
def pair() -> tuple[sitk.Image, sitk.Image, sitk.Image, sitk.Image]:
    """Fixed and moving image, and label maps of both."""
    pattern = texture(4, grain=6.0)
    fixed, moving = painted(LIKE, pattern, lambda p: p + SHIFT), painted(LIKE, pattern)
    maps = []
    for shift in (SHIFT, 0 * SHIFT):
        x, y = np.moveaxis(points_of(LIKE) + shift, -1, 0)
        labels = sitk.GetImageFromArray((1 * ((x - 5) ** 2 + y**2 < 900) + 1 * (np.abs(x) < 8)).astype(np.uint8))
        labels.CopyInformation(LIKE)
        maps.append(labels)
    return fixed, moving, *maps


def _slice(image: sitk.Image) -> sitk.Image:
    """The image as a coronal volume of one slice: y of the plane is z in space."""
    array = sitk.GetArrayFromImage(image)
    volume = sitk.GetImageFromArray(array[:, None, :])
    volume.SetSpacing((image.GetSpacing()[0], 5.0, image.GetSpacing()[1]))
    volume.SetOrigin((3.0, 41.0, -20.0))
    return volume


def test_all_outputs_of_2d_images(tmp_path: Path, pair: tuple[sitk.Image, ...], capsys) -> None:
    names = ("fixed.nrrd", "moving.mha", "fixed_labels.nii.gz", "moving_labels.nrrd")
    for name, image in zip(names, pair, strict=True):
        sitk.WriteImage(image, str(tmp_path / name))
    inputs = [w for o, n in zip(("--fixed", "--moving", "--fixed-labels", "--moving-labels"), names, strict=True)
              for w in (o, str(tmp_path / n))]  # fmt: skip
    out = {key: str(tmp_path / name) for key, name in {
        "transform": "t.h5", "volume": "w.nii.gz", "labels": "l.nrrd", "inverse": "i.tfm", "jacobian": "j.mha"
    }.items()}  # fmt: skip
    wanted = [word for key, path in out.items() for word in (f"--output-{key}", path)]
    assert main(["register", *inputs, *wanted, "--report", str(tmp_path / "r.json")]) == 0
    transform, inverse = sitk.ReadTransform(out["transform"]), sitk.ReadTransform(out["inverse"])
    assert transform.GetDimension() == inverse.GetDimension() == 2
    point = LIKE.TransformContinuousIndexToPhysicalPoint((33.3, 30.8))
    assert np.allclose(np.subtract(transform.TransformPoint(point), point), SHIFT, atol=0.2)
    assert np.allclose(inverse.TransformPoint(transform.TransformPoint(point)), point, atol=0.02)
    warped = sitk.GetArrayFromImage(sitk.ReadImage(out["volume"]))
    expected = sitk.GetArrayFromImage(sitk.Resample(pair[1], pair[0], transform, sitk.sitkLinear, 0.0))
    assert np.abs(warped - expected)[6:-6, 6:-6].max() < 1e-3
    assert np.allclose(sitk.GetArrayFromImage(sitk.ReadImage(out["jacobian"])), 1, atol=0.2)
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert report["dimension"] == 2
    assert [row["label"] for row in report["labels"]["table"]] == [1, 2]
    assert report["labels"]["mean"]["dice_before"] < 0.9 < report["labels"]["mean"]["dice_after"]
    labels = sitk.GetArrayFromImage(sitk.ReadImage(out["labels"]))
    assert labels.dtype == np.uint16
    assert (labels == sitk.GetArrayFromImage(pair[2])).mean() > 0.97
    assert "verdict   ok" in capsys.readouterr().out


def test_slices_and_pictures_go_together_and_a_displacement_image_is_one_of_two_axes(
    tmp_path: Path, pair: tuple[sitk.Image, ...]
) -> None:
    fixed, moving, w, t = (str(tmp_path / n) for n in ("f.nii.gz", "m.png", "w.nii.gz", "t.nii.gz"))
    sitk.WriteImage(_slice(pair[0]), fixed)
    sitk.WriteImage(sitk.Cast(128 - 40 * pair[1], sitk.sitkUInt8), moving)  # inverted
    assert main(["register", "--fixed", fixed, "--moving", moving, "--spacing", "2", "2.2", "--output-transform", t,
                 "--output-volume", w]) == 0  # fmt: skip
    field = sitk.ReadImage(t, sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    assert transform.GetDimension() == 2
    # the slice runs along x and z from (3, -20), the picture from (0, 0), the shift lies along their pixels
    turned = np.array(LIKE.GetDirection()).reshape(2, 2).T @ SHIFT
    assert np.allclose(transform.TransformPoint((73.0, 40.0)), np.array([70.0, 60.0]) + turned, atol=0.3)
    warped = sitk.ReadImage(w)
    assert warped.GetSize() == (72, 1, 64)
    assert warped.GetOrigin() == pytest.approx((3, 41, -20))
    assert warped.GetPixelID() == sitk.sitkUInt8


def _says(capsys: pytest.CaptureFixture, *argv: str) -> str:
    assert main(["register", *argv]) == 2
    return capsys.readouterr().err


def test_what_is_refused_in_one_sentence(tmp_path: Path, pair: tuple[sitk.Image, ...], capsys) -> None:
    flat, picture, t = (str(tmp_path / n) for n in ("f.nrrd", "f.png", "t.h5"))
    sitk.WriteImage(pair[0], flat)
    sitk.WriteImage(sitk.Cast(128 + 40 * pair[0], sitk.sitkUInt8), picture)
    volume = write_pair(tmp_path)["F"]
    to = ["--output-transform", t]
    assert "two volumes, or two 2-D images" in _says(capsys, "--fixed", flat, "--moving", volume, *to)
    assert "give it by --spacing" in _says(capsys, "--fixed", flat, "--moving", picture, *to)
    both = ["--fixed", flat, "--moving", flat, *to]
    assert "--preset, --both-ways: only for volumes" in _says(capsys, *both, "--preset", "fast", "--both-ways")
    assert "leave it out" in _says(capsys, *both, "--spacing", "1")
    assert "one or two positive numbers" in _says(capsys, "--fixed", picture, "--moving", flat, "--spacing", "-1", *to)
    assert "volumes have their own" in _says(capsys, "--fixed", volume, "--moving", volume, "--spacing", "1", *to)
    constant = tmp_path / "constant.nrrd"
    sitk.WriteImage(0 * pair[0], str(constant))
    assert "same value" in _says(capsys, "--fixed", flat, "--moving", str(constant), *to)
    start = tmp_path / "start.tfm"
    sitk.WriteTransform(sitk.Euler3DTransform(), str(start))
    assert "the transform is 3-D" in _says(capsys, *both, "--initial-transform", str(start))
    assert not Path(t).exists()


def test_weights_of_the_network_of_axial_slices(tmp_path: Path, pair: tuple[sitk.Image, ...], capsys) -> None:
    flat, weights, t, r = (str(tmp_path / n) for n in ("f.nrrd", "plane.npz", "t.h5", "r.json"))
    sitk.WriteImage(pair[0], flat)
    save(PlaneNet(8), Path(weights), {})
    argv = ["--fixed", flat, "--moving", flat, "--output-transform", t]
    assert main(["register", *argv, "--weights", weights, "--report", r]) == 0
    report = json.loads(Path(r).read_text("utf-8"))
    assert report["weights"] == {"plane.npz": hashlib.sha256(Path(weights).read_bytes()).hexdigest()}
    Path(t).unlink()
    assert "weights of kind 'semantic' where 'plane'" in _says(capsys, *argv, "--weights", str(BUNDLED_WEIGHTS))
    volume = write_pair(tmp_path)["F"]
    volumes = ["--fixed", volume, "--moving", volume, "--output-transform", t, "--weights", weights]
    assert "weights of kind 'plane' where 'semantic' or 'pdd'" in _says(capsys, *volumes)
    frames = ["sequence", "--frames", flat, flat, "--reference", "0", "--out", str(tmp_path / "out")]
    assert main([*frames, "--weights", str(BUNDLED_WEIGHTS)]) == 2
    assert main([*frames, "--weights", weights]) == 0
    assert json.loads((tmp_path / "out" / "frame_001.json").read_text("utf-8"))["weights"] == report["weights"]
    assert not Path(t).exists()


def test_a_cine_is_followed_frame_by_frame_with_its_labels(tmp_path: Path) -> None:
    """A texture that drifts by (4, -3) mm a frame, of one file over time: known at every point."""
    drift, count = np.array([4.0, -3.0]), 4
    like = empty((72, 64), 2.0, (-70.0, -66.0))
    frames = [painted(like, texture(6, grain=6.0), lambda p, n=n: p - n * drift) for n in range(count)]
    stack = sitk.JoinSeries([sitk.JoinSeries(frame, 0.0, 5.0) for frame in frames], 0.0, 1.0)
    sitk.WriteImage(stack, str(tmp_path / "cine.nii.gz"))
    labels = sitk.GetImageFromArray((np.linalg.norm(points_of(like) - [5, 3], axis=-1) < 20).astype(np.uint8))
    labels.CopyInformation(like)
    sitk.WriteImage(labels, str(tmp_path / "labels.nrrd"))
    out = tmp_path / "out"
    assert main(["sequence", "--frames", str(tmp_path / "cine.nii.gz"), "--reference", "0", "--out", str(out),
                 "--labels", str(tmp_path / "labels.nrrd")]) == 0  # fmt: skip
    for n in range(count):
        transform = sitk.ReadTransform(str(out / f"frame_{n:03d}.h5"))
        for point in ((5.0, 3.0), (-30.0, 20.0), (15.0, -31.0)):
            assert np.allclose(
                np.subtract(transform.TransformPoint(point), point), n * drift, atol=0.5
            )  # mm: a quarter of a pixel
    rows = [line.split(",") for line in (out / "motion.csv").read_text("utf-8").splitlines()[1:]]
    centres = np.array([[float(x), float(y)] for _, _, x, y, _ in rows])
    assert np.allclose(centres - centres[0], np.arange(count)[:, None] * drift, atol=1.1)  # half a pixel
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert [line["start_frame"] for line in report["frames"]] == [None, None, 1, 2]
    assert sitk.ReadImage(str(out / "frame_002_labels.nii.gz")).GetSize() == (72, 64, 1)


def test_the_only_file_of_a_folder_is_not_overwritten(tmp_path: Path, pair: tuple[sitk.Image, ...], capsys) -> None:
    (tmp_path / "slice").mkdir()
    scan, moving = tmp_path / "slice" / "scan.nrrd", tmp_path / "m.nrrd"
    sitk.WriteImage(pair[0], str(scan))
    sitk.WriteImage(pair[1], str(moving))
    before = scan.read_bytes()
    argv = ["--fixed", str(scan.parent), "--moving", str(moving), "--output-transform", str(tmp_path / "t.h5")]
    assert "would overwrite the input" in _says(capsys, *argv, "--output-volume", str(scan))
    assert scan.read_bytes() == before
