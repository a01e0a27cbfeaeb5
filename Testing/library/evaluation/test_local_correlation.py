"""The local correlation coefficient: by hand, under a known transform, and where the scans show nothing in common."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from helpers.geometry import rotation
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.evaluation.local_correlation import NOISE_HU, WINDOW_MM, local_correlation

SPACING = np.array([4.0, 5.0, 6.0])
DIRECTION = rotation(8, -12, 20) @ np.diag([1.0, -1.0, 1.0])
GRID = Grid((30, 34, 40), SPACING, (20.0, -50.0, 300.0), DIRECTION)
SHIFT = np.array([7.0, -5.0, 9.0])  # LPS mm: fixed to moving


def _ct(shift: np.ndarray | float = 0.0, factor: float = 1.0, grid: Grid = GRID) -> Image:
    """A body with smooth contrast of some 70 HU in air, moved by `shift`."""
    points = grid.points() - shift - GRID.centre
    x, y, z = np.moveaxis(points, -1, 0)
    tissue = 40 + factor * 100 * np.sin(x / 9) * np.cos(y / 11) * np.sin(z / 8)
    inside = np.linalg.norm(points / [60, 60, 70], axis=-1) < 1
    return Image(np.where(inside, tissue, -1000.0).astype(np.float32), grid)


def test_a_scan_is_like_itself_and_unlike_its_negative_within() -> None:
    assert local_correlation(_ct(), _ct()) > 0.9
    assert local_correlation(_ct(), _ct(factor=0.5)) > 0.8  # a weaker contrast correlates all the same
    assert local_correlation(_ct(), _ct(factor=-1.0)) < 0.3  # the skin is still the same
    assert local_correlation(_ct(), _ct(factor=0.0)) < 0.7  # at the skin alone


def test_the_right_transform_brings_it_back() -> None:
    translation = sitk.TranslationTransform(3, SHIFT.tolist())
    moved = _ct(SHIFT)
    before, after = local_correlation(_ct(), moved), local_correlation(_ct(), moved, translation)
    wrong = local_correlation(_ct(), moved, sitk.TranslationTransform(3, (-SHIFT).tolist()))
    assert after > 0.75 > before + 0.2
    assert after > wrong + 0.3


def test_by_the_formula() -> None:
    """In the middle, where both bodies fill the window; every sum written out."""
    fixed, moving = _ct(), _ct(SHIFT)

    def windowed(x: np.ndarray) -> np.ndarray:
        sigma = WINDOW_MM / SPACING[::-1]
        return ndimage.gaussian_filter(x, sigma, mode="constant", truncate=3.0)

    f, m = (np.clip(each.array.astype(float), -200, 300) for each in (fixed, moving))
    share = windowed(np.ones(GRID.shape))
    mf, mm = windowed(f) / share, windowed(m) / share
    covariance = windowed(f * m) / share - mf * mm
    vf, vm = windowed(f * f) / share - mf**2, windowed(m * m) / share - mm**2
    map_ = covariance / np.sqrt((vf + NOISE_HU**2) * (vm + NOISE_HU**2))
    body = fixed.array > -500
    assert local_correlation(fixed, moving) == pytest.approx(map_[body].mean(), abs=0.03)  # the body is closed a little


def test_nothing_in_common_is_nothing() -> None:
    far = Grid(GRID.shape, GRID.spacing, GRID.origin + [900.0, 0.0, 0.0], GRID.direction)
    assert math.isnan(local_correlation(_ct(), _ct(np.array([900.0, 0, 0]), grid=far)))
