"""The scores of the network's naming, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.naming_scores import dice_of, level_errors, paired_differences, with_interval
from pddnet.features.label_table import NUMBER

LIVER, SPLEEN = NUMBER["liver"], NUMBER["spleen"]


def _boxes(*boxes: tuple[int, slice]) -> np.ndarray:
    array = np.zeros((4, 5, 40), np.int64)
    for number, along in boxes:
        array[:, :, along] = number
    return array


def test_dice_where_the_truth_is_known() -> None:
    truth = _boxes((LIVER, slice(0, 10)), (-1, slice(10, 15)))
    named = _boxes((LIVER, slice(5, 15)), (SPLEEN, slice(20, 30)))
    assert dice_of(named, truth) == {"liver": pytest.approx(2 * 5 / 15)}


def test_what_is_too_small_does_not_count() -> None:
    truth = _boxes((LIVER, slice(0, 10)))
    truth[0, 0, 20] = SPLEEN
    assert dice_of(truth, truth) == {"liver": 1.0}


def test_levels_are_counted_towards_the_feet() -> None:
    t12, l1, l2 = (NUMBER[f"vertebra_{level}"] for level in ("T12", "L1", "L2"))
    truth = _boxes((t12, slice(0, 5)), (l1, slice(5, 10)), (l2, slice(10, 15)))
    named = _boxes((l1, slice(0, 5)), (l1, slice(5, 8)), (l2, slice(8, 10)), (LIVER, slice(10, 15)))
    assert level_errors(named, truth) == [1, 0]  # L2 is named no vertebra


def test_differences_are_of_the_same_scan() -> None:
    before = [{"scan": "a", "organs": 0.5}, {"scan": "b", "organs": None}, {"scan": "c", "organs": 0.2}]
    after = [{"scan": "c", "organs": 0.6}, {"scan": "a", "organs": 0.4}, {"scan": "b", "organs": 0.9}]
    assert paired_differences(before, after, "organs") == pytest.approx([0.4, -0.1])


def test_a_mean_with_its_interval() -> None:
    assert with_interval([0.5, None, 0.5]) == "0.500 (0.500 to 0.500)"
    assert with_interval([None]) == "-"
