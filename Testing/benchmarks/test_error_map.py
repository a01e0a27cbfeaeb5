"""The expected error is calibrated, and learned without the scans that are left out."""

from __future__ import annotations

import numpy as np
import pytest

from pddnet.matching.error_features import NAMES
from training import error_map
from training.error_map import Case, cross_predicted, quantile_of_ratios


def _case(name: str, *people: str, seed: int = 0) -> Case:
    """Errors that the first feature tells."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(200, len(NAMES)))
    error = np.exp(1 + 1.2 * features[:, 0]) * rng.lognormal(0, 0.2, 200)
    return Case(name, people, False, features.astype(np.float32), features.mean(0).astype(np.float32), error)


def test_the_factor_puts_80_percent_of_the_errors_below() -> None:
    case = _case("sp:a", "a")
    factor = quantile_of_ratios([case], [np.full(200, 2.0)])
    assert np.mean(case.error <= 2.0 * factor) == pytest.approx(0.8, abs=0.01)


def test_every_case_weighs_the_same_however_many_points_it_has() -> None:
    many = Case("sp:a", ("a",), False, np.zeros((900, 1)), np.zeros(1), np.full(900, 1.0))
    few = Case("sp:b", ("b",), False, np.zeros((10, 1)), np.zeros(1), np.full(10, 5.0))
    assert quantile_of_ratios([many, few], [np.ones(900), np.ones(10)]) == pytest.approx(5.0)


def test_a_case_is_predicted_by_models_that_know_none_of_its_people(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [_case(f"sp:{n}", *people, seed=n) for n, people in enumerate(["a", "b", "c", "ab", "cd", "e", "f"])]
    known: list[set[str]] = []
    predicted: list[tuple[str, ...]] = []

    def trained(some: list[Case], factor: float) -> None:
        known.append({name for case in some for name in case.people})

    def predictions(model: None, case: Case) -> np.ndarray:
        predicted.append(case.people)
        assert not known[-1] & set(case.people)
        return np.full(200, 4.0)

    monkeypatch.setattr(error_map, "trained", trained)
    monkeypatch.setattr(error_map, "predictions", predictions)
    assert all(found == pytest.approx(4.0) for found in cross_predicted(cases))
    assert set(predicted) == {case.people for case in cases}


def test_the_fit_learns_what_the_features_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_map, "EPOCHS", 70)
    cases = [_case(f"sp:{n}", f"person {n}", seed=n) for n in range(6)]
    model = error_map.trained(cases, 1.0)
    unseen = _case("sp:9", "nobody", seed=9)
    found = error_map.predictions(model, unseen)
    assert np.corrcoef(np.log(found + 0.1), np.log(unseen.error + 0.1))[0, 1] > 0.85
