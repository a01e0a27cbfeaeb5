"""Image files that used to be believed: numbers that are none, broken bits, other names and units, too much memory."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, MOVING, body, ramp, save
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.io import memory, nifti_headers
from pddnet.io.transforms import read_transform
from pddnet.io.volumes import read_labels, read_volume


def _refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ")


NUMBERS = {  # of a NIfTI-1 header: byte, format, value, what is said
    "slope": (112, "<f", np.nan, "the values are scaled (scl_slope, scl_inter) by nan, 0"),
    "intercept": (116, "<f", np.inf, "the values are scaled (scl_slope, scl_inter) by 1, inf"),
    "first voxel NaN": (108, "<f", np.nan, "the first voxel stands at byte nan"),
    "first voxel < 0": (108, "<f", -352.0, "the first voxel stands at byte -352"),
    "quaternion NaN": (256, "<f", np.nan, "is no rotation"),
    "quaternion": (260, "<f", 7.0, "is no rotation"),
    "offset NaN": (268, "<f", np.nan, "the qform places the volume at nan, "),
    "offset": (272, "<f", 1e30, "the qform places the volume at "),
    "sform NaN": (280, "<f", np.nan, "the sform has numbers that are not finite"),
    "sform offset": (292, "<f", 1e30, "the sform places the volume at 1e+30, "),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_of_a_header_that_say_nothing(tmp_path: Path, case: str, packed: bool) -> None:
    place, form, value, said = NUMBERS[case]
    raw = bytearray(save(ramp(MOVING), tmp_path / "good.nii").read_bytes())
    struct.pack_into(form, raw, place, value)
    path = tmp_path / ("v.nii.gz" if packed else "v.nii")
    path.write_bytes(gzip.compress(bytes(raw)) if packed else raw)
    text = _refusal(path)
    assert text.startswith("in the header, ") and said in text
    assert text.endswith("; correct it, or convert the scan again")


@pytest.mark.parametrize("value", [1e300, 1e-30])
def test_a_spacing_or_origin_that_no_scan_has(tmp_path: Path, value: float) -> None:
    path = save(ramp(Grid(MOVING.shape, (1, 2, 3), (4, 5, 6), np.eye(3))), tmp_path / "v.mha")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"ElementSpacing = 1 2 3", b"ElementSpacing = 1 2 %g" % value))
    assert "is none of a scan; correct the header" in _refusal(path)
    if value > 1:
        path.write_bytes(raw.replace(b"Offset = 4 5 6", b"Offset = 4 5 %g" % value))
        assert "is none of a scan; correct the header" in _refusal(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_broken_bits_are_noticed(tmp_path: Path, ending: str) -> None:
    """The checksum in the file covers every bit of the compressed voxels; a few bits mean nothing."""
    path = save(body(MOVING), tmp_path / f"v{ending}")
    good, raw = read_volume(path)[0], path.read_bytes()
    places = range(60 if ending == ".nii.gz" else len(raw) - 2000, len(raw) - 8, 67)
    refused = 0
    for place in places:
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 16]) + raw[place + 1 :])
        try:
            found = read_volume(path)[0]
        except InputError:
            refused += 1
        else:
            assert np.array_equal(found.array, good.array)
    assert refused > 0.8 * len(places)


def test_a_wrong_checksum_alone_is_noticed(tmp_path: Path) -> None:
    path = save(body(MOVING), tmp_path / "v.nii.gz")
    raw = path.read_bytes()
    path.write_bytes(raw[:-8] + bytes([raw[-8] ^ 1]) + raw[-7:])
    assert _refusal(path).startswith("the file is damaged")


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_values_that_differ_from_the_stored_bytes_are_no_damage(tmp_path: Path, big_endian: bool, slope: float) -> None:
    """Scaled values, another byte order, several gzip members and zeros at the end."""
    image = body(MOVING)
    little = bytearray(save(image, tmp_path / "good.nii").read_bytes())
    struct.pack_into("<f", little, 112, slope)
    raw = _swapped(little) if big_endian else bytes(little)
    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(raw[:9000]) + gzip.compress(raw[9000:]) + bytes(512))
    found = read_volume(path)[0]
    assert np.allclose(found.array, slope * image.array, atol=1e-6)
    assert np.allclose(found.grid.origin, MOVING.origin, atol=0.01)


def _swapped(little: bytearray) -> bytes:
    """Turn the byte order of a NIfTI-1 file of 16-bit integers."""
    raw = bytearray(little)
    for place, width in ((0, 4), (40, 2), (70, 2), (72, 2), (76, 4), (108, 4), (112, 4), (116, 4), (252, 2), (256, 4)):
        count = {40: 8, 76: 8, 252: 2, 256: 18}.get(place, 1)
        part = np.frombuffer(bytes(raw[place : place + width * count]), f"<u{width}")
        raw[place : place + width * count] = part.astype(f">u{width}").tobytes()
    raw[352:] = np.frombuffer(bytes(raw[352:]), "<i2").astype(">i2").tobytes()
    return bytes(raw)


def test_a_volume_larger_than_the_memory_is_refused_by_its_header(tmp_path: Path, monkeypatch) -> None:
    path = save(body(MOVING), tmp_path / "v.nrrd")
    monkeypatch.setattr(memory, "free_bytes", lambda: 80_000.0)
    monkeypatch.setattr(sitk, "ReadImage", lambda *_: pytest.fail("the voxels were read"))
    said = "the volume needs 8.06e-05 GB of memory, and 8e-05 GB are free; crop or coarsen it"
    assert _refusal(path) == said
    raw = save(body(MOVING), tmp_path / "v.nii").read_bytes()
    (tmp_path / "w.nii.gz").write_bytes(gzip.compress(raw[:9000]) + gzip.compress(raw[9000:]))
    monkeypatch.setattr(nifti_headers, "_holds", lambda *_: pytest.fail("the file was unpacked"))
    assert _refusal(tmp_path / "w.nii.gz") == said


def test_the_free_memory_is_known() -> None:
    assert memory.free_bytes() > 1e7


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii (1).gz", "ct.gz"])
def test_a_gzipped_file_under_another_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(save(body(MOVING), tmp_path / "good.nii.gz").read_bytes())
    assert _refusal(path) == ("this is a gzipped NIfTI file under another name; rename it so that it ends in .nii.gz")


def test_a_zip_archive(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    path.write_bytes(b"PK\x03\x04" + bytes(2000))
    assert _refusal(path) == "this is a ZIP archive; unpack it first"


def test_nifti_2_is_named(tmp_path: Path) -> None:
    header = bytearray(544)
    struct.pack_into("<i8s2h8q", header, 0, 540, b"n+2\0\r\n\x1a\n", 4, 16, 3, 20, 20, 20, 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, 1, 3, 3, 3, 1, 1, 1, 1)
    struct.pack_into("<q2d", header, 168, 544, 1, 0)
    path = tmp_path / "v.nii"
    path.write_bytes(header + np.arange(8000, dtype="<i2").tobytes())
    assert _refusal(path) == "this is a NIfTI-2 file, which ITK cannot read; convert it to NIfTI-1"


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz"])
def test_a_fourth_axis_of_one_frame(tmp_path: Path, ending: str) -> None:
    image = body(Grid((18, 22, 26), (2.0, 2.5, 3.0), (4, 5, 6), np.eye(3)))
    stacked = sitk.GetImageFromArray(image.array[None], isVector=False)
    stacked.SetSpacing((2.0, 2.5, 3.0, 1.0))
    stacked.SetOrigin((4.0, 5.0, 6.0, 0.0))
    sitk.WriteImage(stacked, str(tmp_path / f"v{ending}"))
    found = read_volume(tmp_path / f"v{ending}")[0]
    assert np.array_equal(found.array, image.array)
    assert np.allclose(found.grid.index_to_point([1, 2, 3]), [6, 10, 15], atol=0.01)


def test_units_that_are_not_millimetres(tmp_path: Path) -> None:
    grid = Grid(MOVING.shape, (0.28, 0.31, 0.35), (0, 0, 0), np.eye(3))  # cm
    path = save(body(grid), tmp_path / "v.nrrd")
    assert _refusal(path).endswith("along every axis, so correct the header if it is in cm")
    text, _, rest = path.read_bytes().partition(b"\nkinds:")
    path.write_bytes(text + b'\nspace units: "cm" "cm" "cm"\nkinds:' + rest)
    assert _refusal(path) == "the lengths in the header are in cm; write them in mm"
    trunk = save(body(Grid((40, 60, 80), (0.45, 0.5, 0.75), (0, 0, 0), FIXED.direction)), tmp_path / "trunk.mha")
    assert read_volume(trunk)[1] == [
        f"{trunk}: the volume is only 36 x 30 x 30 mm large, so correct the header if it is in cm"
    ]
    fine = save(body(Grid((60, 50, 170), (0.1, 0.4, 0.4), (0, 0, 0), np.eye(3))), tmp_path / "fine.mha")
    assert read_volume(fine)[1] == [
        f"{fine}: voxels of 0.1 x 0.4 x 0.4 mm are finer than a CT scanner's; if the header is in cm or m, correct it"
    ]


def test_a_nifti_header_in_metres(tmp_path: Path) -> None:
    path = save(body(MOVING), tmp_path / "v.nii")
    raw = bytearray(path.read_bytes())
    raw[123] = 1  # NIfTI's code of metres
    path.write_bytes(raw)
    assert _refusal(path) == "the volume is 78.4 x 93 x 84 m large; correct the spacing or its unit in the header"


def test_a_volume_half_of_which_is_missing_says_so(tmp_path: Path) -> None:
    array = body(MOVING).array.astype(np.float32)
    array[::2] = np.nan
    path = save(Image(array, MOVING), tmp_path / "v.nii.gz")
    warnings = read_volume(path)[1]
    assert warnings == [
        f"{path}: 10080 NaN or infinite voxels (50 %) were replaced by -1024; what lies there is not registered, so "
        "export the volume again if it was more than background"
    ]
    array[:23] = np.nan
    save(Image(array, MOVING), path)
    assert _refusal(path) == "96 % of the voxels are NaN or infinite; export the volume again"


def test_a_damaged_label_map_and_field_are_noticed_too(tmp_path: Path) -> None:
    labels = save(Image((body(MOVING).array > -500).astype(np.uint8), MOVING), tmp_path / "l.mha")
    vectors = np.random.default_rng(0).normal(0, 3, (9, 10, 11, 3)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(tmp_path / "u.nrrd"), True)
    for path, read in ((labels, read_labels), (tmp_path / "u.nrrd", read_transform)):
        raw = path.read_bytes()
        place = len(raw) - 30
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with pytest.raises(InputError, match=r"damaged|cannot be read"):
            read(path)


def test_what_spm_writes_into_an_analyze_header_is_no_place(tmp_path: Path) -> None:
    """Its originator, five shorts at byte 253, lies where NIfTI has the codes of its forms."""
    path = save(ramp(FIXED), tmp_path / "v.hdr")
    raw = bytearray(path.read_bytes())
    raw[252:348] = bytes(96)
    struct.pack_into("<5h", raw, 253, 13, 11, 9, 0, 0)
    path.write_bytes(raw)
    assert "the header does not say where the volume lies (no qform, no sform)" in "".join(read_volume(path)[1])
