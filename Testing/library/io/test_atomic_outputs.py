"""Outputs under links, and text that names files whose names are no UTF-8."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, ramp
from pddnet.errors import InputError
from pddnet.io.atomic_outputs import IMAGES, OBJECTS, REPORTS, OutputFiles
from pddnet.io.volumes import read_volume


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("stored", ["x.nrrd", "d41d8cd98f00"])
def test_the_name_decides_on_the_format_whatever_a_link_points_to(tmp_path: Path, stored: str) -> None:
    link = tmp_path / "warped.nii.gz"
    link.symlink_to(tmp_path / stored)
    with OutputFiles({"volume": (link, IMAGES)}) as files:
        files.write_image("volume", ramp(FIXED))
        files.commit()
    assert link.is_symlink()
    assert (tmp_path / stored).read_bytes()[:2] == b"\x1f\x8b"  # gzip
    assert np.array_equal(read_volume(link)[0].array, ramp(FIXED).array)


def test_a_path_that_is_no_utf_8_can_be_named_in_a_report(tmp_path: Path) -> None:
    path = b"caf\xe9/scan.nii.gz".decode("utf-8", errors="surrogateescape")
    with OutputFiles({"json": (tmp_path / "r.json", REPORTS)}) as files:
        files.write_text("json", json.dumps({"fixed": path}, ensure_ascii=False))
        files.commit()
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == {"fixed": path}


def test_in_the_folder_of_slices_all_but_a_slice_may_be_written_again(tmp_path: Path) -> None:
    image = ramp(FIXED).to_sitk()
    sitk.WriteImage(image[:, :, :1], str(tmp_path / "s00.dcm"))
    for _ in range(2):
        with OutputFiles({"json": (tmp_path / "r.json", REPORTS)}, [tmp_path]) as files:
            files.write_text("json", "{}")
            files.commit()
    with pytest.raises(InputError, match=r"s00\.dcm: this output would overwrite the input"):
        OutputFiles({"object": (tmp_path / "s00.dcm", OBJECTS)}, [tmp_path])
