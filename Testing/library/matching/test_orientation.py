"""How the content of a scan lies: which orientation is chosen, and what a registration says and does about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from helpers import samples
from helpers.geometry import grids
from pddnet import pipeline
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS
from pddnet.core.structures import StructureMap
from pddnet.errors import InputError
from pddnet.features.label_table import NUMBER
from pddnet.matching.orientation import (
    AS_STATED,
    HEART_RIGHT_GAIN,
    LEAST_ML,
    MIRRORED,
    MIRRORED_GAIN,
    SURE,
    TURNED,
    TURNED_GAIN,
    FindOrientation,
    Orientation,
    find_mirrored,
    find_orientation,
    is_in_doubt,
    mirrored_gain,
)

GRIDS = {name: Grid((9, 10, 11), grid.spacing, grid.origin, grid.direction) for name, grid in grids().items()}


def _content(grid: Grid, orientation: Orientation) -> Image:
    """A ramp along x, y and z whose content lies as the orientation says."""
    points = (grid.points() - grid.centre) @ orientation.matrix.T
    return Image((points @ np.array([1.0, 3.0, 9.0])).astype(np.float32), grid)


def _named_ml_of(gain: float = 2.0):
    """A network that is surer, by a factor, of what rises along +x, +y and +z."""

    def named_ml(image: Image) -> float:
        points = (image.grid.points() - image.grid.centre).reshape(-1, 3)
        slopes = np.linalg.lstsq(points, image.array.ravel(), rcond=None)[0]
        return 1000.0 * gain ** float(np.allclose(slopes, [1.0, 3.0, 9.0], rtol=0.05))

    return named_ml


def _found(find: FindOrientation, image: Image, named_ml: Callable[[Image], float]) -> Orientation:
    return find(image, named_ml(image), named_ml)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("lies", [*TURNED, *MIRRORED], ids=lambda each: each.words)
def test_the_matrix_brings_the_content_to_where_the_header_says(name: str, lies: Orientation) -> None:
    grid = GRIDS[name]
    found = _found(find_orientation, _content(grid, lies), _named_ml_of())
    assert np.array_equal(found.matrix, lies.matrix)
    assert found.words == lies.words
    assert _found(find_orientation, _content(grid, AS_STATED), _named_ml_of()) is AS_STATED


def test_only_what_is_enough_surer_counts() -> None:
    grid = GRIDS["oblique"]
    for lies, gain in ((TURNED[0], TURNED_GAIN), (MIRRORED[0], MIRRORED_GAIN)):
        image = _content(grid, lies)
        assert _found(find_orientation, image, _named_ml_of(gain + 0.01)) is lies
        assert _found(find_orientation, image, _named_ml_of(gain - 0.01)) is AS_STATED


def test_a_mirrored_scan_is_the_only_one_looked_for_where_all_went_well() -> None:
    grid = GRIDS["left-handed"]
    assert _found(find_mirrored, _content(grid, MIRRORED[0]), _named_ml_of()) is MIRRORED[0]
    assert _found(find_mirrored, _content(grid, TURNED[0]), _named_ml_of()) is AS_STATED


@pytest.mark.parametrize(
    ("certainty", "share", "doubt"), [(SURE - 0.02, 1.05, True), (SURE + 0.02, 1.05, False), (SURE - 0.02, 0.9, False)]
)
def test_doubt_needs_enough_that_is_named_and_not_surely(certainty: float, share: float, doubt: bool) -> None:
    grid = Grid((20, 25, 25), np.full(3, 10.0), np.zeros(3), np.eye(3))  # of 12.5 litres
    numbers = np.zeros(grid.shape, np.uint8)
    numbers.flat[: round(share * LEAST_ML)] = 3
    named = StructureMap(Image(numbers, grid), np.where(numbers > 0, certainty, 0.1).astype(np.float16))
    assert is_in_doubt(named) is doubt


@pytest.mark.parametrize("name", GRIDS)
def test_a_heart_on_the_right_is_doubted_and_less_gain_is_asked_of_its_mirror_image(name: str) -> None:
    spacing = GRIDS[name].spacing
    for side, right in ((1.0, False), (-1.0, True)):
        named = _chest(Grid((60, 60, 60), spacing / spacing.mean() * 4.0, np.zeros(3), GRIDS[name].direction), side)
        assert is_in_doubt(named) is right
        assert mirrored_gain(named) == (HEART_RIGHT_GAIN if right else MIRRORED_GAIN)
    image = _content(GRIDS[name], MIRRORED[0])
    surer = _named_ml_of(1.005)
    assert find_mirrored(image, surer(image), surer, HEART_RIGHT_GAIN) is MIRRORED[0]
    assert find_mirrored(image, surer(image), surer, MIRRORED_GAIN) is AS_STATED


def _chest(grid: Grid, side: float) -> StructureMap:
    """A spine, leaning by a quarter, and a heart of 0.5 l, 60 mm in front of it, 20 mm to one side; surely named."""
    x, y, z = np.moveaxis(grid.points() - grid.centre, -1, 0)
    numbers = np.zeros(grid.shape, np.uint8)
    numbers[np.hypot(x - z / 4, y - 30) < 15] = NUMBER["vertebra_T8"]
    numbers[np.hypot(np.hypot(x - z / 4 - 20 * side, y + 30), z) < 50] = NUMBER["heart"]
    return StructureMap(Image(numbers, grid), np.where(numbers > 0, 0.95, 0.1).astype(np.float16))


def test_the_surest_counts_not_the_one_of_the_smallest_gain() -> None:
    """Seen in a mirror, a prone patient lies nearly as he should: the network is nearly as sure of that."""
    image = _content(GRIDS["oblique"], TURNED[0])
    surest = _named_ml_of(1.3)

    def named_ml(shown: Image) -> float:
        mirrored = Image(shown.array, _mirrored(shown.grid))
        return max(surest(shown), 0.95 * surest(mirrored))

    assert _found(find_orientation, image, named_ml) is TURNED[0]


def _mirrored(grid: Grid) -> Grid:
    """The grid mirrored in the plane of x = 0 through its middle."""
    mirror = np.diag([-1.0, 1.0, 1.0])
    return Grid(grid.shape, grid.spacing, grid.centre + mirror @ (grid.origin - grid.centre), mirror @ grid.direction)


QUICK = dataclasses.replace(PRESETS["fast"], stages=())


def test_a_mirrored_scan_fails_the_result_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = samples.small_pair()
    lies = {id(pair[0]): AS_STATED, id(pair[1]): MIRRORED[0]}
    monkeypatch.setattr(pipeline, "is_in_doubt", lambda named: True)
    for find in ("find_mirrored", "find_orientation"):
        monkeypatch.setattr(pipeline, find, lambda image, *more: lies[_same(image, pair)])
    monkeypatch.setattr(pipeline, "resemble_in_detail", lambda measures: False)
    verdict = pipeline.register(*pair, QUICK).verdict
    assert verdict.status == "failed"
    assert verdict.reasons[0] == (
        "moving volume: its content looks mirrored, left for right; check how the file was made"
    )


def _same(image: Image, pair: tuple[Image, Image]) -> int:
    """The identity of the one of the pair that has this grid."""
    return next(id(each) for each in pair if each.grid.same_as(image.grid))


@pytest.mark.parametrize("matrix", [np.diag([-1.0, 1.0, 1.0]), np.diag([1.0, 1.0, 0.0])])
def test_an_initial_transform_that_mirrors_is_refused(matrix: np.ndarray) -> None:
    import SimpleITK as sitk

    start = sitk.AffineTransform(3)
    start.SetMatrix(matrix.ravel().tolist())
    with pytest.raises(InputError, match="initial transform: it mirrors or folds space"):
        pipeline.register(*samples.small_pair(), QUICK, initial_transform=start)
