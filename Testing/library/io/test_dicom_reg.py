"""Results as DICOM registration objects, decoded by the standard's formula and read back, on oblique, flipped grids."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.validation_pairs import data_folder
from helpers import samples
from helpers.geometry import Affine, Waves, grids, inner_points, rotation, sitk_field, sitk_points
from pddnet.core import affine as core_affine
from pddnet.core.linear import AFFINE, RIGID, LinearTransform
from pddnet.errors import InputError
from pddnet.io.dicom_objects import DEFORMABLE, SPATIAL
from pddnet.io.dicom_reg_writer import Series, read_series, registration_object
from pddnet.io.transforms import read_transform

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")

NOW = datetime(2026, 3, 4, 15, 6, 7)
CT = "1.2.840.10008.5.1.4.1.1.2"
FIXED = Series(
    "1.2.3.1", "1.2.3.4", "1.2.3.5", ((CT, "1.2.3.6"), (CT, "1.2.3.7")),
    {"PatientName": "Müller^Jörg", "PatientID": "17", "StudyDate": "20260101"},
)  # fmt: skip
MOVING = Series("1.2.9.1", "1.2.9.4", "1.2.9.5", ((CT, "1.2.9.6"),))
GRIDS = grids((14, 17, 12))
WAVES = Waves()
TURN = Affine(rotation(12, -7, 25), np.array([8.0, -31.0, 14.5]), np.array([20.0, -60.0, 130.0]))
DATA = data_folder()
SERIES = None if DATA is None else DATA / "dicom_objects" / "ts_example_ct_dicom"


def written(result: Any, path: Path, fixed: Series = FIXED, moving: Series = MOVING) -> Any:
    """The object as pydicom reads it."""
    path.write_bytes(registration_object(result, fixed, moving, NOW))
    return pydicom.dcmread(path)


def matrix_item(matrix: np.ndarray) -> Any:
    item = pydicom.Dataset()
    item.FrameOfReferenceTransformationMatrix = [f"{v:.10g}" for v in matrix.ravel()]
    item.FrameOfReferenceTransformationMatrixType = "AFFINE"
    return item


def homogeneous(map_: Affine) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = map_.matrix, map_(np.zeros(3))
    return matrix


@pytest.mark.parametrize("name", GRIDS)
def test_a_field_read_back_maps_every_point_alike(name: str, tmp_path: Path) -> None:
    field = WAVES.field(GRIDS[name])
    written(field, tmp_path / "x.dcm")
    points = inner_points(field.grid, 60)
    back = sitk_points(read_transform(tmp_path / "x.dcm"), points)
    assert np.abs(back - sitk_points(sitk_field(field), points)).max() < 1e-3
    nodes = field.grid.points()[::3, ::4, ::2].reshape(-1, 3)
    inside = nodes + (field.grid.centre - nodes) * 1e-6
    assert np.abs(sitk_points(read_transform(tmp_path / "x.dcm"), inside) - WAVES(inside)).max() < 0.01


@pytest.mark.parametrize("name", ["oblique", "left-handed oblique", "permuted oblique"])
def test_the_grid_means_what_the_standard_says(name: str, tmp_path: Path) -> None:
    """PS3.3 C.20.3.1.1: where node (i, j, k) lies, and that its vector leads to the moving scan."""
    field = WAVES.field(GRIDS[name])
    item = written(field, tmp_path / "x.dcm").DeformableRegistrationSequence[0]
    part = item.DeformableRegistrationGridSequence[0]
    x, y, z = part.GridDimensions
    vectors = np.frombuffer(part.VectorGridData, "<f4").reshape(z, y, x, 3)
    row, column = np.array(part.ImageOrientationPatient, float).reshape(2, 3)
    spacing, start = np.array(part.GridResolution), np.array(part.ImagePositionPatient, float)
    k, j, i = np.indices((z, y, x))[..., None]
    nodes = start + i * spacing[0] * row + j * spacing[1] * column + k * spacing[2] * np.cross(row, column)
    assert np.abs(vectors - WAVES.displacement(nodes)).max() < 1e-4
    assert sorted(part.GridDimensions) == sorted(field.grid.shape)


def test_matrices_before_and_after_the_grid(tmp_path: Path) -> None:
    """Objects of other programs: post(pre(x) + d(x))."""
    field = WAVES.field(GRIDS["oblique"])
    found = written(field, tmp_path / "x.dcm")
    pre, post = TURN, Affine(np.diag([1.1, 0.9, 1.05]), np.array([1.0, 2.0, 3.0]), np.zeros(3))
    item = found.DeformableRegistrationSequence[0]
    item.PreDeformationMatrixRegistrationSequence = [matrix_item(homogeneous(pre))]
    item.PostDeformationMatrixRegistrationSequence = [matrix_item(homogeneous(post))]
    found.save_as(tmp_path / "x.dcm")
    points = inner_points(field.grid, 40)
    d = sitk_points(sitk_field(field), points) - points
    transform = read_transform(tmp_path / "x.dcm")
    assert np.abs(sitk_points(transform, points) - post(pre(points) + d)).max() < 1e-3
    far = field.grid.centre + [[400.0, 0, 0]]
    assert np.abs(sitk_points(transform, far) - post(pre(far))).max() < 1e-3


def test_undefined_vectors_move_nothing(tmp_path: Path) -> None:
    field = WAVES.field(GRIDS["oblique"])
    field.array[3:6] = np.nan
    written(field, tmp_path / "x.dcm")
    node = field.grid.index_to_point([5, 5, 4])
    assert np.allclose(sitk_points(read_transform(tmp_path / "x.dcm"), node), node, atol=1e-4)


@pytest.mark.parametrize("kind", [RIGID, AFFINE])
def test_a_linear_result_is_a_matrix_from_moving_to_fixed(kind: str, tmp_path: Path) -> None:
    map_ = core_affine.Affine(TURN.matrix, TURN(np.zeros(3)))
    found = written(LinearTransform(map_, kind, TURN.centre), tmp_path / "x.dcm")
    assert found.SOPClassUID == SPATIAL
    fixed, moving = found.RegistrationSequence
    assert (fixed.FrameOfReferenceUID, moving.FrameOfReferenceUID) == (found.FrameOfReferenceUID, "1.2.9.1")
    matrix = moving.MatrixRegistrationSequence[0].MatrixSequence[0]
    assert matrix.FrameOfReferenceTransformationMatrixType == kind.upper()
    there = np.append(TURN(np.array([10.0, 20.0, 30.0])), 1.0)
    assert np.allclose(
        np.array(matrix.FrameOfReferenceTransformationMatrix, float).reshape(4, 4) @ there, [10, 20, 30, 1]
    )
    points = inner_points(GRIDS["oblique"], 20) * 4
    assert np.abs(sitk_points(read_transform(tmp_path / "x.dcm"), points) - TURN(points)).max() < 1e-5


def test_two_scans_in_one_frame_of_reference(tmp_path: Path) -> None:
    map_ = core_affine.Affine(TURN.matrix, TURN(np.zeros(3)))
    beside = Series(FIXED.frame, FIXED.study, "1.2.3.99", ((CT, "1.2.3.98"),))
    found = written(LinearTransform(map_, RIGID, TURN.centre), tmp_path / "x.dcm", moving=beside)
    assert np.abs(sitk_points(read_transform(tmp_path / "x.dcm"), np.eye(3)) - TURN(np.eye(3))).max() < 1e-6
    assert len(found.ReferencedSeriesSequence) == 2
    assert "StudiesContainingOtherReferencedInstancesSequence" not in found


def test_the_object_names_patient_study_frames_and_images(tmp_path: Path) -> None:
    found = written(WAVES.field(GRIDS["oblique"]), tmp_path / "x.dcm")
    assert (found.SOPClassUID, found.Modality, found.StudyInstanceUID) == (DEFORMABLE, "REG", "1.2.3.4")
    assert str(found.PatientName) == "Müller^Jörg"
    assert (found.PatientID, found.PatientSex, found.StudyDate) == ("17", "", "20260101")
    assert (found.ContentDate, found.ContentTime) == ("20260304", "150607")
    item = found.DeformableRegistrationSequence[0]
    assert (found.FrameOfReferenceUID, item.SourceFrameOfReferenceUID) == ("1.2.3.1", "1.2.9.1")
    assert [each.ReferencedSOPInstanceUID for each in item.ReferencedImageSequence] == ["1.2.9.6"]
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.5"
    other = found.StudiesContainingOtherReferencedInstancesSequence[0]
    assert (other.StudyInstanceUID, other.ReferencedSeriesSequence[0].SeriesInstanceUID) == ("1.2.9.4", "1.2.9.5")
    assert found.SeriesInstanceUID not in ("1.2.3.5", "1.2.9.5")


def test_scans_that_are_no_dicom_get_frames_of_their_own(tmp_path: Path) -> None:
    path = samples.save(samples.ramp(samples.FIXED), tmp_path / "F.nii.gz")
    fixed, moving = read_series(path), read_series(path)
    assert fixed.frame.startswith("2.25.") and fixed.frame != moving.frame
    found = written(WAVES.field(GRIDS["oblique"]), tmp_path / "x.dcm", fixed, moving)
    assert "ReferencedSeriesSequence" not in found
    assert found.PatientName == ""


def test_other_and_damaged_files_are_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, path = written(WAVES.field(GRIDS["oblique"]), tmp_path / "x.dcm"), tmp_path / "x.dcm"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"x\.dcm: not a whole DICOM registration object .*export it again"):
        read_transform(path)
    found.DeformableRegistrationSequence.append(found.DeformableRegistrationSequence[0])
    found.save_as(path)
    with pytest.raises(InputError, match=r"several registrations"):
        read_transform(path)
    found.SOPClassUID = CT
    found.save_as(path)
    with pytest.raises(InputError, match=r"holds a CT Image Storage, not a registration"):
        read_transform(path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"need pydicom, which is not installed"):
        read_transform(path)


@pytest.mark.skipif(SERIES is None or not SERIES.is_dir(), reason="no folder of DICOM objects (PDDNET_DATA) here")
def test_a_real_series_gives_its_identity(tmp_path: Path) -> None:
    assert SERIES is not None
    series = read_series(SERIES)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in SERIES.iterdir()]
    assert series.frame == headers[0].FrameOfReferenceUID
    told = {(each.file_meta.MediaStorageSOPClassUID, each.file_meta.MediaStorageSOPInstanceUID) for each in headers}
    assert set(series.instances) == told  # the data sets themselves were made anonymous and have none
    assert (series.study, series.series) == ("", "")
    found = written(WAVES.field(GRIDS["oblique"]), tmp_path / "x.dcm", moving=series)
    item = found.DeformableRegistrationSequence[0]
    assert item.SourceFrameOfReferenceUID == series.frame
    assert len(item.ReferencedImageSequence) == len(headers)
    assert "StudiesContainingOtherReferencedInstancesSequence" not in found
