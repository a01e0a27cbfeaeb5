"""Which files of a folder are atlases, and the common numbers of their labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, labels, ramp, save
from pddnet.errors import InputError
from pddnet.io.atlas_folder import find_atlases
from pddnet.io.common_labels import CommonLabels
from pddnet.io.segment_headers import Segment, read_segments, segmentation
from pddnet.io.spill import spilled
from pddnet.io.volumes import read_labels

RED, GREEN = (0.5, 0.25, 0.125), (0.0, 1.0, 0.5)
TAGS = "TerminologyEntry:Segmentation category and type~SCT^123037004^Anatomical Structure|"


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_pairs_by_name_and_folders_of_their_own(tmp_path: Path) -> None:
    _touch(tmp_path, "b.nii.gz", "b_labels.nrrd", "a.nrrd", "a.seg.nrrd", "c_1.mha", "c_1_labels.seg.nrrd")
    _touch(tmp_path, "patient/ct.nii.gz", "patient/labels.nii.gz", "patient/landmarks.csv", "else/notes.txt")
    _touch(tmp_path, "lonely.nii.gz", ".hidden_labels.nii.gz", "labels.json")
    found, warnings = find_atlases(tmp_path)
    named = {atlas.name: (atlas.scan.name, atlas.labels.name) for atlas in found}
    assert list(named) == ["a", "b", "c_1", "patient"]
    assert named["a"] == ("a.nrrd", "a.seg.nrrd")
    assert named["b"] == ("b.nii.gz", "b_labels.nrrd")
    assert named["c_1"] == ("c_1.mha", "c_1_labels.seg.nrrd")
    assert found[3].labels == tmp_path / "patient" / "labels.nii.gz"
    assert warnings == [f"{tmp_path / 'lonely.nii.gz'}: has no label map, and is no atlas"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a_labels.nii.gz"], "a_labels.nii.gz: there is no scan to this label map"),
        (["a.nrrd", "a.nii", "a_labels.nii.gz"], "not clear to which scan it belongs (a.nii, a.nrrd)"),
        (["a.nrrd", "a.seg.nrrd", "a_labels.nii.gz"], "two label maps belong to 'a'"),
        (["a.nrrd", "notes.txt"], "there is no atlas in this folder"),
        (["patient/labels.nii.gz"], "there is no scan to this label map"),
    ],
)
def test_what_is_not_clear_is_told(tmp_path: Path, names: list[str], message: str) -> None:
    _touch(tmp_path, *names)
    with pytest.raises(InputError, match=re.escape(message)):
        find_atlases(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    _touch(tmp_path, "a.nrrd")
    with pytest.raises(InputError, match="this is a file"):
        find_atlases(tmp_path / "a.nrrd")


def test_a_folder_in_it_that_cannot_be_read_is_told_and_no_atlas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "a.nrrd", "a.seg.nrrd", "lost+found/ct.nii.gz", "patient/ct.nii.gz", "patient/labels.nii.gz")
    original = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)  # permissions do not stop root
    found, warnings = find_atlases(tmp_path)
    assert [atlas.name for atlas in found] == ["a", "patient"]
    place = tmp_path / "lost+found"
    assert warnings == [f"{place}: this folder cannot be read (Permission denied), and is no atlas"]


def _segments(path: Path, values: dict[int, Segment]) -> Path:
    """A .seg.nrrd file: the large ball has the number 1, the small one 3."""
    sitk.WriteImage(segmentation(labels(FIXED, FIXED.centre), values), str(path), True)
    return path


def test_a_segmentation_comes_back_with_names_and_looks(tmp_path: Path) -> None:
    segments = {
        1: Segment("liver", 0, 1, RED, TAGS),
        3: Segment("spleen", 0, 3, GREEN),
        7: Segment("not there", 0, 7),
    }
    path = _segments(tmp_path / "a.seg.nrrd", segments)
    assert read_segments(path) == list(segments.values())
    image, _ = read_labels(path)
    assert image.grid.same_as(FIXED)
    assert np.array_equal(image.array, labels(FIXED, FIXED.centre).array)
    header = sitk.ReadImage(str(path))
    k, j, i = (np.flatnonzero((image.array == 3).any(other)) for other in ((1, 2), (0, 2), (0, 1)))
    expected = [i[0], i[-1], j[0], j[-1], k[0], k[-1]]
    assert header.GetMetaData("Segment1_Extent").split() == [str(n) for n in expected]
    assert header.GetMetaData("Segment2_Extent") == "0 -1 0 -1 0 -1"


def test_segments_of_one_name_get_one_number(tmp_path: Path) -> None:
    first = _segments(tmp_path / "a.seg.nrrd", {1: Segment("liver", 0, 1), 3: Segment("spleen", 0, 3)})
    second = _segments(tmp_path / "b.seg.nrrd", {1: Segment("Spleen ", 0, 1, GREEN, TAGS), 3: Segment("colon", 0, 3)})
    common = CommonLabels(tmp_path)
    one, _ = common.read(first, FIXED)
    two, _ = common.read(second, FIXED)
    assert np.array_equal(two.array, np.select([one.array == 1, one.array == 3], [3, 4]))
    assert {number: segment.name for number, segment in common.segments.items()} == {
        1: "liver",
        3: "spleen",
        4: "colon",
    }
    assert (common.segments[3].colour, common.segments[3].tags) == (GREEN, TAGS)
    assert common.name(4) == "colon"


def test_two_segments_of_one_name_in_one_file_are_refused(tmp_path: Path) -> None:
    path = _segments(tmp_path / "a.seg.nrrd", {1: Segment("liver", 0, 1), 3: Segment("Liver", 0, 3)})
    with pytest.raises(InputError, match="two segments have the name 'Liver'"):
        CommonLabels(tmp_path).read(path, FIXED)


def test_names_from_labels_json_and_labels_without_names(tmp_path: Path) -> None:
    plain = save(labels(FIXED, FIXED.centre), tmp_path / "a_labels.nii.gz")
    common = CommonLabels(tmp_path)
    assert np.array_equal(common.read(plain, FIXED)[0].array, labels(FIXED, FIXED.centre).array)
    assert common.name(3) == "label 3"
    (tmp_path / "labels.json").write_text(json.dumps({"1": "liver"}))
    read, _ = common.read(plain, FIXED)
    assert np.array_equal(read.array, labels(FIXED, FIXED.centre).array)
    assert (common.name(1), common.name(3)) == ("liver", "label 3")


def test_a_spilled_array_is_the_same_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = ramp(FIXED).array.transpose(2, 0, 1)
    copy = spilled(array)
    assert np.array_equal(copy, array)
    assert copy.dtype == array.dtype
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 0
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(InputError, match="set TMPDIR"):
        spilled(array)
