"""Images of several files count as one: a header and the files that it names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, ramp
from pddnet.io.data_files import parts_of
from pddnet.io.file_identity import identity, is_same, sha256
from pddnet.io.sequence import Frame


def _written(folder: Path, name: str) -> Path:
    sitk.WriteImage(ramp(FIXED).to_sitk(), str(folder / name))
    return folder / name


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("scan.mhd", ["scan.raw"]),
        ("scan.nhdr", ["scan.raw"]),
        ("scan.hdr", ["scan.img"]),
        ("scan.img", ["scan.hdr"]),
        ("scan.mha", []),
        ("scan.nrrd", []),
        ("scan.nii", []),
    ],
)
def test_what_itk_writes_is_found(tmp_path: Path, name: str, others: list[str]) -> None:
    path = _written(tmp_path, name)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([name, *others])
    assert parts_of(path) == [path, *(tmp_path / other for other in others)]


def test_a_compressed_pair_is_found_from_either_file(tmp_path: Path) -> None:
    header = _written(tmp_path, "scan.hdr")
    for path in (header, header.with_suffix(".img")):
        path.rename(f"{path}.gz")
    files = {tmp_path / "scan.hdr.gz", tmp_path / "scan.img.gz"}
    assert all(set(parts_of(path)) == files for path in files)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("s.mhd", "ElementDataFile = LIST\nslice_2.raw\nslice_10.raw\n"),
        ("s.mhd", "ElementDataFile = slice_%d.raw 2 10 8\n"),
        ("s.nhdr", "NRRD0004\ndata file: LIST 2\nslice_2.raw\nslice_10.raw\n"),
        ("s.nhdr", "NRRD0004\r\ndata file: slice_%d.raw 2 10 8 2\r\n\r\ndata file: other.raw"),
        ("s.nhdr", "NRRD0004\nData File: slice_%d.raw 10 2 -8\n"),
        ("s.mhd", "  ElementDataFile : slice_%d.raw\n"),
        ("s.mha", "ElementDataFile = slice_%03d.raw 2\n"),
        ("s.nrrd", "NRRD0004\ndata file: LIST\nslice_2.raw\n" + 300 * "x" + "\nslice_10.raw\n"),
    ],
)
def test_slices_in_files_of_their_own_are_found(tmp_path: Path, name: str, field: str) -> None:
    (tmp_path / name).write_bytes(field.encode())
    for number in (2, 10):
        (tmp_path / f"slice_{number}.raw").write_bytes(b"voxels")
    (tmp_path / "slice_a.raw").write_bytes(b"voxels")
    assert parts_of(tmp_path / name) == [tmp_path / each for each in (name, "slice_10.raw", "slice_2.raw")]


@pytest.mark.parametrize(
    "field", ["ElementDataFile = LOCAL\n", "ElementDataFile = s%q.raw 1 2 1\n", "ElementDataFile =", ""]
)
def test_a_header_that_names_no_file_stands_alone(tmp_path: Path, field: str) -> None:
    path = tmp_path / "s.mhd"
    path.write_text(field, "utf-8")
    assert parts_of(path) == [path]


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nhdr", "scan.hdr"])
def test_other_voxels_under_the_same_header_are_another_scan(tmp_path: Path, name: str) -> None:
    path = _written(tmp_path, name)
    known, checksum = identity(path), Frame(path).checksum()
    voxels = parts_of(path)[1]
    assert known["bytes"] == path.stat().st_size + voxels.stat().st_size
    listed = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in (path, voxels))
    assert known["sha256"] == sha256(path) == hashlib.sha256(listed.encode()).hexdigest()
    content = np.frombuffer(voxels.read_bytes(), np.int16) + np.int16(1)
    voxels.write_bytes(content.tobytes())
    os.utime(voxels, ns=(1, 1))
    assert not is_same(path, known)
    assert Frame(path).checksum() != checksum
