"""Any header and any transform is read right or refused in one sentence: no traceback, no hang, no silent change.

PDDNET_FUZZ=10000 tries as many examples of each; the default keeps `make test` short.
"""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import MOVING, body, ramp, save
from pddnet.core.grid import Grid
from pddnet.errors import InputError
from pddnet.io.landmarks import read_points
from pddnet.io.transforms import read_transform
from pddnet.io.volumes import read_volume

hypothesis = pytest.importorskip("hypothesis")
given, settings, strategies = hypothesis.given, hypothesis.settings, hypothesis.strategies

pytestmark = pytest.mark.slow
EXAMPLES = int(os.environ.get("PDDNET_FUZZ", "200"))
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
many = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES == 200)
_odd = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-38, 1e38, 1e300, -1e300, math.inf, -math.inf, math.nan, 348.0, 352.0, 1e6, -1e9]
numbers = strategies.sampled_from(_odd) | strategies.floats(width=32) | strategies.floats(-10, 10)
integers = strategies.sampled_from([0, 1, -1, 2, 3, 7, 16, 64, 255, 32767, -32768]) | strategies.integers(-32768, 32767)


@pytest.fixture(scope="module", autouse=True)
def _folder():
    FOLDER.mkdir(exist_ok=True)
    yield
    for path in FOLDER.iterdir():
        path.unlink()
    FOLDER.rmdir()


def _read(read, path: Path):
    """Read, or return None where it is refused with one sentence that names the file."""
    try:
        return read(path)
    except InputError as error:
        text = str(error)
        assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 600
        assert ";" in text or ", so " in text
        return None


def _header(**fields: tuple[int, str]) -> dict[str, tuple[int, str]]:
    return fields


NIFTI = _header(  # byte and format of the fields that are changed
    dim0=(40, "<h"), dim1=(42, "<h"), dim3=(46, "<h"), dim4=(48, "<h"), datatype=(70, "<h"), bits=(72, "<h"),
    qfac=(76, "<f"), pixdim1=(80, "<f"), pixdim2=(84, "<f"), pixdim3=(88, "<f"), offset=(108, "<f"), slope=(112, "<f"),
    intercept=(116, "<f"), unit=(123, "<B"), qform=(252, "<h"), sform=(254, "<h"), b=(256, "<f"), c=(260, "<f"),
    d=(264, "<f"), qx=(268, "<f"), qz=(276, "<f"), s00=(280, "<f"), s01=(284, "<f"), s03=(292, "<f"), s22=(320, "<f"),
)  # fmt: skip
PLACES = ("qfac", "pixdim1", "pixdim2", "pixdim3", "unit", "qform", "sform", "b", "c", "d", "qx", "qz")
PLACES += ("s00", "s01", "s03", "s22")


def _expected(raw: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Place the volume as the NIfTI-1 standard says: axes (3, 3) and origin (3,), RAS mm, by sform and qform."""
    qform, sform = struct.unpack_from("<2h", raw, 252)
    scale = {1: 1000.0, 3: 0.001}.get(raw[123] & 7, 1.0)
    spacing = np.array(struct.unpack_from("<3f", raw, 80), float)
    forms = []
    if sform > 0:
        rows = np.array(struct.unpack_from("<12f", raw, 280), float).reshape(3, 4)
        forms.append((rows[:, :3] * scale, rows[:, 3] * scale))
    if qform > 0:
        b, c, d, *origin = np.array(struct.unpack_from("<6f", raw, 256), float)
        a = math.sqrt(max(1 - b * b - c * c - d * d, 0.0))
        turn = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        turn[:, 2] *= -1 if struct.unpack_from("<f", raw, 76)[0] < 0 else 1
        forms.append((turn * spacing * scale, np.array(origin) * scale))
    return forms


def _alike(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> bool:
    return np.allclose(a[0], b[0], atol=0.01, rtol=1e-3) and np.allclose(a[1], b[1], atol=0.01, rtol=1e-5)


def _has_spacing(form: tuple[np.ndarray, np.ndarray], raw: bytes) -> bool:
    """Whether the header agrees with itself; where it does not, tests of the two forms say what follows."""
    scale = {1: 1000.0, 3: 0.001}.get(raw[123] & 7, 1.0)
    spacing = np.array(struct.unpack_from("<3f", raw, 80)) * scale
    return np.allclose(np.linalg.norm(form[0], axis=0), spacing, rtol=1e-3)


@many
@given(
    strategies.dictionaries(strategies.sampled_from(sorted(NIFTI)), strategies.tuples(numbers, integers), max_size=4)
)
def test_nifti_headers(changes: dict) -> None:
    raw = bytearray(_NIFTI_BYTES)
    for name, (number, integer) in changes.items():
        place, form = NIFTI[name]
        value = integer if form == "<h" else integer % 256 if form == "<B" else number
        try:
            struct.pack_into(form, raw, place, value)
        except OverflowError:
            struct.pack_into(form, raw, place, math.copysign(math.inf, value))
    path = FOLDER / "v.nii"
    path.write_bytes(raw)
    found = _read(read_volume, path)
    if found is None:
        return
    image, warnings = found
    assert np.isfinite(image.array).all() and image.array.min() < image.array.max()
    if set(changes) <= set(PLACES):  # the voxels are the same, so the place must be one that the header names
        assert np.array_equal(image.array, _VOXELS)
        forms = _expected(bytes(raw))
        if not forms:
            assert any("does not say where the volume lies" in text for text in warnings)
        elif all(_alike(form, other) for form in forms for other in forms) and _has_spacing(forms[0], bytes(raw)):
            assert _alike(forms[0], (image.grid.axes * [[-1], [-1], [1]], image.grid.origin * [-1, -1, 1]))


@many
@given(strategies.sampled_from(["nii.gz", "nrrd", "mha", "nii"]), strategies.floats(0, 1), strategies.integers(1, 255))
def test_changed_bytes(ending: str, share: float, change: int) -> None:
    raw = bytearray(_FILES[ending])
    place = int(share * (len(raw) - 1))
    raw[place] ^= change
    path = FOLDER / f"b.{ending}"
    path.write_bytes(raw)
    found = _read(read_volume, path)
    head = {"nii.gz": 30, "nii": 352}.get(ending, _FILES[ending].find(b"\n\n") if ending == "nrrd" else 400)
    if found is not None and place > head and ending != "nii":
        assert np.array_equal(found[0].array, _BODY)


@many
@given(strategies.sampled_from(["nii.gz", "nrrd", "mha", "nii"]), strategies.floats(0, 1))
def test_cut_files(ending: str, share: float) -> None:
    raw = _FILES[ending]
    path = FOLDER / f"c.{ending}"
    path.write_bytes(raw[: int(share * len(raw))])
    assert _read(read_volume, path) is None or int(share * len(raw)) == len(raw)


TRANSFORMS = {
    "TranslationTransform": (3, 0), "AffineTransform": (12, 3), "Euler3DTransform": (6, 3), "VersorTransform": (3, 3),
    "VersorRigid3DTransform": (6, 3), "Similarity3DTransform": (7, 3), "ScaleTransform": (3, 3),
    "QuaternionRigidTransform": (7, 3), "BSplineTransform": (24, 18), "DisplacementFieldTransform": (24, 18),
    "CompositeTransform": (0, 0), "NoTransform": (3, 0),
}  # fmt: skip


@many
@given(strategies.data())
def test_text_transforms(data) -> None:
    kind = data.draw(strategies.sampled_from(sorted(TRANSFORMS)))
    parameters, fixed = TRANSFORMS[kind]
    lists = [data.draw(strategies.lists(numbers, min_size=n, max_size=n + (n > 0))) for n in (parameters, fixed)]
    if fixed == 18 and data.draw(strategies.booleans()):
        lists[1][:3] = [2.0, 2.0, 2.0]
    words = [" ".join(map(repr, values)) for values in lists]
    text = f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}_double_3_3\n"
    text += f"Parameters: {words[0]}\nFixedParameters: {words[1]}" + data.draw(
        strategies.sampled_from(["\n", "", "\n\n"])
    )
    path = FOLDER / "t.tfm"
    path.write_text(text)
    transform = _read(read_transform, path)
    if transform is None:
        return
    moved = np.array([transform.TransformPoint(point) for point in ((0.0, 0.0, 0.0), (10.0, -20.0, 30.0))])
    assert np.isfinite(moved).all() and np.abs(moved).max() <= 1.1e6
    if kind == "TranslationTransform":
        assert np.allclose(moved[0], lists[0][:3], atol=0.01)
    if kind == "AffineTransform":
        matrix, shift, centre = np.reshape(lists[0][:9], (3, 3)), np.array(lists[0][9:12]), np.array(lists[1][:3])
        assert np.allclose(moved[0], centre + shift - matrix @ centre, atol=0.01, rtol=1e-6)


@many
@given(
    strategies.sampled_from(["mat", "h5", "tfm", "field.h5"]),
    strategies.lists(strategies.tuples(strategies.floats(0, 1), strategies.integers(1, 255)), min_size=1, max_size=2),
)
def test_changed_bytes_of_transforms(ending: str, changes: list[tuple[float, int]]) -> None:
    raw = bytearray(_TRANSFORM_FILES[ending])
    for share, change in changes:
        raw[int(share * (len(raw) - 1))] ^= change
    path = FOLDER / f"t.{ending}"
    path.write_bytes(raw)
    transform = _read(read_transform, path)
    if transform is not None:
        moved = np.array([transform.TransformPoint(point) for point in ((0.0, 0.0, 0.0), (10.0, -20.0, 30.0))])
        assert np.isfinite(moved).all()
        assert np.abs(moved).max() <= 1.1e6


@many
@given(
    strategies.sampled_from(["csv", "fcsv", "mrk.json"]),
    strategies.text(max_size=200) | strategies.binary(max_size=200),
)
def test_points(ending: str, content: str | bytes) -> None:
    path = FOLDER / f"p.{ending}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    found = _read(read_points, path)
    assert found is None or all(np.isfinite(point).all() for point in found.values())


json_values = strategies.recursive(
    strategies.none() | strategies.booleans() | numbers | strategies.text(max_size=5),
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.dictionaries(
            strategies.sampled_from(["markups", "controlPoints", "label", "position", "coordinateSystem"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@many
@given(json_values)
def test_markups(content) -> None:
    path = FOLDER / "m.mrk.json"
    path.write_text(json.dumps({"markups": [content]} if isinstance(content, dict) else content))
    found = _read(read_points, path)
    assert found is None or all(np.isfinite(point).all() for point in found.values())


def _bytes(ending: str, image) -> bytes:
    path = FOLDER / f"good.{ending}"
    FOLDER.mkdir(exist_ok=True)
    content = save(image, path).read_bytes()
    path.unlink()
    return content


def _transform_bytes(ending: str) -> bytes:
    transform = sitk.Euler3DTransform((1.0, 2, 3), 0.1, 0.2, 0.3, (4.0, 5, 6))
    if ending == "field.h5":
        transform = sitk.DisplacementFieldTransform(sitk.Image((3, 4, 5), sitk.sitkVectorFloat64))
    path = FOLDER / f"good.{ending}"
    sitk.WriteTransform(transform, str(path))
    content = path.read_bytes()
    path.unlink()
    return content


_UPRIGHT = Grid((18, 20, 22), (3.0, 2.5, 4.0), (-40, 20, -300), MOVING.direction)
_NIFTI_BYTES, _VOXELS = _bytes("nii", ramp(_UPRIGHT)), ramp(_UPRIGHT).array
_BODY = body(_UPRIGHT).array
_FILES = {ending: _bytes(ending, body(_UPRIGHT)) for ending in ("nii.gz", "nrrd", "mha", "nii")}
_TRANSFORM_FILES = {ending: _transform_bytes(ending) for ending in ("mat", "h5", "tfm", "field.h5")}
