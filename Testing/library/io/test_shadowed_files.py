"""ITK reads x.nii when it is asked for x.nii.gz and both are there: the wrong scan, without a word."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.samples import FIXED, MOVING, ramp, save
from pddnet.errors import InputError
from pddnet.io.atomic_outputs import IMAGES, OutputFiles
from pddnet.io.transforms import read_transform
from pddnet.io.volumes import read_labels, read_volume


def _both(folder: Path) -> tuple[Path, Path]:
    """Two different volumes, scan.nii and scan.nii.gz."""
    packed = save(ramp(MOVING), folder / "scan.nii.gz")
    plain = shutil.move(save(ramp(FIXED), folder / "other.nii"), folder / "scan.nii")
    return Path(plain), packed


@pytest.mark.parametrize("read", [read_volume, read_labels, read_transform])
def test_a_packed_file_beside_a_plain_one_is_not_read(tmp_path: Path, read) -> None:
    _, packed = _both(tmp_path)
    with pytest.raises(InputError, match=r"scan\.nii\.gz: ITK would read scan\.nii beside it instead; rename"):
        read(packed)


def test_the_plain_one_is_what_it_seems(tmp_path: Path) -> None:
    plain, packed = _both(tmp_path)
    assert np.array_equal(read_volume(plain)[0].array, ramp(FIXED).array)
    plain.unlink()
    assert np.array_equal(read_volume(packed)[0].array, ramp(MOVING).array)


@pytest.mark.parametrize(("there", "wanted"), [("W.nii", "W.nii.gz"), ("W.nii.gz", "W.nii")])
def test_an_output_that_would_be_read_as_another_is_refused(tmp_path: Path, there: str, wanted: str) -> None:
    save(ramp(FIXED), tmp_path / there)
    with pytest.raises(InputError, match="ITK would"):
        OutputFiles({"volume": (tmp_path / wanted, IMAGES)})
    OutputFiles({"volume": (tmp_path / there, IMAGES)})  # written again, under its own name


def test_two_outputs_that_differ_in_the_packing_alone_are_refused(tmp_path: Path) -> None:
    outputs = {"volume": (tmp_path / "x.nii.gz", IMAGES), "labels": (tmp_path / "x.nii", IMAGES)}
    with pytest.raises(InputError, match="side by side"):
        OutputFiles(outputs)
    OutputFiles({**outputs, "labels": (tmp_path / "y.nii", IMAGES)})
