"""Votes with weights, counted by hand."""

from __future__ import annotations

import numpy as np

from pddnet.fusion.vote import disagreement, vote


def test_the_largest_sum_of_weights_wins_not_the_largest_weight() -> None:
    labels = np.array([[7], [3], [3]], np.uint16)
    fused, share = vote(labels, np.array([[0.5], [0.3], [0.3]], np.float32))
    assert fused.tolist() == [3]
    assert fused.dtype == np.uint16
    assert np.allclose(share, 0.6 / 1.1)


def test_at_a_tie_the_first_atlas_decides_and_without_votes_nobody() -> None:
    labels = np.array([[2, 5, 4], [1, 6, 4]], np.uint8)
    fused, share = vote(labels, np.array([[1, 1, 0], [1, 2, 0]], np.float32))
    assert fused.tolist() == [2, 6, 0]
    assert np.allclose(share, [1 / 2, 2 / 3, 0])


def test_sums_that_differ_by_rounding_only_are_a_tie() -> None:
    labels = np.array([[2], [1], [1], [1]], np.uint8)
    weights = np.array([[0.3], [0.1], [0.1], [0.1000001]], np.float32)
    assert weights[1:].sum() > weights[0]
    assert vote(labels, weights)[0].tolist() == [2]


def test_only_atlases_that_see_the_place_disagree() -> None:
    labels = np.array([[1, 1], [2, 2], [1, 3], [0, 4]])
    seen = np.array([[True, False], [True, False], [True, False], [False, False]])
    assert np.allclose(disagreement(labels, seen, np.array([1, 0])), [1 / 3, 0])
