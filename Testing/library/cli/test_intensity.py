"""`--intensity`: what the command says of values that are no HU, and what it registers and writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from helpers.samples import MOVING, save, small_pair
from pddnet.cli.main import main
from pddnet.core.image import Image


def _command(folder: Path, moving: np.ndarray, *more: str) -> list[str]:
    fixed = save(small_pair()[0], folder / "F.nii.gz")
    path = save(Image(moving, MOVING), folder / "M.nii.gz")
    return ["register", "--fixed", str(fixed), "--moving", str(path), "--output-transform", str(folder / "T.h5"), *more]


def test_a_lost_intercept_is_told_with_its_file_and_the_output_keeps_the_values(tmp_path, calls, capsys) -> None:
    hu = small_pair()[1].array
    stored = (hu + 1024).astype(np.uint16)
    assert main(_command(tmp_path, stored, "--output-volume", str(tmp_path / "W.nii.gz"))) == 0
    out = capsys.readouterr().out
    assert out.count("1024 was subtracted") == 1
    assert f"warning   {tmp_path / 'M.nii.gz'}: the values are HU + 1024 (a lost rescale intercept)" in out
    assert np.array_equal(calls[0]["moving"].array, hu)
    warped = sitk.ReadImage(str(tmp_path / "W.nii.gz"))
    assert warped.GetPixelID() == sitk.sitkUInt16
    assert sitk.GetArrayFromImage(warped).max() > 1000


def test_what_is_no_hu_is_refused_with_its_file_unless_the_user_says_so(tmp_path, calls, capsys) -> None:
    scores = small_pair()[1].array / np.float32(400)
    assert main(_command(tmp_path, scores)) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"pddnet: {tmp_path / 'M.nii.gz'}: the values are no HU, they were normalised (-2.5 to 0.")
    assert line.count("\n") == 1
    assert calls == []
    assert main(_command(tmp_path, scores, "--intensity", "hu")) == 0
    assert np.array_equal(calls[0]["moving"].array, scores)
    assert main(_command(tmp_path, scores, "--preset", "multimodal")) == 0
    assert main(_command(tmp_path, scores, "--intensity", "ct")) == 2
    assert "there is no intensity 'ct'; choose one of auto, hu, offset-1024" in capsys.readouterr().err
