"""Structures and descriptors tell where oblique scans lie on each other, also where some or many of them are wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from geometry import grids, rotation
from trunk import MIDDLE, ct, oblique_grid

from pddnet.features.semantic import SPACING
from pddnet.grid import Grid
from pddnet.image import Image
from pddnet.places import SEEN, align_by_places, fellows, shift_of_structures
from pddnet.scan import Affine, Scan, prepare
from pddnet.tensors import to_tensor

MATRIX = rotation(4, -6, 9) @ np.diag([1.1, 0.92, 1.05])
SHIFT = np.array([140.0, -75.0, 410.0])
CHANNELS, LENGTH = 12, 3.0


def _map() -> Affine:
    """Fixed to moving points: the trunk turned and stretched about its middle, and far away."""
    return Affine(MATRIX, MIDDLE + SHIFT - MATRIX @ MIDDLE)


def _descriptors(points: np.ndarray) -> np.ndarray:
    """(..., CHANNELS) of length 1 that tell places of the fixed scan apart."""
    rng = np.random.default_rng(0)
    waves = np.cos((points - MIDDLE) @ rng.normal(0, 0.03, (3, CHANNELS)) + rng.uniform(0, 6, CHANNELS))
    return waves / np.linalg.norm(waves, axis=-1, keepdims=True)


def _described(image: Image, back: Affine, wrong: float = 0.0) -> Scan:
    """A scan with the descriptors of the places that `back` takes its points to; a share of them random."""
    scan = prepare(image, 4.0, torch.device("cpu"))
    lattice = scan.box.isotropic(SPACING)
    found = _descriptors(back.points(lattice.points()))
    rng = np.random.default_rng(1)
    random = rng.normal(size=found.shape)
    random /= np.linalg.norm(random, axis=-1, keepdims=True)
    block = np.kron(rng.random([-(-n // 8) for n in lattice.shape]) < wrong, np.ones((8, 8, 8)))
    block = block[tuple(map(slice, lattice.shape))][..., None] > 0
    codes = LENGTH * np.moveaxis(np.where(block, random, found), -1, 0).astype(np.float32)
    extra = torch.full((2, *lattice.shape), 7.0)  # other codes, which do not count
    return dataclasses.replace(scan, codes=torch.cat([extra, to_tensor(codes)]), codes_grid=lattice)


def _moved_scan() -> Image:
    """The trunk under `_map`, on an oblique grid of its own: the grid is moved along."""
    image = ct(oblique_grid())
    grid, there = image.grid, _map()
    left, _, right = np.linalg.svd(there.matrix)
    turn = left @ right  # without the stretch: a grid has no shear
    return Image(
        image.array, dataclasses.replace(grid, origin=there.points(grid.origin), direction=turn @ grid.direction)
    )


@pytest.mark.parametrize(("wrong", "error"), [(0.0, 7.0), (0.4, 10.0)])
def test_a_known_map_is_found(wrong: float, error: float) -> None:
    there = _map()
    inverse = np.linalg.inv(there.matrix)
    fixed = _described(ct(oblique_grid()), Affine.identity(), wrong)
    moving = _described(_moved_scan(), Affine(inverse, -inverse @ there.shift))
    found = align_by_places(fixed, moving, LENGTH)
    points = MIDDLE + np.random.default_rng(2).uniform(-50, 50, (200, 3))
    away = np.linalg.norm(found.points(points) - there.points(points), axis=1)
    assert away.max() < error


def test_too_few_places_give_no_map() -> None:
    image = ct(oblique_grid((10, 10, 10)))
    fixed = _described(image, Affine.identity())
    assert align_by_places(fixed, fixed, LENGTH) is None


def test_fellows_are_the_most_alike_both_ways() -> None:
    rows = torch.nn.functional.normalize(torch.randn(40, CHANNELS, generator=torch.manual_seed(0)), dim=1)
    order = torch.randperm(40, generator=torch.manual_seed(1))
    found, sure = fellows(rows, rows[order])
    assert np.array_equal(order.numpy()[found], np.arange(40))
    assert (sure > 0.1).all() and (sure <= 1).all()
    _, unsure = fellows(0.2 * rows, 0.2 * rows[order])  # short descriptors say little
    assert unsure.max() < 0.5 * sure.min()


STRENGTH = 4.0
MIDDLES = np.array([[-60.0, 20, 40], [55, -30, 10], [0, 50, -70], [30, 0, 80], [-40, -50, -20], [10, 60, 20]])


def _coded(grid: Grid, middles: np.ndarray, radius: float = 18.0) -> Scan:
    """Balls around the middles, of both signs of a channel in turn, behind a channel that does not count."""
    codes = np.zeros((1 + len(middles) // 2, *grid.shape), np.float32)
    codes[0] = 7.0
    for n, middle in enumerate(middles):
        here = np.linalg.norm(grid.points() - middle, axis=-1) < radius
        codes[1 + n // 2][here] = STRENGTH if n % 2 else -STRENGTH
    return Scan(torch.zeros(3, *grid.shape), to_tensor(codes), grid, grid, grid, False)


def _around(name: str, centre: np.ndarray) -> Grid:
    """200 to 300 mm around a point, axes as in `geometry`."""
    axes, shape, spacing = grids()[name].direction, (70, 66, 60), np.array([4.0, 4.4, 4.2])
    middle = axes @ ((np.array(shape[::-1]) - 1) / 2 * spacing)
    return Grid(shape, spacing, centre - middle, axes)


@pytest.mark.parametrize("name", grids())
def test_structures_find_the_shift_although_one_is_wrong(name: str) -> None:
    theirs = MIDDLES + SHIFT
    theirs[3] += [90.0, -40.0, 30.0]
    fixed, moving = _coded(_around(name, np.zeros(3)), MIDDLES), _coded(_around("oblique", SHIFT), theirs)
    found = shift_of_structures(fixed, moving, slice(1, 4), STRENGTH)
    assert np.linalg.norm(found - SHIFT) < 4.0  # their mean is 17 mm off
    assert np.linalg.norm(shift_of_structures(moving, fixed, slice(1, 4), STRENGTH) + SHIFT) < 4.0


def test_structures_that_one_scan_lacks_or_hardly_shows_do_not_count() -> None:
    grid = _around("left-handed oblique", np.zeros(3))
    whole = _coded(grid, MIDDLES)
    assert np.abs(shift_of_structures(whole, _coded(grid, MIDDLES[:4]), slice(1, 3), STRENGTH)).max() < 1e-6
    assert shift_of_structures(whole, _coded(grid, MIDDLES[:2]), slice(1, 2), STRENGTH) is None
    tiny = _coded(grid, MIDDLES, radius=8.0)
    assert 0 < int((tiny.codes[1] > 0).sum()) < SEEN
    assert shift_of_structures(whole, tiny, slice(1, 4), STRENGTH) is None
    unsure = dataclasses.replace(whole, codes=0.4 * whole.codes)
    assert shift_of_structures(whole, unsure, slice(1, 4), STRENGTH) is None
