"""Laying out the training data makes links, and never harms what it links to."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.gather import _link


def test_a_link_is_made_and_made_anew(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("one")
    second.write_text("two")
    place = tmp_path / "folder" / "c.txt"
    _link(first, place)
    assert place.is_symlink() and place.read_text() == "one"
    _link(second, place)
    assert place.read_text() == "two"
    assert first.read_text() == "one"


def test_a_folder_that_is_a_link_to_the_data_leaves_them_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_text("the only copy")
    (tmp_path / "linked").symlink_to(data)
    _link(data / "a.txt", tmp_path / "linked" / "a.txt")
    assert not (data / "a.txt").is_symlink()
    assert (data / "a.txt").read_text() == "the only copy"


def test_a_file_in_the_way_stays(tmp_path: Path) -> None:
    source, place = tmp_path / "a.txt", tmp_path / "folder" / "a.txt"
    source.write_text("new")
    place.parent.mkdir()
    place.write_text("mine")
    with pytest.raises(SystemExit, match="file of its own"):
        _link(source, place)
    assert place.read_text() == "mine"
