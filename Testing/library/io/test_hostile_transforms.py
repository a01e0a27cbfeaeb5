"""Transform files that flatten space, lead nowhere, hold nothing, or ask for room that no machine has."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from pddnet.errors import InputError
from pddnet.io.transform_parts import hdf5_parts
from pddnet.io.transforms import read_transform

IDENTITY = "1 0 0 0 1 0 0 0 1"
GRID = f"0 0 0 1 1 1 {IDENTITY}"


def _text(kind: str, parameters: str, fixed: str) -> str:
    head = "#Insight Transform File V1.0\n#Transform 0\n"
    return f"{head}Transform: {kind}_double_3_3\nParameters: {parameters}\nFixedParameters: {fixed}\n"


BAD = {
    "singular": (_text("AffineTransform", "1 0 0 0 1 0 0 0 0 1 2 3", "0 0 0"), "the transform is singular"),
    "far": (_text("TranslationTransform", "1e300 0 0", ""), "moves points by more than 1 km"),
    "huge": (_text("AffineTransform", "1e300 0 0 0 1 0 0 0 1 1 2 3", "0 0 0"), "moves points by more than 1 km"),
    "versor": (
        _text("VersorRigid3DTransform", "5 6 7 1 2 3", "0 0 0"),
        "the rotation of VersorRigid3DTransform is none",
    ),
    "similarity": (_text("Similarity3DTransform", "5 6 7 1 2 3 1", "0 0 0"), "the rotation of Similarity3DTransform"),
    "quaternion": (_text("QuaternionRigidTransform", "5 6 7 8 1 2 3", "0 0 0"), "the rotation of QuaternionRigid"),
    "no quaternion": (_text("QuaternionRigidTransform", "0 0 0 0 1 2 3", "0 0 0"), "the rotation of QuaternionRigid"),
    "composite": ("#Insight Transform File V1.0\nTransform: CompositeTransform_double_3_3\n", "transform is empty"),
    "huge grid": (_text("BSplineTransform", "0 0 0", f"100000 100000 100000 {GRID}"), "do not agree"),
    "negative grid": (_text("BSplineTransform", "0 0 0", f"-5 10 10 {GRID}"), "do not agree"),
    "infinite grid": (_text("BSplineTransform", "0 0 0", f"inf 1 1 {GRID}"), "are not all finite numbers"),
    "no numbers": (_text("BSplineTransform", "0 0 0", "a b c"), "are not all finite numbers"),
    "infinite": (_text("ScaleTransform", "-inf 348.0 -6.5e16", "0 2 -9"), "are not all finite numbers"),
    "too few": (_text("VersorRigid3DTransform", "0 0", "0 0 0"), "VersorRigid3DTransform has 6 parameters and 3 fixed"),
    "too many": (_text("TranslationTransform", "1 2 3 4", ""), "the file gives 4 and 0; write it again"),
    "cut": (_text("Euler3DTransform", "0.1 0.2 0.3 1 2 3", "4 5 6")[:-3], "the file is truncated"),
}


@pytest.mark.parametrize("case", BAD)
def test_text_transforms_that_are_refused(tmp_path: Path, case: str) -> None:
    text, said = BAD[case]
    path = tmp_path / "t.tfm"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_transform(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)
    assert "; " in str(caught.value)


@pytest.mark.parametrize("name", ["t.h5", "t.mat", "t.tfm"])
def test_a_singular_transform_in_every_format(tmp_path: Path, name: str) -> None:
    flat = sitk.AffineTransform(3)
    flat.SetMatrix([1, 0, 0, 0, 1, 0, 0, 0, 1e-9])
    sitk.WriteTransform(flat, str(tmp_path / name))
    with pytest.raises(InputError, match="singular"):
        read_transform(tmp_path / name)


def test_a_composite_is_checked_part_by_part(tmp_path: Path) -> None:
    flat = sitk.AffineTransform(3)
    flat.SetMatrix([1, 0, 0, 0, 0, 0, 0, 0, 1])
    path = tmp_path / "t.h5"
    sitk.WriteTransform(sitk.CompositeTransform([sitk.TranslationTransform(3, (1.0, 2, 3)), flat]), str(path))
    with pytest.raises(InputError, match="singular"):
        read_transform(path)
    sitk.WriteTransform(sitk.CompositeTransform(3), str(path))
    with pytest.raises(InputError, match="composite transform is empty"):
        read_transform(path)


def _matlab(kind: str, parameters: list[float], fixed: list[float], order: str = "<") -> bytes:
    """Two vectors in Matlab's version 4, as ITK writes them."""
    raw = b""
    for name, values in ((f"{kind}_double_3_3", parameters), ("fixed", fixed)):
        head = struct.pack(f"{order}5i", 1000 if order == ">" else 0, len(values), 1, 0, len(name) + 1)
        raw += head + name.encode() + b"\0" + struct.pack(f"{order}{len(values)}d", *values)
    return raw


@pytest.mark.parametrize(
    ("kind", "parameters", "fixed", "said"),
    [
        ("AffineTransform", [1.0, 0, 0], [0.0] * 3, "AffineTransform has 12 parameters and 3 fixed ones, and the file"),
        ("Euler3DTransform", [0.1] * 6, [], "the file gives 6 and 0; write it again"),
        ("TranslationTransform", [1.0] * 4, [], "the file gives 4 and 0; write it again"),
        ("VersorRigid3DTransform", [5.0, 6, 7, 1, 2, 3], [0.0] * 3, "the rotation of VersorRigid3DTransform is none"),
        ("BSplineTransform", [0.0] * 3, [1e5, 1e5, 1e5, *[1.0] * 15], "do not agree"),
    ],
)
def test_matlab_files_with_other_numbers_are_refused(tmp_path, kind, parameters, fixed, said) -> None:
    path = tmp_path / "t.mat"
    path.write_bytes(_matlab(kind, parameters, fixed))
    with pytest.raises(InputError) as caught:
        read_transform(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)


@pytest.mark.parametrize(
    "raw", [b"MATLAB 5.0 MAT-file, by another program", _matlab("AffineTransform", [1.0], [])[:40]]
)
def test_other_files_of_matlab_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "t.mat").write_bytes(raw)
    with pytest.raises(InputError, match=r"no transform in Matlab's version 4; write it again as .tfm or .h5"):
        read_transform(tmp_path / "t.mat")


@pytest.mark.parametrize("order", ["<", ">"])
def test_matlab_files_of_either_byte_order_are_read(tmp_path: Path, order: str) -> None:
    matrix, centre, shift = np.array([[0.9, 0.1, 0], [-0.2, 1.1, 0.3], [0, 0, 1.2]]), [10.0, -20, 30], [1.0, 2, -3]
    (tmp_path / "t.mat").write_bytes(_matlab("AffineTransform", [*matrix.ravel(), *shift], centre, order))
    found = read_transform(tmp_path / "t.mat").TransformPoint((40.0, 50, -60))
    assert np.allclose(found, matrix @ (np.array([40, 50, -60]) - centre) + centre + shift, atol=0.01)


@pytest.mark.parametrize(("written", "renamed", "counts"), [("Versor", "Scale", "9"), ("Scale", "Versor", "6")])
def test_hdf5_files_with_other_numbers_are_refused(tmp_path: Path, written: str, renamed: str, counts: str) -> None:
    """Two kinds whose names are of one length; the name alone is changed, also within a composite."""
    kinds = {"Versor": sitk.VersorRigid3DTransform(), "Scale": sitk.ScaleVersor3DTransform()}
    names = {"Versor": b"VersorRigid3D", "Scale": b"ScaleVersor3D"}
    parts = [sitk.TranslationTransform(3, (1.0, 2, 3)), kinds[written]]
    for transform in (kinds[written], sitk.CompositeTransform(parts)):
        path = tmp_path / "t.h5"
        sitk.WriteTransform(transform, str(path))
        assert read_transform(path).TransformPoint((1.0, 2, 3)) == transform.TransformPoint((1.0, 2, 3))
        path.write_bytes(path.read_bytes().replace(names[written], names[renamed]))
        with pytest.raises(InputError, match=f"has {counts} parameters and 3 fixed ones"):
            read_transform(path)


def test_the_parts_of_hdf5_files_that_itk_writes(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    euler = sitk.Euler3DTransform((1.0, 2, 3), 0.1, 0.2, 0.3, (4.0, 5, 6))
    field = sitk.DisplacementFieldTransform(sitk.Image((5, 6, 7), sitk.sitkVectorFloat64))
    parts = [euler, field, *[sitk.AffineTransform(3)] * 2]
    sitk.WriteTransform(sitk.CompositeTransform(parts), str(path))
    whole, *found = hdf5_parts(path)
    assert (whole.kind, whole.count) == ("CompositeTransform", 0)
    assert [each.count for each in found] == [6, 3 * 5 * 6 * 7, 12, 12]
    assert [each.kind for each in found] == [each.GetName() for each in parts]
    assert found[0].parameters == pytest.approx((0.1, 0.2, 0.3, 4, 5, 6))
    assert found[0].fixed == pytest.approx(euler.GetFixedParameters())
    assert found[1].fixed == pytest.approx(field.GetFixedParameters())


@pytest.mark.parametrize("ending", ["", "\n", "\n\n"])
def test_the_last_line_needs_no_end(tmp_path: Path, ending: str) -> None:
    text = _text("Euler3DTransform", "0.1 -0.2 0.3 10 20 -30", "40 -50 60").rstrip("\n") + ending
    (tmp_path / "t.tfm").write_text(text)
    euler = sitk.Euler3DTransform((40.0, -50, 60), 0.1, -0.2, 0.3, (10.0, 20, -30))
    for point in ((0.0, 0, 0), (100.0, -50, 25)):
        assert np.allclose(
            read_transform(tmp_path / "t.tfm").TransformPoint(point), euler.TransformPoint(point), atol=0.01
        )


def test_a_grid_of_splines_is_read(tmp_path: Path) -> None:
    spline = sitk.BSplineTransformInitializer(sitk.Image(40, 50, 60, sitk.sitkUInt8), [3, 4, 5])
    spline.SetParameters(np.random.default_rng(0).uniform(-5, 5, len(spline.GetParameters())).tolist())
    sitk.WriteTransform(spline, str(tmp_path / "t.tfm"))
    point = (11.0, 22.0, 33.0)
    found = read_transform(tmp_path / "t.tfm").TransformPoint(point)
    assert np.allclose(found, spline.TransformPoint(point), atol=0.01)
