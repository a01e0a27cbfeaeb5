"""Warnings of a measurement: landmarks outside the transform's grid, and label maps without a common number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, MOVING, SHIFT, labels, save
from pddnet.cli.main import main
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.evaluation.sentences import no_common_label, outside_transform


def test_landmarks_outside_the_grid_are_counted_and_named(tmp_path: Path, capsys) -> None:
    field = DisplacementField(np.broadcast_to(SHIFT, (*FIXED.shape, 3)).astype(np.float32), FIXED)
    centre, far = FIXED.centre, FIXED.centre + [900.0, 0, 0]
    points = np.array([centre, *[far + n for n in range(7)]])
    names = ["in", *(f"p{n}" for n in range(7))]
    assert outside_transform(names, points, field.to_sitk()) == [
        "7 of 8 fixed landmarks lie outside the transform's grid, where it moves nothing: "
        "p0, p1, p2, p3, p4 and 2 more; "
        "check that they belong to this fixed scan (LPS mm)"
    ]
    assert outside_transform(names[:1], points[:1], field.to_sitk()) == []
    assert outside_transform(names, points, sitk.TranslationTransform(3, (1.0, 2, 3))) == []
    field.write(tmp_path / "t.h5")
    for name, moved in (("a.csv", 0), ("b.csv", SHIFT)):
        rows = [f"{n},{x},{y},{z}" for n, (x, y, z) in zip(names[:2], points[:2] + moved, strict=True)]
        (tmp_path / name).write_text("\n".join(["name,x,y,z", *rows]))
    argv = ["evaluate", "--transform", "t.h5", "--fixed-points", "a.csv", "--moving-points", "b.csv"]
    assert main([str(tmp_path / word) if "." in word else word for word in argv]) == 0
    assert "warning   1 of 2 fixed landmarks lie outside the transform's grid" in capsys.readouterr().out


@pytest.mark.parametrize("numbers", [(255, 1), (1, 255)])
def test_masks_of_255_and_1(tmp_path: Path, capsys, numbers: tuple[int, int]) -> None:
    maps = [
        Image((labels(grid, centre).array > 0).astype(np.uint8) * number, grid)
        for grid, centre, number in zip((FIXED, MOVING), (FIXED.centre, FIXED.centre + SHIFT), numbers, strict=True)
    ]
    assert no_common_label(maps[0], maps[0]) == []
    paths = [str(save(image, tmp_path / f"{n}.nii.gz")) for n, image in enumerate(maps)]
    sitk.WriteTransform(sitk.TranslationTransform(3, SHIFT.tolist()), str(tmp_path / "t.tfm"))
    argv = ["evaluate", "--transform", str(tmp_path / "t.tfm"), "--fixed-labels", paths[0], "--moving-labels", paths[1]]
    assert main(argv) == 0
    assert (
        f"warning   the label maps have no label number in common (fixed {numbers[0]}, moving {numbers[1]}); "
        "give the same structure the same number in both"
    ) in capsys.readouterr().out
