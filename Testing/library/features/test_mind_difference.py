"""Differences by MIND between a fixed scan and warped ones, on oblique grids."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from helpers import samples
from pddnet.features.mind_difference import UNSEEN, MindDifference


def _inside(difference) -> np.ndarray:
    return difference.array[samples.ball(difference.grid, samples.FIXED.centre, 15.0)]


def test_the_right_transform_has_the_smallest_difference() -> None:
    """The moving body is SHIFT away, on another oblique, left-handed grid."""
    fixed, moving = samples.bent_pair()[0], samples.small_pair()[1]
    measure = MindDifference(samples.small_pair()[0])
    right = measure(moving, sitk.TranslationTransform(3, samples.SHIFT.tolist()))
    wrong = measure(moving, sitk.TranslationTransform(3, (samples.SHIFT + [6.0, 0.0, 0.0]).tolist()))
    assert _inside(right).mean() < 0.5 * _inside(wrong).mean()
    assert not MindDifference(fixed)(fixed, sitk.Transform()).array.any()


def test_what_the_moving_scan_does_not_show_differs_most() -> None:
    fixed = samples.small_pair()[0]
    measure = MindDifference(fixed)
    away = measure(fixed, sitk.TranslationTransform(3, (1000.0, 0.0, 0.0)))
    assert (away.array == UNSEEN).all()
    beside = measure(fixed, sitk.TranslationTransform(3, (fixed.grid.axes @ [13, 0, 0]).tolist()))  # half of it
    unseen = beside.array == UNSEEN
    i = beside.grid.shape[2]
    assert unseen[:, :, i // 2 + 2 :].all()
    assert not unseen[:, :, : i // 2 - 2].any()
