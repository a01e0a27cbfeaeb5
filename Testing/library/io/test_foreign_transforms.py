"""Transform files of other programs: several transforms, NaN, NiftyReg's and FSL's fields, positions."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import SHEARED, inner_points
from helpers.samples import MOVING, fake_register, write_pair
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.field import DisplacementField
from pddnet.errors import InputError
from pddnet.io.transforms import load_transform, read_transform

RAS = np.array([-1.0, -1.0, 1.0])
SAME_MM = 0.01
GRID = MOVING  # oblique, anisotropic, left-handed
FIELD = SHEARED.field(GRID)


def _moved(transform: sitk.Transform) -> np.ndarray:
    return np.array([transform.TransformPoint(point) for point in inner_points(GRID).tolist()])


def _two(path: Path, *, composed: bool) -> Path:
    parts = [sitk.TranslationTransform(3, (5.0, 0, 0)), sitk.TranslationTransform(3, (0, 7.0, 0))]
    if composed:
        sitk.WriteTransform(sitk.CompositeTransform(parts), str(path))
        return path
    lines = ["#Insight Transform File V1.0"]
    for n, part in enumerate(parts):
        numbers = " ".join(f"{value:g}" for value in part.GetParameters())
        lines += [f"#Transform {n}", "Transform: TranslationTransform_double_3_3", f"Parameters: {numbers}"]
        lines += ["FixedParameters: "]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_two_transforms_that_are_not_composed_are_refused(tmp_path: Path) -> None:
    path = _two(tmp_path / "two.tfm", composed=False)
    with pytest.raises(InputError, match=r"two\.tfm: the file holds several transforms that are not composed, and ITK"):
        load_transform(path)
    transform, warnings = load_transform(_two(tmp_path / "composed.tfm", composed=True))
    assert transform.TransformPoint((1.0, 2.0, 3.0)) == pytest.approx((6.0, 9.0, 3.0))
    assert warnings == []


@pytest.mark.parametrize("name", ["n.nii.gz", "n.nii", "n.nrrd", "n.mha", "n.h5"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_displacements_that_are_no_numbers_are_refused(tmp_path: Path, name: str, value: float) -> None:
    array = FIELD.array.copy()
    array[3, 4, 5, :2] = value
    DisplacementField(array, GRID).write(tmp_path / name)
    with pytest.raises(InputError, match=r"/n\.\w+(\.gz)?: 2 numbers of the transform are NaN or infinite; export"):
        read_transform(tmp_path / name)


def test_a_composite_with_one_bad_part_is_refused(tmp_path: Path) -> None:
    array = FIELD.array.copy()
    array[0, 0, 0, 0] = np.nan
    parts = [sitk.TranslationTransform(3, (1.0, 2, 3)), DisplacementField(array, GRID).to_sitk()]
    sitk.WriteTransform(sitk.CompositeTransform(parts), str(tmp_path / "c.h5"))
    with pytest.raises(InputError, match=r"c\.h5: 1 numbers of the transform are NaN"):
        load_transform(tmp_path / "c.h5")


def _field_file(path: Path, array: np.ndarray, *, intent: int = 1007, name: bytes = b"", parameter: float = 0) -> Path:
    """A NIfTI image of vectors as another program writes it: SimpleITK's, with another intent."""
    DisplacementField(array.astype(np.float32), GRID).write(path)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<h", raw, 68, intent)
    struct.pack_into("<f", raw, 56, parameter)
    struct.pack_into("<16s", raw, 328, name)
    path.write_bytes(gzip.compress(bytes(raw)))
    return path


@pytest.mark.parametrize(
    ("kind", "array", "word"),
    [
        (0, (GRID.points() + FIELD.array) * RAS, "a deformation field of NiftyReg"),
        (1, FIELD.array * RAS, "a displacement field of NiftyReg"),
    ],
)
def test_fields_of_niftyreg_are_converted_and_announced(
    tmp_path: Path, kind: int, array: np.ndarray, word: str
) -> None:
    path = _field_file(tmp_path / "f.nii.gz", array, name=b"NREG_TRANS", parameter=kind)
    transform, warnings = load_transform(path)
    assert np.abs(_moved(transform) - SHEARED(inner_points(GRID))).max() < SAME_MM
    assert warnings == [f"{path}: {word} (RAS mm); it was converted to displacements in LPS mm"]


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6])
def test_splines_and_velocities_of_niftyreg_are_refused(tmp_path: Path, kind: int) -> None:
    path = _field_file(tmp_path / "f.nii.gz", FIELD.array, name=b"NREG_TRANS", parameter=kind)
    with pytest.raises(InputError, match="a grid of splines or velocities of NiftyReg; convert it with reg_transform"):
        load_transform(path)


@pytest.mark.parametrize("intent", [2006, 2007, 2009])
def test_warps_of_fsl_are_refused(tmp_path: Path, intent: int) -> None:
    with pytest.raises(InputError, match="a warp of FSL"):
        load_transform(_field_file(tmp_path / "f.nii.gz", FIELD.array, intent=intent))


@pytest.mark.parametrize("sign", [RAS, np.ones(3)])
@pytest.mark.parametrize("name", ["p.nii.gz", "p.nrrd"])
def test_positions_without_a_name_are_no_displacements(tmp_path: Path, sign: np.ndarray, name: str) -> None:
    array = ((GRID.points() + FIELD.array) * sign).astype(np.float32)
    DisplacementField(array, GRID).write(tmp_path / name)
    with pytest.raises(InputError, match="holds positions, not displacements"):
        load_transform(tmp_path / name)


@pytest.mark.parametrize("turn", [np.roll(np.eye(3), 1, axis=0), np.diag([-1.0, -1, 1]), 1.6 * np.eye(3)])
def test_large_turns_and_scales_are_no_positions(tmp_path: Path, turn: np.ndarray) -> None:
    moved = (GRID.points() - GRID.centre) @ turn.T + GRID.centre
    DisplacementField((moved - GRID.points()).astype(np.float32), GRID).write(tmp_path / "d.nrrd")
    transform, warnings = load_transform(tmp_path / "d.nrrd")
    assert warnings == []
    expected = (inner_points(GRID) - GRID.centre) @ turn.T + GRID.centre
    assert np.abs(_moved(transform) - expected).max() < SAME_MM


@pytest.mark.parametrize("name", ["d.nii.gz", "d.nrrd", "d.mha", "d.h5", "d.tfm"])
def test_displacements_of_itk_are_read_without_a_word(tmp_path: Path, name: str) -> None:
    FIELD.write(tmp_path / name)
    transform, warnings = load_transform(tmp_path / name)
    assert warnings == []
    assert np.abs(_moved(transform) - SHEARED(inner_points(GRID))).max() < SAME_MM


def test_the_commands_tell_what_was_converted(tmp_path: Path, monkeypatch, capsys) -> None:
    pair = write_pair(tmp_path)
    path = _field_file(tmp_path / "f.nii.gz", FIELD.array * RAS, name=b"NREG_TRANS", parameter=1)
    labels = ["--fixed-labels", pair["A"], "--moving-labels", pair["B"]]
    assert main(["evaluate", "--transform", str(path), *labels]) == 0
    assert f"warning   {path}: a displacement field of NiftyReg" in capsys.readouterr().out
    monkeypatch.setattr(pipeline, "register", fake_register())
    scans = ["--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(tmp_path / "T.h5")]
    assert main(["register", *scans, "--initial-transform", str(path)]) == 0
    assert f"warning   {path}: a displacement field of NiftyReg" in capsys.readouterr().out
