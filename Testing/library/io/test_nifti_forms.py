"""qform and sform of a NIfTI header: which one is used, by how many mm they differ, and shear refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.nifti import write_forms
from helpers.samples import FIXED, MOVING, ramp, save
from pddnet.core.grid import Grid
from pddnet.errors import InputError
from pddnet.io.nifti_forms import read_forms
from pddnet.io.volumes import read_volume

SPACING = tuple(MOVING.spacing.tolist())
MIRROR = np.diag([-1.0, 1, 1])
SAME_MM = 0.01
Form = tuple[int, np.ndarray, np.ndarray]


def _write(path: Path, qform: Form | None, sform: Form | None) -> Path:
    return write_forms(path, ramp(MOVING).array, SPACING, qform=qform, sform=sform)


def _plain(code: int = 1) -> Form:
    return code, MOVING.axes, MOVING.origin


def _shifted(code: int = 1) -> Form:
    return code, MOVING.axes, MOVING.origin + [60.0, 0, 0]


def _mirrored(code: int = 1) -> Form:
    return code, MIRROR @ MOVING.axes, MIRROR @ MOVING.origin


def _tilted(code: int = 1) -> Form:
    steps = MOVING.axes.copy()
    steps[:, 2] += 0.3 * MOVING.direction[:, 1] * MOVING.spacing[2]  # 17 degrees
    return code, steps, MOVING.origin


def _is_at(grid: Grid, form: Form) -> bool:
    _, steps, origin = form
    ends = np.array([[0, 0, 0], [27, 29, 23], [27, 0, 23], [5, 29, 3]])
    return bool(np.abs(grid.index_to_point(ends) - (ends @ steps.T + origin)).max() < SAME_MM)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("image", [ramp(FIXED), ramp(MOVING)])
def test_what_itk_wrote_has_two_forms_that_agree(tmp_path: Path, ending: str, image) -> None:
    path = save(image, tmp_path / f"a{ending}")
    assert [form.name for form in read_forms(path)] == ["sform", "qform"]
    for form in read_forms(path):
        assert np.allclose(form.steps, image.grid.axes, atol=1e-5)
        assert np.allclose(form.origin, image.grid.origin, atol=1e-4)
        assert not form.sheared
    assert read_volume(path)[1] == []


@pytest.mark.parametrize(
    ("qform", "sform", "used", "mm"),
    [
        (_plain(1), _shifted(1), "sform", 60.0),
        (_plain(2), _shifted(1), "sform", 60.0),
        (_plain(1), _shifted(2), "qform", 60.0),  # nibabel would use the sform
        (_plain(1), _shifted(4), "qform", 60.0),
        (_plain(1), _mirrored(1), "sform", None),
        (_mirrored(1), _plain(2), "qform", None),
    ],
)
def test_forms_that_disagree_are_told_in_mm(tmp_path: Path, qform: Form, sform: Form, used: str, mm) -> None:
    path = _write(tmp_path / "a.nii", qform, sform)
    image, warnings = read_volume(path)
    if mm is None:
        ends = np.array([[i, j, k] for i in (0, 27) for j in (0, 29) for k in (0, 23)])
        there = [ends @ form[1].T + form[2] for form in (qform, sform)]
        mm = np.linalg.norm(there[0] - there[1], axis=1).max()
    assert warnings == [
        f"{path}: sform and qform of the header place the volume {mm:.1f} mm apart; the {used} is used, "
        "as ITK and Slicer do"
    ]
    assert _is_at(image.grid, sform if used == "sform" else qform)
    assert np.allclose(sitk.ReadImage(str(path)).GetOrigin(), image.grid.origin)


@pytest.mark.parametrize(
    ("qform", "sform"), [(_plain(), None), (None, _plain()), (None, _plain(2)), (_plain(), _plain(3))]
)
def test_one_form_or_two_alike_are_read_without_a_word(tmp_path: Path, qform, sform) -> None:
    image, warnings = read_volume(_write(tmp_path / "a.nii", qform, sform))
    assert warnings == []
    assert _is_at(image.grid, _plain())


@pytest.mark.parametrize(("qform", "sform"), [(_plain(), _tilted(1)), (_plain(), _tilted(2)), (None, _tilted(1))])
def test_a_gantry_tilt_in_the_sform_is_refused_also_beside_a_stripped_qform(tmp_path: Path, qform, sform) -> None:
    path = _write(tmp_path / "a.nii", qform, sform)
    with pytest.raises(InputError, match=r"sheared|not orthogonal") as error:
        read_volume(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "resample the scan" in str(error.value)


def test_an_affine_map_to_an_atlas_beside_the_scanners_qform_is_only_told(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.nii", _plain(1), _tilted(4))
    image, warnings = read_volume(path)
    assert len(warnings) == 1
    assert "the qform is used" in warnings[0]
    assert _is_at(image.grid, _plain())


def test_an_sform_with_another_spacing_is_told(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.nii", None, (1, 1.5 * MOVING.axes, MOVING.origin))
    image, warnings = read_volume(path)
    assert np.allclose(image.grid.spacing, MOVING.spacing, atol=1e-5)
    far = 0.5 * np.linalg.norm((MOVING.size - 1) * MOVING.spacing)
    assert warnings == [
        f"{path}: the sform of the header does not agree with its voxel spacing (pixdim), by up to {far:.1f} mm; "
        "the spacing of 2.8 x 3.1 x 3.5 mm is used, as ITK and Slicer do"
    ]


def test_an_sform_of_zeros_does_not_count(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.nii", _plain(), _plain())
    raw = bytearray(path.read_bytes())
    raw[280:328] = struct.pack("<12f", *[0] * 12)
    path.write_bytes(raw)
    image, warnings = read_volume(path)
    assert warnings == []
    assert _is_at(image.grid, _plain())


@pytest.mark.parametrize(("units", "mm"), [(1, 1000.0), (3, 0.001), (0, 1.0), (2 + 8, 1.0)])  # 8: seconds
def test_forms_in_another_unit_of_length(tmp_path: Path, units: int, mm: float) -> None:
    form = (1, MOVING.axes / mm, MOVING.origin / mm)
    spacing = tuple(step / mm for step in SPACING)
    path = write_forms(tmp_path / "a.nii", ramp(MOVING).array, spacing, qform=form, sform=form, units=units)
    image, warnings = read_volume(path)
    assert _is_at(image.grid, _plain())
    assert warnings == []
