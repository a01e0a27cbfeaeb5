"""Folders of DICOM slices that do not belong together: CT is preferred, and the odd slice is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import direction, ramp
from pddnet.core.grid import Grid
from pddnet.errors import InputError
from pddnet.io.volumes import read_volume

GRID = Grid((12, 14, 16), (3.0, 3.0, 4.0), (-30, 12, -250), direction(4))


def _write(folder: Path, *, prefix: str = "s", uid: str = "1.2.3", count: int = 12, **changes: object) -> None:
    """Slices of GRID as files; changes: the value of a tag, or a function of the slice's number."""
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    array = ramp(GRID).array
    columns, spacing_mm = changes.pop("columns", 16), changes.pop("spacing_mm", GRID.spacing.tolist())
    for k in range(count):
        one = sitk.GetImageFromArray(array[k : k + 1, :, :columns])
        one.SetSpacing(spacing_mm)
        tags = {
            "0008|0060": "CT",
            "0008|103e": "abdomen",
            "0020|000d": "1.2.1",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{prefix}.{k}".replace("s", "1").replace("t", "2"),
            "0020|0032": "\\".join(f"{v:.6f}" for v in GRID.index_to_point([0, 0, k])),
            "0020|0037": "\\".join(f"{v:.8f}" for v in GRID.direction[:, :2].T.ravel()),
        }
        for tag, value in {**tags, **changes}.items():
            one.SetMetaData(tag.replace("_", "|"), str(value))
        writer.SetFileName(str(folder / f"{prefix}{k:02d}.dcm"))
        writer.Execute(one)


def _refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    text = str(caught.value)
    assert text.startswith(f"{folder}: ") and "\n" not in text
    return text.removeprefix(f"{folder}: ")


def test_ct_is_taken_though_pet_has_more_slices(tmp_path: Path) -> None:
    _write(tmp_path, count=12, uid="1.2.4", prefix="t", **{"0008|0060": "PT", "0008|103e": "FDG"})
    _write(tmp_path, count=7)
    image, warnings = read_volume(tmp_path)
    assert image.array.shape == (7, 14, 16)
    assert np.allclose(image.grid.origin, GRID.index_to_point([0, 0, 0]), atol=0.01)
    assert warnings == [f"{tmp_path}: of several DICOM series CT was taken; left out: 'FDG' (PT, 12 slices)"]


@pytest.mark.parametrize(("name", "slices"), [("fdg", 12), ("3", 7), ("1.2.4", 12), ("Venous", 9)])
def test_a_series_is_taken_by_its_number_uid_or_description(tmp_path: Path, name: str, slices: int) -> None:
    _write(tmp_path, count=12, uid="1.2.4", prefix="t", **{"0008|0060": "PT", "0008|103e": "FDG", "0020|0011": "2"})
    _write(tmp_path, count=7, **{"0020|0011": "3"})
    _write(tmp_path, count=9, uid="1.2.5", prefix="v", **{"0008|103e": "Abdomen venous 5 mm", "0020|0011": "4"})
    image, warnings = read_volume(tmp_path, series=name)
    assert image.array.shape[0] == slices
    assert warnings == []


@pytest.mark.parametrize(("name", "slices"), [("2", 7), ("1.2.4", 9), ("2.0", 9)])
def test_a_number_is_no_part_of_a_description(tmp_path: Path, name: str, slices: int) -> None:
    _write(tmp_path, count=7, **{"0020|0011": "2", "0008|103e": "thorax 5.0"})
    _write(tmp_path, count=9, uid="1.2.4", prefix="v", **{"0020|0011": "3", "0008|103e": "abdomen 2.0"})
    image, warnings = read_volume(tmp_path, series=name)
    assert image.array.shape[0] == slices
    assert warnings == []


def test_a_series_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    _write(tmp_path, count=9, uid="1.2.5", prefix="v", **{"0008|103e": "venous", "0020|0011": "4"})
    with pytest.raises(InputError, match="no DICOM series is called 'arterial'; there are 4: 'venous'"):
        read_volume(tmp_path, series="arterial")
    with pytest.raises(InputError, match="this is a file, not a folder"):
        read_volume(next(tmp_path.iterdir()), series="venous")


def test_a_slice_of_another_size_is_named(tmp_path: Path) -> None:
    _write(tmp_path)
    _write(tmp_path, count=1, columns=10)  # in place of the first
    assert _refusal(tmp_path) == (
        "the DICOM series has slices that do not belong together, s00.dcm is of another size, 10 x 14 where the others "
        "have 16 x 14; move them out of the folder"
    )


def test_slices_of_another_pixel_spacing_are_named(tmp_path: Path) -> None:
    _write(tmp_path)
    _write(tmp_path, count=2, spacing_mm=[2.0, 3.0, 4.0])  # in place of the first two
    assert _refusal(tmp_path) == (
        "the DICOM series has slices that do not belong together, s00.dcm and 1 more are of another pixel spacing; "
        "move them out of the folder"
    )


def test_a_scout_in_the_series_is_named(tmp_path: Path) -> None:
    _write(tmp_path)
    _write(tmp_path, count=2, prefix="t", **{"0020|0037": "1\\0\\0\\0\\0\\-1"})
    assert _refusal(tmp_path) == (
        "the DICOM series has slices that do not belong together, t00.dcm and 1 more are in another plane (a scout?); "
        "move them out of the folder"
    )


@pytest.mark.parametrize(
    ("tag", "values", "said"),
    [
        ("0020|0012", ("1", "2"), "differ in acquisition number (1, 2)"),
        ("0008|0032", ("101500", "101730"), "differ in acquisition time (101500, 101730)"),
        ("0008|0070", ("a", "b"), "say nothing that tells them apart (copies, or a series over time?)"),
    ],
)
def test_two_phases_under_one_series_are_named(tmp_path: Path, tag: str, values: tuple[str, str], said: str) -> None:
    for prefix, value in zip("st", values, strict=True):
        _write(tmp_path, prefix=prefix, **{tag: value})
    text = _refusal(tmp_path)
    assert text.startswith("several DICOM slices lie at one position, such as ")
    assert "s00.dcm" in text or "s11.dcm" in text
    assert said in text or said.replace("(1, 2)", "(2, 1)").replace("(101500, 101730)", "(101730, 101500)") in text
    assert text.endswith("; export a single phase")


@pytest.mark.parametrize("value", ["a\\b\\c", "1\\2", "1e300\\0\\0"])
def test_a_position_that_is_none(tmp_path: Path, value: str) -> None:
    _write(tmp_path)
    _write(tmp_path, count=1, **{"0020|0032": value})
    with pytest.raises(InputError, match=r"s00\.dcm: |sheared|damaged"):
        read_volume(tmp_path)


def test_a_series_that_is_spread_over_folders_is_one(tmp_path: Path) -> None:
    _write(tmp_path)
    whole, _ = read_volume(tmp_path)
    for path in sorted(tmp_path.glob("*.dcm")):
        folder = tmp_path / f"part_{int(path.stem[1:]) % 3}"
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    image, warnings = read_volume(tmp_path)
    assert warnings == []
    assert image.grid.same_as(whole.grid)
    assert np.array_equal(image.array, whole.array)


def test_copies_of_a_series_in_two_folders_are_not_joined(tmp_path: Path) -> None:
    for name, count in (("one", 12), ("two", 9)):
        (tmp_path / name).mkdir()
        _write(tmp_path / name, count=count)
    image, warnings = read_volume(tmp_path)
    assert image.array.shape == GRID.shape
    assert warnings == [
        f"{tmp_path}: the largest DICOM series was taken, 'abdomen' (12 slices); left out: 'abdomen' (9 slices)"
    ]
    _write(tmp_path / "two", count=12)
    assert _refusal(tmp_path).startswith("the folder holds several DICOM series")


def test_a_broken_series_does_not_keep_another_one_from_being_read(tmp_path: Path) -> None:
    for name in ("ct", "o0", "o1"):
        (tmp_path / name).mkdir()
    _write(tmp_path / "ct")
    for folder, prefix in (("o0", "s"), ("o1", "t")):
        broken = {"0008|0060": "OT", "0020|0032": "none"}
        _write(tmp_path / folder, prefix=prefix, uid="1.2.8", count=3, **broken)
    assert read_volume(tmp_path)[0].array.shape == GRID.shape


def test_two_slices_of_one_name_are_named_with_their_folders(tmp_path: Path) -> None:
    for name, first in (("one", "1.0"), ("two", "1.5")):
        (tmp_path / name).mkdir()
        _write(tmp_path / name, **{"0008|0032": first})
    for path in (tmp_path / "two").iterdir():
        path.rename(tmp_path / "one" / f"again_{path.name}")
    (tmp_path / "two").rmdir()
    assert "such as one/" in _refusal(tmp_path)


def test_a_single_file_does_not_hide_the_series_below(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    _write(tmp_path / "series")
    _write(tmp_path, prefix="t", uid="1.2.9", count=1)
    image, warnings = read_volume(tmp_path)
    assert image.array.shape == GRID.shape
    assert warnings == []


def test_a_guessed_pixel_spacing_is_told(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    _write(tmp_path)
    for path in tmp_path.glob("*.dcm"):
        header = pydicom.dcmread(path)
        del header.PixelSpacing
        header.save_as(path)
    image, warnings = read_volume(tmp_path, smallest=10)
    assert image.grid.spacing == pytest.approx([1, 1, 4])
    assert warnings == [f"{tmp_path}: the DICOM slices do not say how large a pixel is; 1 x 1 mm is a guess"]
    for path in tmp_path.glob("*.dcm"):
        header = pydicom.dcmread(path)
        header.PixelSpacing = None
        header.save_as(path)
    assert "is a guess" in read_volume(tmp_path, smallest=10)[1][0]
    for path in tmp_path.glob("*.dcm"):
        header = pydicom.dcmread(path)
        header.ImagerPixelSpacing = [3.0, 3.0]
        header.save_as(path)
    assert "say how large a pixel is at the detector only" in read_volume(tmp_path, smallest=10)[1][0]
