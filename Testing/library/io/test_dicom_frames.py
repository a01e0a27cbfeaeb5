"""Enhanced multi-frame CT, MONOCHROME1 and slight tilts: values at their places in LPS, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.dicom import write_enhanced, write_slices
from helpers.samples import body, direction
from pddnet.core.grid import Grid
from pddnet.core.intensity import to_hu
from pddnet.errors import InputError
from pddnet.io.dicom_frames import read_frames
from pddnet.io.volumes import read_volume

GRID = Grid((12, 14, 16), (3.0, 2.5, 4.0), (-30, 12, -250), direction(4))
PLANE = GRID.direction[:, :2].T
SPACING = (3.0, 2.5)
PLACES = np.array([GRID.index_to_point([0, 0, k]) for k in range(12)])
HU = body(GRID).array
STORED = (HU + 1024).astype(np.uint16)
SAME_MM = 0.01


def _is_right(image) -> bool:
    """Every voxel holds the value of its place, to 0.01 mm, however the axes run."""
    index = np.array([[0, 0, 0], [15, 13, 11], [3, 7, 5], [14, 2, 9]])
    at = GRID.point_to_index(image.grid.index_to_point(index))
    near = np.rint(at).astype(int)
    distance = np.linalg.norm((at - near) * GRID.spacing, axis=1).max()
    values = [image.array[tuple(i[::-1])] for i in index]
    return bool(distance < SAME_MM and values == [HU[tuple(i[::-1])] for i in near])


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("in_folder", [False, True])
def test_a_good_multi_frame_file_is_read_alone_and_from_its_folder(tmp_path, in_folder, implicit) -> None:
    path = write_enhanced(tmp_path / "e.dcm", STORED, PLACES, PLANE, SPACING, implicit=implicit)
    image, warnings = read_volume(tmp_path if in_folder else path)
    assert warnings == []
    assert _is_right(image)
    assert np.allclose(image.grid.spacing, GRID.spacing, atol=1e-4)
    frames = read_frames(path)
    assert frames is not None
    assert np.allclose(frames.positions, PLACES, atol=1e-6)
    assert np.allclose(frames.spacing, SPACING)
    assert frames.rescale == (1.0, -1024.0)


def test_a_multi_frame_file_beside_a_scout_is_the_volume(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "e.dcm", STORED, PLACES, PLANE, SPACING)
    write_slices(tmp_path / "scout", STORED[:1], PLACES[:1], PLANE, SPACING)
    scout = (tmp_path / "scout" / "000.dcm").read_bytes().replace(b"1.2.3.9\0", b"1.2.3.8\0")
    (tmp_path / "scout.dcm").write_bytes(scout)
    image, _ = read_volume(tmp_path)
    assert _is_right(image)


@pytest.mark.parametrize("order", [np.random.default_rng(0).permutation(12), np.roll(np.arange(12), 3)])
def test_shuffled_frames_are_sorted_with_a_warning(tmp_path: Path, order: np.ndarray) -> None:
    path = write_enhanced(tmp_path / "e.dcm", STORED[order], PLACES[order], PLANE, SPACING)
    image, warnings = read_volume(path)
    assert _is_right(image)
    assert warnings == [f"{path}: the DICOM frames are not in the order of their positions; they were sorted"]


def test_frames_from_head_to_foot_need_no_word(tmp_path: Path) -> None:
    image, warnings = read_volume(write_enhanced(tmp_path / "e.dcm", STORED[::-1], PLACES[::-1], PLANE, SPACING))
    assert _is_right(image)
    assert warnings == []


@pytest.mark.parametrize(
    ("kept", "what"),
    [
        (np.delete(np.arange(12), 5), r"DICOM frames are missing or unevenly spaced \(off by \d\.\d mm\)"),
        (np.r_[0:12, 4], r"several DICOM frames lie at one position \(a series over time\?\)"),
    ],
)
def test_missing_and_doubled_frames_are_refused(tmp_path: Path, kept: np.ndarray, what: str) -> None:
    path = write_enhanced(tmp_path / "e.dcm", STORED[kept], PLACES[kept], PLANE, SPACING)
    with pytest.raises(InputError, match=what) as error:
        read_volume(path)
    assert str(path) in str(error.value)


def test_positions_for_other_frames_than_there_are_are_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "e.dcm", STORED, PLACES[:11], PLANE, SPACING)
    with pytest.raises(InputError, match="holds 12 frames, and positions of 11; export it again"):
        read_volume(path)


def test_frames_without_positions_are_a_guess_and_that_is_said(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "e.dcm", STORED, PLACES, PLANE, SPACING)
    path.write_bytes(path.read_bytes().replace(b"\x20\x00\x13\x91SQ", b"\x21\x00\x13\x91SQ"))  # a private sequence
    warnings = read_volume(path, smallest=5.0)[1]
    assert warnings[0] == f"{path}: the DICOM frames do not say where they lie; their order and spacing are a guess"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_cut_header_ends_in_a_sentence(tmp_path: Path, share: float) -> None:
    path = write_enhanced(tmp_path / "e.dcm", STORED, PLACES, PLANE, SPACING)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * (len(raw) - STORED.nbytes))])
    assert read_frames(path) is None or share == 0.9
    with pytest.raises(InputError, match=r"e\.dcm: "):
        read_volume(path)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("multi_frame", [False, True])
def test_monochrome1_becomes_hu_whether_its_values_are_inverted_or_not(tmp_path, inverted, multi_frame) -> None:
    stored = (65535 - STORED) if inverted else STORED
    path = tmp_path / "s"
    if multi_frame:
        path = write_enhanced(tmp_path / "e.dcm", stored, PLACES, PLANE, SPACING, photometric="MONOCHROME1")
    else:
        write_slices(path, stored, PLACES, PLANE, SPACING, photometric="MONOCHROME1")
    image, warnings = read_volume(path)
    assert _is_right(image)
    how = "inverted" if inverted else "as they are stored"
    assert warnings == [f"{path}: MONOCHROME1 (the lowest value is white); the values were taken {how}"]


def test_monochrome1_with_an_empty_rescale_is_read_as_without_one(tmp_path: Path) -> None:
    read = []
    for folder, rescale in ((tmp_path / "s", ()), (tmp_path / "t", None)):
        write_slices(folder, STORED, PLACES, PLANE, SPACING, photometric="MONOCHROME1", rescale=rescale)
        image, warnings = read_volume(folder)
        read.append((image.array, [text.removeprefix(f"{folder}") for text in warnings]))
    assert np.array_equal(read[0][0], read[1][0])
    assert read[0][1] == read[1][1]


def test_slices_without_a_rescale_are_hu_1024_too_high(tmp_path: Path) -> None:
    image, warnings = read_volume(write_slices(tmp_path / "s", STORED, PLACES, PLANE, SPACING, rescale=None))
    assert np.array_equal(image.array, STORED)
    assert warnings == []
    repaired, warnings = to_hu(image, "s")
    assert np.array_equal(repaired.array, HU)
    assert len(warnings) == 1


@pytest.mark.parametrize("degrees", [0.1, 0.5, 1.0])
def test_a_slight_tilt_is_told_in_degrees_and_mm(tmp_path: Path, degrees: float) -> None:
    length = np.linalg.norm(PLACES[-1] - PLACES[0])
    aside = length * np.tan(np.radians(degrees))
    tilted = PLACES + np.linspace(0, aside, 12)[:, None] * GRID.direction[:, 1]
    image, warnings = read_volume(write_slices(tmp_path / "s", STORED, tilted, PLANE, SPACING))
    if aside < 0.1:
        assert warnings == []
    else:
        assert warnings == [
            f"{tmp_path / 's'}: the DICOM slices are sheared by {degrees:.1f} degrees (gantry tilt); they were stacked "
            f"straight, which displaces the last one by {aside:.1f} mm"
        ]
    assert image.array.shape == HU.shape
