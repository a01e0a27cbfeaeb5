"""Label maps that were cropped are measured on a grid around both; a map that misses wholly has Dice 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import SHEARED
from helpers.samples import FIXED, SHIFT, ball, direction, save
from pddnet.cli.main import main
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.evaluation import report
from pddnet.evaluation.common_grid import grid_around_both, is_cropped

WIDE = FIXED.isotropic(2.0, 60.0)  # oblique, and wide enough for all that lands anywhere
PLACE = FIXED.centre
TURN = sitk.AffineTransform(3)
TURN.SetMatrix((direction(5) * 1.2).ravel().tolist())
TURN.SetCenter(PLACE.tolist())
TURN.SetTranslation((12.0, -9.0, 14.0))
TRANSFORMS = {
    "identity": sitk.Transform(3, sitk.sitkIdentity),
    "shift": sitk.TranslationTransform(3, (14.0, 8.0, -11.0)),
    "affine": TURN,
    "field": SHEARED.field(WIDE).to_sitk(),
}


def _map(centre: np.ndarray, radius: float = 14.0) -> Image:
    array = ball(WIDE, centre, radius).astype(np.uint8)
    array[ball(WIDE, centre + [0, 0, 30.0], 6)] = 2  # a second label apart from the first
    return Image(array, WIDE)


def _cropped(image: Image, margin: int = 1) -> Image:
    used = np.argwhere(image.array > 0)
    low, high = used.min(axis=0) - margin, used.max(axis=0) + margin + 1
    part = image.array[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    origin = image.grid.index_to_point(low[::-1].astype(float))
    return Image(part, Grid(part.shape, image.grid.spacing, origin, image.grid.direction))


def test_only_maps_whose_labels_come_near_to_all_sides_are_cropped() -> None:
    whole = _map(PLACE)
    assert not is_cropped(whole)
    assert is_cropped(_cropped(whole, 0))
    assert is_cropped(_cropped(whole, 3))
    assert not is_cropped(_cropped(whole, 4))
    assert not is_cropped(Image(np.zeros(WIDE.shape, np.uint8), WIDE))
    assert grid_around_both(whole, whole, TRANSFORMS["shift"]) is WIDE


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_cropped_fixed_map_gives_the_dice_of_the_whole_one(name: str) -> None:
    fixed, moving, transform = _map(PLACE), _map(PLACE + SHIFT), TRANSFORMS[name]
    expected = report.measured_labels(fixed, moving, transform)["table"]
    small = _cropped(fixed)
    grid = grid_around_both(small, moving, transform)
    voxels = (small.grid.origin - grid.origin) @ WIDE.direction / WIDE.spacing
    assert np.allclose(voxels, np.rint(voxels), atol=1e-6)
    found = report.measured_labels(small.resample(grid, labels=True), moving, transform)["table"]
    assert [row["label"] for row in found] == [1, 2]
    for row, right in zip(found, expected, strict=True):
        assert row["dice_before"] == pytest.approx(right["dice_before"], abs=1e-6)
        assert row["dice_after"] == pytest.approx(right["dice_after"], abs=1e-6)


def test_a_grid_that_would_be_too_large_holds_what_lands_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving = _map(PLACE), _map(PLACE)
    away = Image(moving.array, Grid(WIDE.shape, WIDE.spacing, WIDE.origin + [0, 0, 5000.0], WIDE.direction))
    transform = sitk.TranslationTransform(3, (14.0, 8.0, 4989.0))
    small = _cropped(fixed)
    grid = grid_around_both(small, away, transform)
    assert np.prod(grid.size) < 2e6
    expected = report.measured_labels(fixed, away, transform)["table"]
    found = report.measured_labels(small.resample(grid, labels=True), away, transform)["table"]
    assert [row["dice_after"] for row in found] == pytest.approx([row["dice_after"] for row in expected], abs=1e-6)
    assert [row["dice_before"] for row in found] == [0, 0]
    monkeypatch.setattr("pddnet.evaluation.common_grid._LARGEST", 10)
    assert grid_around_both(small, away, transform) is small.grid


def test_the_cropped_map_alone_would_flatter() -> None:
    fixed, moving = _map(PLACE), _map(PLACE + SHIFT)
    small = _cropped(fixed, 0)
    flattered = report.measured_labels(small, moving, TRANSFORMS["identity"])["table"][0]["dice_after"]
    right = report.measured_labels(fixed, moving, TRANSFORMS["identity"])["table"][0]["dice_after"]
    assert flattered > right + 0.02


def test_a_map_that_misses_wholly_has_dice_0(tmp_path: Path, capsys) -> None:
    away = sitk.TranslationTransform(3, (400.0, 0, 0))
    sitk.WriteTransform(away, str(tmp_path / "T.tfm"))
    fixed = save(_map(PLACE), tmp_path / "A.nii.gz")
    moved = _map(PLACE)
    moving = save(
        Image(moved.array, Grid(WIDE.shape, WIDE.spacing, WIDE.origin + 900, WIDE.direction)), tmp_path / "B.nii.gz"
    )
    labels = ["--fixed-labels", str(fixed), "--moving-labels", str(moving)]
    assert main(["evaluate", "--transform", str(tmp_path / "T.tfm"), *labels]) == 0
    out = capsys.readouterr().out.splitlines()
    assert next(line for line in out if line.startswith("1 ")).split()[1:3] == ["0.000", "0.000"]


def test_the_command_says_that_a_map_was_cropped(tmp_path: Path, capsys) -> None:
    sitk.WriteTransform(TRANSFORMS["shift"], str(tmp_path / "T.tfm"))
    fixed = save(_cropped(_map(PLACE)), tmp_path / "A.nii.gz")
    moving = save(_map(PLACE + SHIFT), tmp_path / "B.nii.gz")
    labels = ["--fixed-labels", str(fixed), "--moving-labels", str(moving)]
    assert main(["evaluate", "--transform", str(tmp_path / "T.tfm"), *labels]) == 0
    out = capsys.readouterr().out
    told = "its labels reach all sides of the map, as if it was cropped to them; a grid around both was measured on"
    assert f"warning   {fixed}: {told}" in out
    expected = report.measured_labels(_map(PLACE), _map(PLACE + SHIFT), TRANSFORMS["shift"])["table"][0]["dice_after"]
    row = next(line for line in out.splitlines() if line.startswith("1 ")).split()
    assert float(row[2]) == pytest.approx(expected, abs=6e-4)
