"""The fit finds known linear maps to a tenth of a voxel, in every geometry, and is not drawn away by what moved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.geometry import grids, rotation
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.linear import projected
from pddnet.matching.linear_refinement import LEVELS, ContrastFit, MaskedScan, refine_linear
from pddnet.tensor.execution import ALONE
from pddnet.tensor.scan import prepare

MIDDLE = np.array([31.0, -72.0, 115.0])
STRETCH = np.array([[1.03, 0.02, 0.0], [-0.01, 0.98, 0.015], [0.01, 0.0, 1.05]])
TRUE = {
    "rigid": rotation(4.0, -6.0, 5.0),
    "similarity": rotation(4.0, -6.0, 5.0) * 1.04,
    "affine": rotation(4.0, -6.0, 5.0) @ STRETCH,
}
SHIFT = np.array([7.0, -4.0, 5.0])
CORNERS = MIDDLE + 50.0 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])


def _true(kind: str) -> Affine:
    """Map of fixed to moving points about the middle of the body."""
    return Affine(TRUE[kind], MIDDLE + SHIFT - TRUE[kind] @ MIDDLE)


def _tissue(points: np.ndarray) -> np.ndarray:
    """HU of a ball with a skin of some millimetres, and waves of many lengths and directions in it."""
    rng, offsets = np.random.default_rng(7), points - MIDDLE
    hu = np.full(points.shape[:-1], 40.0)
    for length_mm in np.geomspace(16.0, 80.0, 14):
        ray = rng.normal(size=3)
        hu += 45.0 * np.sin(offsets @ (ray / np.linalg.norm(ray)) * (2 * np.pi / length_mm) + rng.uniform(0, 6))
    depth = 62.0 - np.linalg.norm(offsets / [1.0, 0.9, 1.1], axis=-1)
    inside = 1.0 / (1.0 + np.exp(-depth / 1.5))
    return inside * hu - 1000.0 * (1.0 - inside)


def _grid(like: Grid, spacing: tuple[float, float, float], centre: np.ndarray) -> Grid:
    """A grid of 180 mm around a centre, with the axes of another one."""
    size = np.round(180.0 / np.array(spacing)).astype(int)
    origin = centre - like.direction @ ((size - 1) / 2 * spacing)
    return Grid(tuple(size[::-1]), np.array(spacing), origin, like.direction)


def _pair(kind: str, fixed_axes: str, moving_axes: str) -> tuple[Image, Image]:
    """Both scans, painted by formula with their own noise."""
    axes, rng = grids(), np.random.default_rng(5)
    fixed = _grid(axes[fixed_axes], (3.0, 2.6, 3.4), MIDDLE)
    moving = _grid(axes[moving_axes], (2.8, 3.2, 3.0), MIDDLE + SHIFT)
    back = np.linalg.inv(TRUE[kind])
    there = (moving.points() - _true(kind).shift) @ back.T
    volumes = ((_tissue(fixed.points()), fixed), (_tissue(there), moving))
    return tuple(Image((hu + rng.normal(0, 15, grid.shape)).astype(np.float32), grid) for hu, grid in volumes)


def _whole(image: Image, spacing_mm: float) -> MaskedScan:
    scan = prepare(image, spacing_mm, torch.device("cpu"))
    return MaskedScan(scan, scan.view)


def _levels(pair: tuple[Image, Image]) -> dict[float, tuple[MaskedScan, MaskedScan]]:
    return {each.spacing_mm: tuple(_whole(image, each.spacing_mm) for image in pair) for each in LEVELS}


def _gap(found: Affine, kind: str) -> float:
    """The largest distance in mm of a corner from where it should come to lie."""
    return float(np.linalg.norm(found.points(CORNERS) - _true(kind).points(CORNERS), axis=-1).max())


@pytest.mark.parametrize("kind", TRUE)
@pytest.mark.parametrize("axes", [("oblique", "left-handed"), ("permuted oblique", "coronal")])
def test_it_finds_a_map_from_millimetres_away(kind: str, axes: tuple[str, str]) -> None:
    start = projected(Affine(np.eye(3), np.zeros(3)), kind, MIDDLE)
    assert _gap(start, kind) > 8.0
    found = refine_linear(_levels(_pair(kind, *axes)), [start], kind, ALONE)
    assert _gap(found, kind) < 0.4
    if kind == "rigid":
        assert found.matrix @ found.matrix.T == pytest.approx(np.eye(3), abs=1e-9)


def test_what_moved_otherwise_hardly_drags_it() -> None:
    """A third of the body lies 18 mm elsewhere: the mean of all would be 5 mm off."""
    fixed, moving = _pair("rigid", "oblique", "coronal")
    back = np.linalg.inv(TRUE["rigid"])
    there = (moving.grid.points() - _true("rigid").shift) @ back.T
    side = there[..., 0] > MIDDLE[0] + 15.0
    array = np.where(side, _tissue(there + [0.0, 12.0, -13.5]), moving.array).astype(np.float32)
    found = refine_linear(_levels((fixed, Image(array, moving.grid))), [Affine.identity()], "rigid", ALONE)
    assert _gap(found, "rigid") < 1.2


def test_the_best_of_several_starts_is_refined() -> None:
    starts = [Affine(np.eye(3), shift) for shift in np.array([[60.0, 40, -50], [4.0, 0, 0], [-70.0, 0, 30]])]
    found = refine_linear(_levels(_pair("rigid", "oblique", "coronal")), starts, "rigid", ALONE)
    assert _gap(found, "rigid") < 0.3


def test_a_start_is_kept_that_nothing_beats() -> None:
    """The moving scan shows none of the fixed one's tissue: any step would be as good."""
    fixed, moving = _pair("rigid", "oblique", "coronal")
    nowhere = Image(moving.array, Grid(moving.grid.shape, moving.grid.spacing, moving.grid.origin + 900, np.eye(3)))
    start = Affine(TRUE["rigid"], np.array([1.0, 2.0, 3.0]))
    found = refine_linear(_levels((fixed, nowhere)), [start], "rigid", ALONE)
    assert (found.matrix, found.shift) == (pytest.approx(start.matrix), pytest.approx(start.shift))


def test_only_voxels_in_the_mask_are_compared() -> None:
    """The masked half follows one map, the other half another one."""
    fixed, moving = _pair("rigid", "oblique", "coronal")
    scans = {}
    for spacing, (here, there) in _levels((fixed, moving)).items():
        points = here.scan.grid.points()
        mask = torch.from_numpy((points[..., 2] > MIDDLE[2] + 5.0).astype(np.float32))
        scans[spacing] = (MaskedScan(here.scan, here.compared * mask), there)
    fit = ContrastFit(*scans[LEVELS[-1].spacing_mm], "rigid", LEVELS[-1])
    assert fit.score(_true("rigid")) > 0.75
    assert _gap(refine_linear(scans, [Affine.identity()], "rigid", ALONE), "rigid") < 0.5


def test_a_mask_beside_the_body_changes_nothing() -> None:
    """There is nothing to compare."""
    scans = {}
    for spacing, (here, there) in _levels(_pair("rigid", "oblique", "coronal")).items():
        scans[spacing] = (MaskedScan(here.scan, torch.zeros_like(here.compared)), there)
    found = refine_linear(scans, [_true("rigid")], "rigid", ALONE)
    assert _gap(found, "rigid") == pytest.approx(0.0)
