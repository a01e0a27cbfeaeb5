"""`--output-dicom-reg`: the command writes what `pddnet evaluate` reads back, with the frames of both DICOM series."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import inner_points, sitk_points
from helpers.samples import FIXED, SHIFT, ramp, write_pair
from pddnet.cli.main import main
from pddnet.core.image import Image
from pddnet.io.transforms import read_transform

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")


def write_series(image: Image, folder: Path, number: int) -> Path:
    """A CT series by SimpleITK, a file for each slice."""
    folder.mkdir()
    volume = image.to_sitk()
    common = {
        "0010|0020": "patient 17", "0020|000d": f"1.2.3.{number}", "0020|000e": f"1.2.3.{number}.1",
        "0020|0052": f"1.2.3.{number}.2", "0008|0060": "CT", "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
        "0020|0037": "\\".join(f"{v:.12f}" for v in image.grid.direction.T[:2].ravel()),
    }  # fmt: skip
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(volume.GetDepth()):
        piece = volume[:, :, k]
        place = image.grid.index_to_point([0, 0, k])
        own = {
            "0020|0032": "\\".join(f"{v:.10f}" for v in place),
            "0020|0013": str(k),
            "0008|0018": f"1.2.3.{number}.3.{k}",
        }
        for tag, value in {**common, **own}.items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{k:03d}.dcm"))
        writer.Execute(piece)
    return folder


def test_the_object_of_two_series_is_read_back(tmp_path: Path, calls: list[dict]) -> None:
    fixed = write_series(ramp(FIXED), tmp_path / "fixed", 5)
    moving = write_series(Image(ramp(FIXED).array[::-1].copy(), FIXED), tmp_path / "moving", 6)
    pair, target = write_pair(tmp_path), tmp_path / "X.dcm"
    argv = ["register", "--fixed", str(fixed), "--moving", str(moving), "--output-transform", str(tmp_path / "T.h5")]
    assert main([*argv, "--output-dicom-reg", str(target)]) == 0
    found = pydicom.dcmread(target)
    item = found.DeformableRegistrationSequence[0]
    assert (found.FrameOfReferenceUID, item.SourceFrameOfReferenceUID) == ("1.2.3.5.2", "1.2.3.6.2")
    assert (found.PatientID, found.StudyInstanceUID) == ("patient 17", "1.2.3.5")
    assert {each.ReferencedSOPInstanceUID for each in item.ReferencedImageSequence} == {
        f"1.2.3.6.3.{k}" for k in range(FIXED.shape[0])
    }
    points = inner_points(FIXED, 50)
    judge = sitk.ReadTransform(str(tmp_path / "T.h5"))
    assert np.abs(sitk_points(read_transform(target), points) - sitk_points(judge, points)).max() < 1e-4
    measured = ["--fixed-labels", pair["A"], "--moving-labels", pair["B"], "--json", str(tmp_path / "R.json")]
    assert main(["evaluate", "--transform", str(target), *measured]) == 0
    report = json.loads((tmp_path / "R.json").read_text())
    assert report["labels"]["table"][1]["dice_after"] > 0.8
    assert np.allclose(report["motion"][0]["shift_ras_mm"], SHIFT * [-1, -1, 1], atol=1e-3)


def test_scans_that_are_no_dicom_and_what_is_missing(tmp_path: Path, calls: list[dict], capsys, monkeypatch) -> None:
    pair, target = write_pair(tmp_path), tmp_path / "X.dcm"
    argv = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(tmp_path / "T.h5")]
    assert main([*argv, "--output-dicom-reg", str(target)]) == 0
    assert np.abs(sitk_points(read_transform(target), FIXED.centre) - FIXED.centre - SHIFT).max() < 1e-4
    monkeypatch.setitem(sys.modules, "pydicom", None)
    calls.clear()
    assert main([*argv, "--output-dicom-reg", str(target)]) == 2
    assert capsys.readouterr().err.endswith("install it (pip install pydicom)\n")
    assert calls == []
