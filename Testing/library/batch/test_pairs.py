"""The pairs of a table, of a pattern and of a folder in BIDS order, and their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pddnet.batch import names
from pddnet.batch.pairs import Pair, from_bids, from_pattern, from_table, named, stem
from pddnet.errors import InputError


def _touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"")


def test_a_table_is_relative_to_its_folder(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text(
        "Moving, fixed,fixed_labels,moving_series,initial_transform,id\n"
        "a/late.nii.gz,a/early.nii.gz,,2,,\n"
        "\n"
        "/abs/b.nrrd,a/early.nii.gz,maps/l.nii.gz,,t.h5,second one\n".replace("second one", "second_one"),
        "utf-8",
    )
    first, second = from_table(table)
    assert first == Pair(
        "late",
        {"fixed": str(tmp_path / "a/early.nii.gz"), "moving": str(tmp_path / "a/late.nii.gz")},
        {"moving_series": "2"},
    )
    assert second.id == "second_one"
    assert second.files == {
        "fixed": str(tmp_path / "a/early.nii.gz"),
        "moving": "/abs/b.nrrd",
        "fixed_labels": str(tmp_path / "maps/l.nii.gz"),
        "initial_transform": str(tmp_path / "t.h5"),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fixed\na\n", "there is no column moving"),
        ("fixed,moving,colour\na,b,c\n", "there is no column 'colour'; known are fixed, moving"),
        ("fixed,moving\na,\n", "line 2: the moving scan is missing"),
        ("fixed,moving,id\na,b,x\na,c,X\n", "'X': two pairs have this id"),
        ("fixed,moving,id\na,b,../x\n", "'../x': a pair's id is its folder's name"),
        ("fixed,moving,id\na,b,.claim\n", "'.claim': a pair's id is its folder's name"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, text: str, told: str) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text(text, "utf-8")
    with pytest.raises(InputError, match=re.escape(told)):
        from_table(table)


def test_a_pattern_finds_all_but_the_fixed_scan(tmp_path: Path) -> None:
    _touch(tmp_path, "p1/ct.nii.gz", "p2/ct.nii.gz", "p3/ct.nii.gz", "p3/mask.nii.gz")
    pairs = from_pattern(tmp_path / "p2/../p2/ct.nii.gz", str(tmp_path / "*/ct.nii.gz"))
    assert [pair.id for pair in pairs] == ["p1_ct", "p3_ct"]
    assert {pair.files["fixed"] for pair in pairs} == {str(tmp_path / "p2/ct.nii.gz")}
    with pytest.raises(InputError, match="no file or folder fits"):
        from_pattern(tmp_path / "p2/ct.nii.gz", str(tmp_path / "p2/c*"))


def test_bids_pairs_each_subject_with_its_first_scan(tmp_path: Path) -> None:
    _touch(
        tmp_path,
        *("sub-01/ses-2/ct/sub-01_ses-2_ct.nii.gz", "sub-01/ses-1/ct/sub-01_ses-1_ct.nii.gz"),
        *("sub-02/ct/sub-02_ct.nii.gz", "sub-01/ses-3/ct/sub-01_ses-3_ct.nii", "sub-01/anat/sub-01_T1w.nii.gz"),
        "derivatives/x/sub-01/sub-01_ct.nii.gz",
    )
    pairs = from_bids(tmp_path, "ct")
    assert [(pair.id, Path(pair.files["fixed"]).name) for pair in pairs] == [
        ("sub-01_ses-2_ct", "sub-01_ses-1_ct.nii.gz"),
        ("sub-01_ses-3_ct", "sub-01_ses-1_ct.nii.gz"),
    ]
    to_one = from_bids(tmp_path, "ct", tmp_path / "sub-02/ct/sub-02_ct.nii.gz")
    assert [pair.id for pair in to_one] == ["sub-01_ses-1_ct", "sub-01_ses-2_ct", "sub-01_ses-3_ct"]
    with pytest.raises(InputError, match=r"no subject has two scans _T1w"):
        from_bids(tmp_path, "T1w")
    with pytest.raises(InputError, match=r"there are no files"):
        from_bids(tmp_path, "pet")


def test_a_scan_that_is_registered_to_several_has_both_names() -> None:
    files = [{"fixed": f"/d/{fixed}.nii", "moving": f"/d/{moving} x.nii.gz"} for fixed in "ab" for moving in "cd"]
    pairs = named([Pair("", each, {}) for each in files])
    assert [pair.id for pair in pairs] == ["c-x_to_a", "d-x_to_a", "c-x_to_b", "d-x_to_b"]


def test_the_files_are_named_as_bids_names_derivatives() -> None:
    pair = Pair("x", {"fixed": "/d/sub-01_ses-1_ct.nii.gz", "moving": "/d/sub-01_ses-2_ct.nii.gz"}, {})
    assert names.transform_name(pair) == "from-sub01ses2ct_to-sub01ses1ct_mode-image_xfm.h5"
    assert names.sidecar_name(pair) == "from-sub01ses2ct_to-sub01ses1ct_mode-image_xfm.json"
    same = Pair("x", {"fixed": "/d/1/ct.nii.gz", "moving": "/d/2/ct.nii.gz"}, {})
    assert names.transform_name(same) == "from-2ct_to-1ct_mode-image_xfm.h5"
    assert names.warped_name(same) == "desc-2ct_space-1ct_ct.nii.gz"
    alike = Pair("x", {"fixed": "/d/a-b.nii", "moving": "/d/a_b.nii"}, {})
    assert names.transform_name(alike) == "from-moving_to-fixed_mode-image_xfm.h5"


@pytest.mark.parametrize(
    ("name", "expected"), [("a.nii.gz", "a"), ("a.b.NRRD", "a.b"), ("series", "series"), (".nii.gz", ".nii.gz")]
)
def test_the_name_of_a_scan_has_no_ending(name: str, expected: str) -> None:
    assert stem(f"/folder/{name}") == expected


@pytest.mark.parametrize(
    "paths",
    [
        ["/scans/心.nii.gz", "/scans/肝.nii.gz"],
        ["/scans/a.nii.gz", "/scans/A.nii.gz"],
        [f"/{'x' * 120}/{'y' * 120}/{n}/{'z' * 110}.nii.gz" for n in "12"],
    ],
)
def test_names_that_would_be_the_same_end_with_a_checksum(paths: list[str]) -> None:
    files = [{"fixed": "/scans/fixed.nii.gz", "moving": path} for path in [*paths, "/scans/other.nii.gz"]]
    ids = [pair.id for pair in named([Pair("", each, {}) for each in files])]
    again = [pair.id for pair in reversed(named([Pair("", each, {}) for each in reversed(files)]))]
    assert ids == again
    assert len({each.lower() for each in ids}) == 3
    assert all(re.fullmatch(r".+-[0-9a-f]{8}", each) and len(each) <= 100 for each in ids[:2])
    assert ids[2].endswith("other")


def test_a_scan_that_is_registered_to_several_has_an_id_that_fits() -> None:
    moving, fixed = f"/scans/{'m' * 70}.nii", [f"/scans/{'f' * 60}{n}.nii" for n in range(2)]
    ids = [pair.id for pair in named([Pair("", {"fixed": path, "moving": moving}, {}) for path in fixed])]
    assert len(set(ids)) == 2
    assert all(len(each) == 100 and each.startswith("m" * 70 + "_to_f") for each in ids)
