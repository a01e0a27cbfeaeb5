"""2-D images, slices and their label maps are read with the checks of volumes: NaN, units, places, transforms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.nifti import write_forms
from helpers.planes import empty, painted, texture
from helpers.samples import direction, ramp
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.plane import Plane
from pddnet.errors import InputError
from pddnet.io.plane_labels import read_plane_labels
from pddnet.io.planes import read_plane, read_plane_frames
from pddnet.io.sequence import find_frames
from pddnet.io.transforms import load_transform

SLICE = Grid((1, 34, 26), (2.0, 2.5, 5.0), (-40, 20, -300), direction(3))  # oblique
AXIAL = Grid((1, 34, 26), (2.0, 2.5, 5.0), (-40, 20, -300), np.eye(3))
FLAT = painted(empty((40, 36), 2.0, (-70.0, -66.0), degrees=10), texture(4))


def _values(grid: Grid) -> np.ndarray:
    return ramp(grid, np.float32).array


@pytest.mark.parametrize("name", ["s.nii.gz", "s.hdr"])
def test_nan_in_a_slice_is_told_and_is_no_water(tmp_path: Path, name: str) -> None:
    values = _values(SLICE)
    values[0, 3:5, 7] = np.nan
    path = tmp_path / name
    sitk.WriteImage(Image(values, SLICE).to_sitk(), str(path))
    plane, warnings = read_plane(path)
    assert warnings == [f"{path}: 2 pixels that are no finite numbers were set to the lowest value"]
    assert plane.image.array[0, 3:5, 7] == pytest.approx(np.nanmin(values))


def test_nan_in_a_2d_nifti_is_told(tmp_path: Path) -> None:
    values = sitk.GetArrayFromImage(FLAT)
    values[2, 9] = np.inf
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(FLAT)
    sitk.WriteImage(image, str(tmp_path / "f.nii"))
    assert "1 pixels that are no finite numbers" in "".join(read_plane(tmp_path / "f.nii")[1])


def test_a_slice_whose_forms_differ_is_told_and_a_sheared_one_refused(tmp_path: Path) -> None:
    place = (1, SLICE.axes, SLICE.origin)
    shifted = (1, SLICE.axes, SLICE.origin + [60, 0, 0])
    spacing = tuple(SLICE.spacing.tolist())
    path = write_forms(tmp_path / "s.nii", ramp(SLICE).array, spacing, qform=place, sform=shifted)
    plane, warnings = read_plane(path)
    assert warnings == [
        f"{path}: sform and qform of the header place the volume 60.0 mm apart; the sform is used, as ITK and Slicer do"
    ]
    assert plane.volume is not None
    assert np.allclose(plane.volume.origin, shifted[2], atol=0.01)
    steps = SLICE.axes.copy()
    steps[:, 1] += 0.3 * SLICE.axes[:, 0]
    path = write_forms(tmp_path / "t.nii", ramp(SLICE).array, spacing, qform=None, sform=(1, steps, SLICE.origin))
    with pytest.raises(InputError, match="the direction matrix is not orthogonal"):
        read_plane(path)


def test_lengths_in_cm_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.nrrd"
    sitk.WriteImage(ramp(SLICE).to_sitk(), str(path))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"space: left", b'space units: "cm" "cm" "cm"\nspace: left', 1))
    with pytest.raises(InputError, match="the lengths in the header are in cm; write them in mm"):
        read_plane(path)


def _cine(folder: Path, change: Callable[[np.ndarray], None]) -> Path:
    values = np.stack([_values(AXIAL)] * 3)
    change(values)
    stack = sitk.JoinSeries([Image(each, AXIAL).to_sitk() for each in values], 0.0, 1.0)
    sitk.WriteImage(stack, str(folder / "cine.nii.gz"))
    return folder / "cine.nii.gz"


def test_frames_of_one_file_are_checked(tmp_path: Path) -> None:
    def missing(values: np.ndarray) -> None:
        values[1, 0, 4, 5] = np.nan

    def constant(values: np.ndarray) -> None:
        values[2] = 7

    with pytest.raises(InputError, match=r"cine\.nii\.gz: 1 pixels are no finite numbers"):
        read_plane_frames([_cine(tmp_path, missing)])
    with pytest.raises(InputError, match=r"cine\.nii\.gz, frame 2: every pixel has the same value"):
        read_plane_frames([_cine(tmp_path, constant)])
    frames, warnings = read_plane_frames([_cine(tmp_path, lambda values: None)])
    assert (len(frames), warnings) == (3, [])
    assert np.array_equal(frames[1].image.array, _values(AXIAL))


def test_the_forms_of_a_volume_over_time_are_compared(tmp_path: Path) -> None:
    grid = Grid((12, 14, 16), (3.0, 2.5, 4.0), (-40, 20, -300), direction(3))
    place, shifted = (1, grid.axes, grid.origin), (1, grid.axes, grid.origin + [0, 0, 45.0])
    values = np.stack([ramp(grid).array] * 2)
    path = write_forms(tmp_path / "t.nii", values, tuple(grid.spacing.tolist()), qform=place, sform=shifted)
    for frame in find_frames([path]):
        image, warnings = frame.read()
        assert np.allclose(image.grid.origin, shifted[2], atol=0.01)
        assert [text for text in warnings if "place the volume 45.0 mm apart; the sform is used" in text]


def _labels(grid: Grid, path: Path) -> Path:
    """Label 2 within 12 mm of the middle of SLICE, 1 on one side of it."""
    away = grid.points() - SLICE.centre
    array = 2 * (np.linalg.norm(away, axis=-1) < 12) + 1 * (away @ SLICE.direction[:, 0] > 14)
    sitk.WriteImage(Image(array.astype(np.uint8), grid).to_sitk(), str(path))
    return path


def test_labels_of_a_flipped_map_lie_where_they_lie_in_space(tmp_path: Path) -> None:
    scan = Plane.from_sitk(ramp(SLICE).to_sitk())
    straight, none = read_plane_labels(_labels(SLICE, tmp_path / "a.nrrd"), scan)
    axes = SLICE.direction * [-1, 1, -1]
    flipped = Grid(SLICE.shape, SLICE.spacing, SLICE.index_to_point([SLICE.size[0] - 1, 0, 0]), axes)
    found, warnings = read_plane_labels(_labels(flipped, tmp_path / "b.nrrd"), scan)
    assert np.unique(straight.image.array).tolist() == [0, 1, 2]
    assert np.array_equal(found.image.array, straight.image.array)
    assert none == []
    assert warnings == [f"{tmp_path / 'b.nrrd'}: the label map lies on another grid than its scan; it was resampled"]


def test_labels_of_another_slice_are_told_and_of_another_plane_refused(tmp_path: Path) -> None:
    scan = Plane.from_sitk(ramp(SLICE).to_sitk())
    beside = Grid(SLICE.shape, SLICE.spacing, SLICE.origin + 8.0 * SLICE.direction[:, 2], SLICE.direction)
    path = _labels(beside, tmp_path / "a.nrrd")
    assert read_plane_labels(path, scan)[1] == [
        f"{path}: the label map lies in another slice than its scan, 8.0 mm away"
    ]
    across = Grid(SLICE.shape, SLICE.spacing, SLICE.origin, SLICE.direction[:, [1, 2, 0]])
    with pytest.raises(InputError, match="a slice in another plane than its scan"):
        read_plane_labels(_labels(across, tmp_path / "b.nrrd"), scan)
    aside = Grid(SLICE.shape, SLICE.spacing, SLICE.origin + 500.0 * SLICE.direction[:, 0], SLICE.direction)
    assert read_plane_labels(_labels(aside, tmp_path / "c.nrrd"), scan)[1][1:] == [
        f"{tmp_path / 'c.nrrd'}: no label lies inside the scan"
    ]


def test_2d_transforms_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.tfm"
    affine = sitk.AffineTransform(2)
    affine.SetMatrix((1.0, 2.0, 0.5, 1.0))
    sitk.WriteTransform(affine, str(path))
    with pytest.raises(InputError, match="the transform is singular"):
        load_transform(path, 2)
    affine.SetMatrix((1.1, 0.1, -0.1, 0.9))
    affine.SetTranslation((3.0, 2e6))
    sitk.WriteTransform(affine, str(path))
    with pytest.raises(InputError, match="more than 1 km"):
        load_transform(path, 2)
    path.write_text(path.read_text("utf-8").replace("2000000", "nan"), "utf-8")
    with pytest.raises(InputError, match="not all finite numbers"):
        load_transform(path, 2)
    affine.SetTranslation((3.0, -4.0))
    sitk.WriteTransform(affine, str(path))
    path.write_text(path.read_text("utf-8").rstrip("\n"), "utf-8")  # a line without end, which ITK ignores
    found, warnings = load_transform(path, 2)
    assert np.allclose(found.TransformPoint((10.0, 20.0)), affine.TransformPoint((10.0, 20.0)))
    assert warnings == []


def test_a_2d_displacement_image_with_nan_is_refused(tmp_path: Path) -> None:
    array = np.zeros((9, 8, 2), np.float64)
    array[..., 1] = 2.5
    for name in ("d.nrrd", "d.nii.gz"):
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / name))
        assert np.allclose(load_transform(tmp_path / name, 2)[0].TransformPoint((3.0, 4.0)), (3.0, 6.5))
    array[1, 2, 0] = np.nan
    for name in ("d.nrrd", "d.nii.gz"):
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / name))
        with pytest.raises(InputError, match="1 numbers of the transform are NaN"):
            load_transform(tmp_path / name, 2)


@pytest.mark.parametrize(("kind", "count"), [("Euler2DTransform", 1), ("Euler2DTransform", 6), ("ScaleTransform", 1)])
def test_2d_transforms_with_another_number_of_parameters_are_refused(tmp_path: Path, kind: str, count: int) -> None:
    path = tmp_path / "t.tfm"
    lines = ["#Insight Transform File V1.0", "#Transform 0", f"Transform: {kind}_double_2_2"]
    lines += [f"Parameters: {' '.join(['1'] * count)}", "FixedParameters: 0 0", ""]
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(InputError, match=f"{kind} has . parameters and 2 fixed ones, and the file gives {count}"):
        load_transform(path, 2)


def test_2d_displacement_images_that_hold_positions_are_refused(tmp_path: Path) -> None:
    image = sitk.PhysicalPointSource(sitk.sitkVectorFloat64, (20, 24), (-9.0, 5.0), (1.5, 2.0), FLAT.GetDirection())
    sitk.WriteImage(image, str(tmp_path / "p.nrrd"))
    with pytest.raises(InputError, match="the image holds positions, not displacements"):
        load_transform(tmp_path / "p.nrrd", 2)


def test_a_2d_displacement_image_in_two_files_is_read(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((9, 8, 2), 2.5), isVector=True), str(tmp_path / "d.hdr"))
    assert np.allclose(load_transform(tmp_path / "d.hdr", 2)[0].TransformPoint((3.0, 4.0)), (5.5, 6.5))


def test_frames_in_the_only_file_of_a_folder_are_checked(tmp_path: Path) -> None:
    def missing(values: np.ndarray) -> None:
        values[1, 0, 4, 5] = np.nan

    _cine(tmp_path, missing)
    with pytest.raises(InputError, match="1 pixels are no finite numbers"):
        read_plane_frames([tmp_path])
    (tmp_path / "cine.nii.gz").rename(tmp_path / "kept.nii.gz")
    values = np.stack([_values(AXIAL)] * 2)
    values[1, 0, 4, 5] = np.nan
    stack = sitk.JoinSeries([Image(each, AXIAL).to_sitk() for each in values], 0.0, 1.0)
    sitk.WriteImage(stack, str(tmp_path / "cine.nrrd"))
    frames, warnings = read_plane_frames([tmp_path / "cine.nrrd"])
    assert len(frames) == 2
    told = "cine.nrrd, frame 1: 1 pixels that are no finite numbers were set to the lowest value"
    assert warnings == [f"{tmp_path}/{told}"]


def test_a_map_of_a_slightly_tilted_slice_is_in_the_same_slice_also_if_it_is_flipped(tmp_path: Path) -> None:
    turn = sitk.Euler3DTransform((0, 0, 0), 0.02, 0.03, 0.0)
    grid = Grid((1, 60, 70), (3.0, 3.0, 3.0), (-90, -80, 40), np.reshape(turn.GetMatrix(), (3, 3)))
    scan = Plane.from_sitk(ramp(grid).to_sitk())
    last = grid.index_to_point([grid.size[0] - 1, grid.size[1] - 1, 0])
    flipped = Grid(grid.shape, grid.spacing, last, grid.direction * [-1, -1, 1])
    array = np.zeros(grid.shape, np.uint8)
    array[0, 10:20, 30:50] = 3
    path = tmp_path / "l.nrrd"
    sitk.WriteImage(Image(array[:, ::-1, ::-1], flipped).to_sitk(), str(path))
    found, warnings = read_plane_labels(path, scan)
    assert np.array_equal(found.image.array, array)
    assert not [text for text in warnings if "another slice" in text]
