"""The marrow cavity is found along a slanted bone in either modality, and gaps are measured across the axis."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bone_marrow import follow, gaps_of_shafts, marrow_in_ct, marrow_in_mr
from pddnet.core.grid import Grid
from pddnet.core.image import Image

GRID = Grid((30, 60, 70), np.array([1.5, 0.8, 3.0]), np.array([10.0, -20.0, 400.0]), np.diag([-1.0, 1.0, 1.0]))


def _middles(k: np.ndarray) -> np.ndarray:
    """Voxels (N, 3) of the bone's middle in slices k."""
    return np.stack([25 + 0.5 * k, 30 - 0.3 * k, k], axis=-1)


def _bone(inside: float, cortex: float, outside: float) -> Image:
    """A slanted tube; in every slice also a bright spot that does not move with it."""
    k, j, i = np.indices(GRID.shape)
    away = np.hypot(i - 25 - 0.5 * k, j - 30 + 0.3 * k)
    values = np.select([away < 4, away < 8], [inside, cortex], outside).astype(np.float32)
    values[:, 2:8, 60:66] = inside
    return Image(values, GRID)


@pytest.mark.parametrize(
    ("image", "marrow"), [(_bone(-50, 900, 40), marrow_in_ct), (_bone(900, 20, 200), marrow_in_mr)]
)
def test_the_middle_of_the_cavity_is_found_slice_by_slice(image: Image, marrow) -> None:
    found = follow(image, marrow, (26, 30), (2, 28))
    expected = GRID.index_to_point(_middles(np.arange(2.0, 28.0)))
    assert found.shape == (26, 3)
    assert np.linalg.norm(found - expected, axis=1).max() < 0.4  # mm


def test_it_ends_where_the_cavity_does() -> None:
    image = _bone(-50, 900, 40)
    image.array[12:] = 40
    assert len(follow(image, marrow_in_ct, (26, 30), (2, 28))) == 10


def test_a_shift_across_is_measured_and_one_along_the_line_is_not() -> None:
    line = GRID.index_to_point(_middles(np.arange(0.0, 30.0)))
    inner = line[5:20]
    assert gaps_of_shafts(inner, line, lambda p: p + [3.0, -4.0, 0.0]) == pytest.approx(5.0)
    step = line[1] - line[0]
    assert gaps_of_shafts(inner, line, lambda p: p + 2 * step) == pytest.approx(0.0, abs=1e-9)
    assert gaps_of_shafts(inner, line[::-1], lambda p: p) == pytest.approx(0.0, abs=1e-9)
