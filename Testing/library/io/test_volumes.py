"""Reading volumes, labels, masks, transforms, points and DICOM folders: values and geometry against SimpleITK."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, MOVING, ball, direction, labels, ramp, save
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.io.landmarks import match_points, read_points
from pddnet.io.transforms import read_transform
from pddnet.io.volumes import read_labels, read_mask, read_volume


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
def test_a_volume_keeps_its_values_its_type_and_its_place(tmp_path: Path, ending: str) -> None:
    path = save(ramp(MOVING), tmp_path / f"m{ending}")
    image, warnings = read_volume(path)
    assert warnings == []
    assert image.array.dtype == np.int16
    assert image.array.shape == MOVING.shape
    index = (5, 11, 17)
    expected = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint(index)
    assert np.allclose(image.grid.index_to_point(index), expected, atol=1e-3)
    assert np.allclose(image.grid.index_to_point(index), MOVING.index_to_point(index), atol=1e-2)
    assert np.array_equal(image.array, ramp(MOVING).array)


def _write_slices(
    folder: Path, image: Image, *, positions: np.ndarray | None = None, uid: str = "1.2.3", text: str = "abdomen"
) -> None:
    """A DICOM series, its files named in an order that is not that of the slices."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    order = np.random.default_rng(0).permutation(image.array.shape[0])
    x, y = image.grid.direction[:, 0], image.grid.direction[:, 1]
    for k in range(image.array.shape[0]):
        place = image.grid.index_to_point([0, 0, k]) if positions is None else positions[k]
        one = sitk.GetImageFromArray(image.array[k : k + 1])
        one.SetSpacing(image.grid.spacing.tolist())
        tags = {
            "0008|0060": "CT",
            "0008|103e": text,
            "0020|000d": "1.2.1",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{k + 1}",
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{v:.6f}" for v in place),
            "0020|0037": "\\".join(f"{v:.8f}" for v in [*x, *y]),
        }
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}-{order[k]:03d}.dcm"))
        writer.Execute(one)


DICOM = Grid((12, 14, 16), (3.0, 3.0, 4.0), (-30, 12, -250), direction(4))


def test_a_dicom_folder_is_sorted_by_position(tmp_path: Path) -> None:
    _write_slices(tmp_path / "scan", ramp(DICOM))
    image, warnings = read_volume(tmp_path / "scan")
    assert warnings == []
    expected = ramp(image.grid)  # the value tells the place, in whatever order the slices came
    assert np.abs(image.array.astype(int) - expected.array).max() <= 1
    assert np.allclose(image.grid.centre, DICOM.centre, atol=0.01)
    assert np.allclose(np.sort(image.grid.spacing), [3, 3, 4], atol=1e-4)


def test_of_several_dicom_series_the_largest_is_taken_and_named(tmp_path: Path) -> None:
    small = Image(ramp(DICOM).array[:5], Grid((5, 14, 16), DICOM.spacing, DICOM.origin, DICOM.direction))
    _write_slices(tmp_path, ramp(DICOM), uid="1.2.3", text="portal venous")
    _write_slices(tmp_path, small, uid="1.2.4", text="localiser")
    image, warnings = read_volume(tmp_path)
    assert image.array.shape == DICOM.shape
    assert len(warnings) == 1
    assert "'portal venous' (12 slices)" in warnings[0]
    assert "'localiser' (5 slices)" in warnings[0]


def test_two_dicom_series_of_equal_length_are_refused(tmp_path: Path) -> None:
    _write_slices(tmp_path, ramp(DICOM), uid="1.2.3", text="arterial")
    _write_slices(tmp_path, ramp(DICOM), uid="1.2.4", text="venous")
    with pytest.raises(InputError, match=r"'arterial' \(12 slices\).*'venous' \(12 slices\)|'venous'.*'arterial'"):
        read_volume(tmp_path)


def _shear(points: np.ndarray) -> np.ndarray:
    return points + np.arange(len(points))[:, None] * DICOM.direction[:, 1] * 1.2


def _gap(points: np.ndarray) -> np.ndarray:
    return points + (np.arange(len(points)) > 6)[:, None] * DICOM.direction[:, 2] * 8


def _twice(points: np.ndarray) -> np.ndarray:
    return points[np.arange(len(points)) // 2]


@pytest.mark.parametrize(("move", "what"), [(_shear, "gantry tilt"), (_gap, "missing"), (_twice, "one position")])
def test_dicom_slices_that_make_no_regular_volume_are_refused(tmp_path: Path, move, what: str) -> None:
    points = np.array([DICOM.index_to_point([0, 0, k]) for k in range(DICOM.shape[0])])
    _write_slices(tmp_path, ramp(DICOM), positions=move(points))
    with pytest.raises(InputError, match=what):
        read_volume(tmp_path)


def test_labels_on_another_grid_are_resampled_without_mixing(tmp_path: Path) -> None:
    path = save(labels(MOVING, FIXED.centre), tmp_path / "l.nii.gz")
    image, warnings = read_labels(path, FIXED)
    assert image.grid is FIXED
    assert len(warnings) == 1
    assert "another grid" in warnings[0]
    assert set(np.unique(image.array)) == {0, 1, 3}
    expected = labels(FIXED, FIXED.centre).array
    assert 2 * ((image.array == 1) & (expected == 1)).sum() / ((image.array == 1).sum() + (expected == 1).sum()) > 0.85


def test_labels_stored_as_floats_become_integers(tmp_path: Path) -> None:
    source = labels(FIXED, FIXED.centre)
    path = save(Image(source.array.astype(np.float32), FIXED), tmp_path / "l.nrrd")
    image, warnings = read_labels(path, FIXED)
    assert warnings == []
    assert image.array.dtype.kind == "u"
    assert np.array_equal(image.array, source.array)


@pytest.mark.parametrize("value", [0.5, -2.0, 70000.0, np.nan])
def test_what_is_no_label_map_is_refused(tmp_path: Path, value: float) -> None:
    array = labels(FIXED, FIXED.centre).array.astype(np.float32)
    array[3, 4, 5] = value
    with pytest.raises(InputError, match="no label map"):
        read_labels(save(Image(array, FIXED), tmp_path / "l.nii"), FIXED)


def test_an_empty_label_map_is_a_warning(tmp_path: Path) -> None:
    path = save(Image(np.zeros(FIXED.shape, np.uint8), FIXED), tmp_path / "l.nii.gz")
    image, warnings = read_labels(path, FIXED)
    assert not image.array.any()
    assert warnings == [f"{path}: the label map is empty"]


def test_a_mask_is_resampled_and_an_empty_one_refused(tmp_path: Path) -> None:
    path = save(Image(ball(MOVING, FIXED.centre, 15).astype(np.float32) * 0.7, MOVING), tmp_path / "m.nii.gz")
    mask, _ = read_mask(path, FIXED)
    truth = ball(FIXED, FIXED.centre, 15)
    assert mask.array.dtype == bool
    assert (mask.array & truth).sum() > 0.9 * truth.sum()
    away = Grid(FIXED.shape, FIXED.spacing, FIXED.origin + 900, FIXED.direction)
    with pytest.raises(InputError, match="mask is empty"):
        read_mask(path, away)


def test_a_2d_transform_is_refused(tmp_path: Path) -> None:
    sitk.WriteTransform(sitk.TranslationTransform(2, (1, 2)), str(tmp_path / "t.tfm"))
    with pytest.raises(InputError, match="2-D"):
        read_transform(tmp_path / "t.tfm")


POINTS = {"liver dome": (12.5, -30.25, 110.0), "L1, upper": (-3.0, 44.0, -16.5)}


def _csv(path: Path) -> Path:
    rows = [f'"{name}",{x},{y},{z}' for name, (x, y, z) in POINTS.items()]
    path.write_text("\n".join(["name,x,y,z", *rows]), encoding="utf-8-sig")
    return path


def _markups(path: Path, system: str) -> Path:
    sign = np.array([-1, -1, 1]) if system == "RAS" else np.ones(3)
    points = [{"label": n, "position": list(sign * p), "positionStatus": "defined"} for n, p in POINTS.items()]
    points.append({"label": "not placed", "position": [0, 0, 0], "positionStatus": "undefined"})
    path.write_text(json.dumps({"markups": [{"coordinateSystem": system, "controlPoints": points}]}))
    return path


def _fcsv(path: Path, system: str) -> Path:
    sign = np.array([-1, -1, 1]) if system in ("RAS", "0") else np.ones(3)
    head = f"# Markups fiducial file version = 4.11\n# CoordinateSystem = {system}\n"
    head += "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    rows = [
        f'{i},{",".join(str(v) for v in sign * p)},0,0,0,1,1,1,0,"{n}",,' for i, (n, p) in enumerate(POINTS.items())
    ]
    path.write_text(head + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: _csv(folder / "p.csv"),
        lambda folder: _markups(folder / "p.mrk.json", "LPS"),
        lambda folder: _markups(folder / "p.mrk.json", "RAS"),
        lambda folder: _fcsv(folder / "p.fcsv", "LPS"),
        lambda folder: _fcsv(folder / "p.fcsv", "RAS"),
        lambda folder: _fcsv(folder / "p.fcsv", "0"),
    ],
)
def test_points_come_out_in_lps_from_every_format(tmp_path: Path, write) -> None:
    points = read_points(write(tmp_path))
    assert list(points) == list(POINTS)
    for name, expected in POINTS.items():
        assert np.allclose(points[name], expected)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name,x,y,z\na,1,2,3\na,4,5,6\n", "occurs twice"),
        ("name,x,y,z\na,1,2,nan\n", "not a finite number"),
        ("name,x,y\na,1,2\n", "these are no points"),
        ("name,x,y,z\na,1,2\n", "row 2 has no name and three numbers, separated by a comma"),
        ("name,x,y,z\n", "no points"),
        ("", "these are no points"),
    ],
)
def test_bad_points_are_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=what):
        read_points(tmp_path / "p.csv")


def test_points_are_matched_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,x,y,z\na,1,2,3\nb,4,5,6\nonly here,0,0,0\n")
    (tmp_path / "b.csv").write_text("name,x,y,z\nb,40,50,60\na,10,20,30\n")
    names, fixed, moving, warnings = match_points(tmp_path / "a.csv", tmp_path / "b.csv")
    assert names == ["a", "b"]
    assert np.array_equal(fixed, [[1, 2, 3], [4, 5, 6]])
    assert np.array_equal(moving, [[10, 20, 30], [40, 50, 60]])
    assert len(warnings) == 1
    assert "only here" in warnings[0]
    (tmp_path / "c.csv").write_text("name,x,y,z\nc,1,2,3\n")
    with pytest.raises(InputError, match="no point name in common"):
        match_points(tmp_path / "a.csv", tmp_path / "c.csv")
