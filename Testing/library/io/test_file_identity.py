"""A file is known again by its size and time, or by what it holds."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from pddnet.io.file_identity import identity, is_same, is_unchanged, sha256, stamp


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"voxels")
    return path


def test_a_file_that_was_only_touched_is_the_same(file: Path) -> None:
    known = identity(file)
    assert known["sha256"] == hashlib.sha256(b"voxels").hexdigest()
    assert is_unchanged(file, known) and is_same(file, known)
    os.utime(file, ns=(1, 1))
    assert not is_unchanged(file, known)
    assert is_same(file, known)


@pytest.mark.parametrize("content", [b"VOXELS", b"more voxels", b""])
def test_a_file_that_holds_something_else_is_not(file: Path, content: bytes) -> None:
    known = identity(file)
    file.write_bytes(content)
    os.utime(file, ns=(1, 1))
    assert not is_same(file, known)


def test_a_file_that_is_gone_is_not(file: Path) -> None:
    known = identity(file)
    file.unlink()
    assert not is_unchanged(file, known)
    assert not is_same(file, known)


def test_a_folder_is_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    series = tmp_path / "series"
    (series / "deep").mkdir(parents=True)
    (series / "b.dcm").write_bytes(b"2")
    (series / "deep" / "a.dcm").write_bytes(b"1")
    files = (b"2", "b.dcm"), (b"1", "deep/a.dcm")
    listed = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for content, name in files)
    assert sha256(series) == hashlib.sha256(listed.encode()).hexdigest()
    assert stamp(series)[0] == 2
    for path in (series, *series.rglob("*")):
        os.utime(path, ns=(1, 1))
    known = identity(series)
    (series / "b.dcm").rename(series / "c.dcm")
    assert not is_same(series, known)
