"""The splits: every scan and map has one place, and what is held back for one purpose is held back for all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.splits import SPLITS
from benchmarks.validation_pairs import REPOSITORY, data_folder

ALL = json.loads(SPLITS.read_text(encoding="utf-8"))
LEARNED = ("validation", "train", "tune", "unlabelled")  # what a network may learn from
CONFIGURATIONS = sorted((REPOSITORY / "Testing" / "training").glob("*.json"))


def _names(part: str, *kinds: str) -> list[str]:
    return [name for kind in kinds for name in ALL[part][kind]]


def test_no_scan_and_no_map_has_two_places() -> None:
    for part, kinds in (("ct", (*LEARNED, "choose", "held_back")), ("anatomy", ("train", "unused", "held_back"))):
        names = _names(part, *kinds)
        assert len(names) == len(set(names))


def test_three_new_scans_and_a_whole_trunk_are_held_back() -> None:
    assert set(ALL["anatomy"]["held_back"]) == {"spl_abdominal_atlas", "totalsegmentator_s0327"}
    assert {"crlm_1006", "lidc_0003", "lidc_0314"} <= set(ALL["ct"]["held_back"])


def test_what_pairs_of_one_patient_hold_back_no_network_learns_from() -> None:
    assert set(ALL["same_patient"]["held_back"]) <= set(ALL["ct"]["held_back"])


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_no_run_learns_from_a_held_back_map(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    used = {
        Path(file).name.removesuffix(".nii.gz") for kind in ("anatomies", "donors") for file in config.get(kind, ())
    }
    assert used, "a run names its maps"
    assert used <= set(_names("anatomy", "train", "unused"))


@pytest.mark.skipif(data_folder() is None, reason="the real scans are not here")
def test_every_scan_and_map_has_a_place() -> None:
    data = data_folder()
    assert data is not None
    assert {path.name for path in (data / "ct").iterdir()} == set(_names("ct", *LEARNED, "choose", "held_back"))
    maps = {path.name.removesuffix(".nii.gz") for path in (data / "anatomy").glob("*.nii.gz")}
    assert maps == set(_names("anatomy", "train", "unused", "held_back"))
