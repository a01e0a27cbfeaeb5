"""The statistics of the validation, against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.logistic import fit, left_out
from benchmarks.scores import auroc, auroc_interval, interval, spearman


def test_auroc_counts_the_pairs_in_order() -> None:
    # wrong at 0.9, 0.4; right at 0.1, 0.4, 0.5: 3 of 3 in order, then 1 and a tie: (3 + 1.5) / 6
    assert auroc([0.9, 0.1, 0.4, 0.4, 0.5], [True, False, True, False, False]) == pytest.approx(4.5 / 6)
    assert np.isnan(auroc([1.0, 2.0], [True, True]))


def test_the_interval_holds_the_value() -> None:
    rng = np.random.default_rng(1)
    wrong = rng.random(60) < 0.4
    score = wrong + rng.normal(size=60)
    low, high = auroc_interval(score, wrong)
    assert low < auroc(score, wrong) < high < 1


def test_spearman() -> None:
    assert spearman([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_the_bias_of_a_model_without_information_is_the_log_odds() -> None:
    wrong = np.array([True] + [False] * 3)
    model = fit(np.ones((4, 1)), wrong, np.ones(1))
    assert model.bias == pytest.approx(np.log(1 / 3), abs=1e-3)
    assert model.weights == pytest.approx([0])


def test_weights_come_in_the_units_of_the_input() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(50, 10, (4000, 2))
    chance = 1 / (1 + np.exp(-0.2 * (values[:, 0] - 50)))
    model = fit(values, rng.random(4000) < chance, np.ones(2), penalty=1e-6)
    assert model.weights == pytest.approx([0.2, 0], abs=0.02)
    assert model.logit([[60, 50]])[0] - model.logit([[50, 50]])[0] == pytest.approx(2, abs=0.2)


def test_a_weight_keeps_the_sign_that_it_must_have() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
    wrong = np.array([False, False, True, True])
    assert fit(values, wrong, np.array([1, 1])).weights[0] > 0.2
    model = fit(values, wrong, np.array([-1, 1]))
    assert model.weights[0] == 0


def test_a_case_is_judged_without_its_scans() -> None:
    # the value that tells right from wrong is another in group c: its own cases would have to be seen to get it right
    values = np.array([[0.0], [1.0], [0.1], [0.9], [1.0], [0.0]])
    wrong = np.array([False, True, False, True, False, True])
    logits = left_out(values, wrong, [("a", "b")] * 4 + [("c",)] * 2, np.ones(1))
    assert logits[4] > 0 > logits[5]


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    low, high = interval(np.mean, values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
