"""The features of the error see a shift, on any grid; what was not measured is said to be missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers.geometry import rotation
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.matching.error_features import FLOOR_MM, NAMES, NEAR_MM, NOISE_HU, error_features
from pddnet.matching.stage import StageResult
from pddnet.tensor.convert import to_array, to_tensor
from pddnet.tensor.scan import Scan

MIDDLE = np.array([31.0, -72.0, 115.0])
DIRECTION = rotation(13, -21, 34) @ np.diag([1.0, -1.0, 1.0])  # oblique and left-handed
SPACING = np.array([2.5, 3.0, 4.0])
NO_NAMES = {"log_spread", "log_inconsistency", "log_update", "codes_disagree", "wide_codes_disagree"}


def _grid(shape: tuple[int, int, int]) -> Grid:
    return Grid(shape, SPACING, MIDDLE - DIRECTION @ ((np.array(shape[::-1]) - 1) / 2 * SPACING), DIRECTION)


LATTICE = _grid((20, 24, 28))
ROOM = _grid((32, 36, 40))  # the moving scan shows more


def _hu(points: np.ndarray) -> np.ndarray:
    """HU of waves of about 4 cm."""
    x, y, z = np.moveaxis(points - MIDDLE, -1, 0)
    return 100.0 * np.sin(x / 7 + 0.4) * np.cos(y / 8) + 90.0 * np.sin(z / 6 - 0.7)


def _scan(grid: Grid, shift: np.ndarray | None = None) -> Scan:
    """The waves `shift` mm (LPS) away; all of it is body and in view."""
    hu = _hu(grid.points() - (0 if shift is None else shift))
    values = to_tensor(np.stack([hu, np.ones_like(hu), np.ones_like(hu)]))
    return Scan(values, values[:0], grid, grid, grid, False)


def _features(shift: np.ndarray, affine: Affine, steps: list[StageResult] | None = None) -> dict[str, np.ndarray]:
    fixed, moving = _scan(LATTICE), _scan(ROOM, shift)
    field = torch.zeros((3, *LATTICE.shape))
    warped = moving.warped(LATTICE, affine, field)
    found = error_features(fixed, warped, (fixed, moving), affine, field, steps or [])
    assert found.shape == (len(NAMES), *LATTICE.shape)
    return dict(zip(NAMES, to_array(found), strict=True))


INNER = (slice(7, -7),) * 3
SHIFT = np.array([3.0, -2.0, 2.5])  # mm, LPS


def test_a_shift_raises_what_tells_of_errors_and_the_right_transform_lowers_it() -> None:
    wrong = _features(SHIFT, Affine.identity())
    right = _features(SHIFT, Affine(np.eye(3), SHIFT))
    for name in ("mismatch", "wide_mismatch", "shifted_fits_better", "peak_offset", "intensity_difference"):
        assert wrong[name][INNER].mean() > right[name][INNER].mean() + 0.05, name
    assert right["mismatch"][INNER].max() < 0.1  # what interpolation leaves
    assert right["shifted_fits_better"][INNER].max() < 0


def test_the_mismatch_is_one_less_the_correlation_in_the_window() -> None:
    found = _features(SHIFT, Affine.identity())
    f, m = _hu(LATTICE.points()), _hu(LATTICE.points() - SHIFT)
    size = [2 * round(NEAR_MM / float(mm)) + 1 for mm in SPACING[::-1]]

    def mean(x: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(x, size, mode="nearest")

    scale = np.sqrt((mean(f * f) - mean(f) ** 2 + NOISE_HU**2) * (mean(m * m) - mean(m) ** 2 + NOISE_HU**2))
    expected = 1 - (mean(f * m) - mean(f) * mean(m)) / scale
    assert found["mismatch"][INNER] == pytest.approx(expected[INNER], abs=0.05)  # the moving scan is interpolated
    assert np.ptp(expected[INNER]) > 0.3


def test_what_was_not_measured_is_no_number() -> None:
    missing = {name for name, values in _features(SHIFT, Affine.identity()).items() if np.isnan(values).any()}
    assert missing == NO_NAMES


def test_the_lengths_are_those_of_the_last_stage_and_of_the_last_inconsistency() -> None:
    def step(mm: float, inconsistency: float | None) -> StageResult:
        at = torch.full(LATTICE.shape, mm)
        gap = None if inconsistency is None else torch.full(LATTICE.shape, inconsistency)
        return StageResult(LATTICE, torch.stack([2 * at, 2 * at, at]), at, gap)

    found = _features(SHIFT, Affine.identity(), [step(4.0, 6.0), step(1.5, None)])
    expected = {"log_spread": 1.5, "log_inconsistency": 6.0, "log_update": 4.5}  # |(3, 3, 1.5)| = 4.5
    for name, mm in expected.items():
        assert found[name] == pytest.approx(np.log(mm + FLOOR_MM), abs=1e-5), name


def test_the_end_of_the_moving_view_is_near_where_it_is() -> None:
    fixed, moving = _scan(LATTICE), _scan(ROOM)
    moving.values[2, :16] = 0  # along k, from the middle of the room
    affine, field = Affine.identity(), torch.zeros((3, *LATTICE.shape))
    warped = moving.warped(LATTICE, affine, field)
    found = to_array(error_features(fixed, warped, (fixed, moving), affine, field, []))[
        NAMES.index("outside_moving_view")
    ]
    assert found[2].min() > 0.95
    assert found[10].mean() == pytest.approx(0.5, abs=0.1)
    assert found[-1].max() < 0.05
