"""What a training is told: read from JSON, refused with the setting's name before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pddnet.errors import InputError
from pddnet.training.config import KINDS, labelled_scans, read_config


def _write(folder: Path, text: str | dict) -> Path:
    path = folder / "config.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def test_settings_are_read_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    given = {
        "out": "run", "anatomies": ["a/one.nii.gz", "/abs/two.nii.gz"], "virtual": 3, "scans": "s", "validation": "v",
        "shares": [1, 0.5, 0, 2], "unlabelled": "more", "donors": ["c.nii.gz"],
        "width": 16, "iterations": 1e3, "learning_rate": 0.01, "seed": 7, "validate_every": 5,
        "seconds_kept": 30, "data": "ours, CC BY", "hard": 0.5,
    }  # fmt: skip
    config = read_config(_write(tmp_path, given))
    assert config.out == tmp_path / "run"
    assert config.anatomies == (tmp_path / "a/one.nii.gz", Path("/abs/two.nii.gz"))
    assert (config.scans, config.validation) == (tmp_path / "s", tmp_path / "v")
    assert config.shares == (1.0, 0.5, 0.0, 2.0)
    assert (config.donors, config.unlabelled) == ((tmp_path / "c.nii.gz",), tmp_path / "more")
    assert (config.virtual, config.width, config.iterations, config.seed, config.validate_every) == (3, 16, 1000, 7, 5)
    assert isinstance(config.iterations, int)
    assert (config.learning_rate, config.seconds_kept, config.data) == (0.01, 30.0, "ours, CC BY")
    assert config.hard == 0.5


def test_nothing_lends_and_nothing_is_guessed_unless_told(tmp_path: Path) -> None:
    config = read_config(_write(tmp_path, {"out": "o", "virtual": 1}))
    assert (config.donors, config.unlabelled) == ((), None)
    assert (config.hard, config.modality) == (0, "ct")
    assert len(config.shares) == len(KINDS) == 4


def test_at_most_five_minutes_are_lost_by_default(tmp_path: Path) -> None:
    assert read_config(_write(tmp_path, {"out": "o", "virtual": 1})).seconds_kept <= 300


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"widht": 16}, "'widht'.*known are.*width"),
        ({"out": None}, "'out'"),
        ({"out": 3}, "'out'"),
        ({"anatomies": "a.nii.gz"}, "'anatomies'"),
        ({"anatomies": [1]}, "'anatomies'"),
        ({"anatomies": 5}, "'anatomies'"),
        ({"scans": ["s"]}, "'scans'"),
        ({"donors": "a.nii.gz"}, "'donors'"),
        ({"donors": [None]}, "'donors'"),
        ({"unlabelled": ["s"]}, "'unlabelled'"),
        ({"unlabelled": True}, "'unlabelled'"),
        ({"virtual": 0, "donors": ["a.nii.gz"], "unlabelled": "s"}, "nothing to learn from"),
        ({"shares": [1, 2, 3]}, "'shares'"),
        ({"shares": [1, -2, 1, 1]}, "'shares'"),
        ({"shares": [0, 0, 0, 0]}, "'shares'"),
        ({"shares": [1, 1, 1, 1, 1]}, "'shares'.*unlabelled scans"),
        ({"shares": ["a", 1, 1, 1]}, "'shares'"),
        ({"shares": 1}, "'shares'"),
        ({"modality": "ultrasound"}, "'modality' must be one of ct, mr"),
        ({"modality": "mr", "network": "pdd"}, "'mr' is for the network 'semantic'"),
        ({"modality": "mr", "validation": "v"}, "'validation'"),
        ({"hard": 1.01}, "'hard' is a share"),
        ({"hard": "much"}, "'hard'"),
        ({"virtual": -1}, "'virtual'"),
        ({"virtual": 1.5}, "'virtual'"),
        ({"virtual": True}, "'virtual'"),
        ({"width": "16"}, "'width'"),
        ({"width": 0}, "'width'"),
        ({"width": 12}, "'width'.*multiple of 8"),
        ({"iterations": 0}, "'iterations'"),
        ({"iterations": None}, "'iterations'"),
        ({"validate_every": 0}, "'validate_every'"),
        ({"learning_rate": float("nan")}, "'learning_rate'"),
        ({"seconds_kept": float("inf")}, "'seconds_kept'"),
        ({"seed": float("inf")}, "'seed'"),
        ({"seed": -1}, "'seed'"),
        ({"data": {}}, "'data'"),
        ({"virtual": 0}, "nothing to learn from"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, change: dict, word: str) -> None:
    path = _write(tmp_path, {"out": "run", "virtual": 1} | change)
    with pytest.raises(InputError, match=word) as error:
        read_config(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"virtual": 1}', '{"out": "o"}'])
def test_files_that_are_no_configuration(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"config\.json: "):
        read_config(_write(tmp_path, text))
    with pytest.raises(InputError, match="no such file"):
        read_config(tmp_path / "none.json")
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not JSON"):
        read_config(tmp_path / "config.json")


def test_labelled_scans_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"1": "liver", "2": "spleen"}')
    for name in ("c", "a", "b", "d", ".part-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ct.nii.gz").touch()
        if name != "b":
            (tmp_path / name / "labels.nii.gz").touch()
    (tmp_path / "a" / "labels.json").write_text('{"7": "colon"}')
    (tmp_path / "d" / "labels.json").write_text('["liver"]')
    found, problems = labelled_scans(tmp_path)
    assert [(scan.image.parent.name, scan.names) for scan in found] == [
        ("a", {7: "colon"}),
        ("c", {1: "liver", 2: "spleen"}),
    ]
    assert found[0].labels == tmp_path / "a" / "labels.nii.gz"
    assert len(problems) == 2
    assert str(tmp_path / "b" / "labels.nii.gz") in problems[0]
    assert str(tmp_path / "d" / "labels.json") in problems[1]
    (tmp_path / "labels.json").unlink()
    found, problems = labelled_scans(tmp_path)
    assert len(found) == 1
    assert str(tmp_path / "c" / "labels.json") in problems[1]
    with pytest.raises(InputError, match="none"):
        labelled_scans(tmp_path / "none")
