"""The weights of both methods, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pddnet.fusion.joint import dependencies, joint_weights, reach
from pddnet.fusion.similarity import local_mean, similarity_weights
from pddnet.fusion.vote import vote

POINT = (1e-3, 1e-3, 1e-3)  # a patch of one voxel
AT_MIDDLE = np.zeros((5, 5, 5), bool)
AT_MIDDLE[2, 2, 2] = True


def test_half_the_difference_has_eight_times_the_weight() -> None:
    weights = similarity_weights(np.array([[0.1], [0.2], [0.4]]), power=3.0)
    assert np.allclose(weights[:, 0], [1, 1 / 8, 1 / 64])


def test_differences_within_the_noise_count_as_equal() -> None:
    assert similarity_weights(np.array([[0.0], [1e-6]]), least=1e-4).tolist() == [[1.0], [1.0]]


def test_the_window_is_a_gaussian_with_the_given_width_along_each_axis() -> None:
    point = np.zeros((21, 21, 21), np.float32)
    point[10, 10, 10] = 1
    found = local_mean(point, (1.0, 2.0, 3.0))
    assert found.sum() == pytest.approx(1, abs=1e-4)
    for axis, sigma in enumerate((1.0, 2.0, 3.0)):
        step = [10, 10, 10]
        step[axis] = 11
        assert found[tuple(step)] / found[10, 10, 10] == pytest.approx(np.exp(-0.5 / sigma**2), rel=1e-4)


def test_dependencies_are_products_of_the_sizes_of_errors() -> None:
    errors = np.array([2.0, -3.0, 0.5], np.float32)[:, None, None, None] * np.ones((5, 5, 5), np.float32)
    found = dependencies(errors, AT_MIDDLE, POINT)
    assert np.allclose(found, [[[4, 6, 1], [6, 9, 1.5], [1, 1.5, 0.25]]])


def test_a_patch_holds_its_neighbours() -> None:
    errors = np.zeros((2, 5, 5, 5), np.float32)
    errors[:, 2, 2, 3] = 1
    width = (1.0, 1.0, 1.0)
    line = np.exp(-0.5 * np.arange(-2, 3) ** 2.0)
    line /= line.sum()
    assert np.allclose(dependencies(errors, AT_MIDDLE, width), line[2] ** 2 * line[3], rtol=1e-5)
    assert reach(1.0) == 2


def test_the_inverse_by_hand() -> None:
    """M = [[4, 0], [0, 1]]: its inverse has the diagonal 1/4 and 1."""
    found = joint_weights(np.array([[[4.0, 0.0], [0.0, 1.0]]]), alpha=0.0, beta=1.0)
    assert np.allclose(found[:, 0], [0.2, 0.8])
    with_alpha = joint_weights(np.array([[[4.0, 0.0], [0.0, 1.0]]]), alpha=0.4, beta=1.0)  # adds 0.4 * 2.5 = 1
    assert np.allclose(with_alpha[:, 0], [2 / 7, 5 / 7])


def test_two_that_err_alike_share_one_vote_so_that_joint_fusion_beats_the_majority() -> None:
    """Two copies of one wrong atlas; the right one errs elsewhere in the patch, and a little less."""
    labels = np.array([[9], [9], [4]], np.uint8)
    dependency = np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.8]]])
    weights = joint_weights(dependency, alpha=0.1)
    assert weights[0] == weights[1]
    # squared, with 0.1 * (1 + 1 + 0.64) / 3 = 0.088 on the diagonal: 1 / 2.088 each, and 1 / 0.728
    assert np.allclose(weights[:, 0] / weights[2, 0], [0.728 / 2.088, 0.728 / 2.088, 1])
    assert vote(labels, np.ones((3, 1), np.float32))[0].tolist() == [9]
    assert vote(labels, weights)[0].tolist() == [4]


def test_no_weight_is_negative_and_their_sum_is_one() -> None:
    """(1, 2) errs just as (2, 4) does: the unrestricted weights are 2 and -1."""
    found = joint_weights(np.array([[[1.0, 2.0], [2.0, 4.001]]]), alpha=0.0, beta=1.0)
    assert found[:, 0].tolist() == [1.0, 0.0]


def test_errors_within_the_noise_weigh_all_atlases_alike() -> None:
    found = joint_weights(np.array([[[1.0, 0.0], [0.0, 9.0]]]), noise=1000.0)
    assert np.allclose(found, 0.5, atol=1e-4)
    assert np.allclose(joint_weights(np.zeros((1, 2, 2))), 0.5)
