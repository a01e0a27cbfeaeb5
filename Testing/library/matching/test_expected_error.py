"""The expected error: the network is what it says, what is unknown counts as typical, and a wrong result is told."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from helpers import samples
from helpers.geometry import grids
from pddnet import pipeline
from pddnet.core.presets import PRESETS
from pddnet.errors import InputError
from pddnet.io.weights_file import ERROR, SEMANTIC, read_weights
from pddnet.matching.error_features import NAMES
from pddnet.matching.expected_error import (
    BUNDLED_WEIGHTS,
    MOST_MM,
    OFFSET_MM,
    ErrorModel,
    in_both,
    load,
    predicted,
)
from pddnet.matching.job_run import Run
from pddnet.tensor.convert import to_array, to_tensor
from pddnet.tensor.scan import Scan

COUNT = len(NAMES)
IDLE = dataclasses.replace(PRESETS["mind"], stages=(), refinement=None, one_patient=None)


def _model(factor: float = 1.7) -> ErrorModel:
    rng = np.random.default_rng(4)
    sizes = (2 * COUNT, 5, 1)
    layers = tuple(
        (rng.normal(0, 0.3, (b, a)).astype(np.float32), rng.normal(0, 0.3, b).astype(np.float32))
        for a, b in itertools.pairwise(sizes)
    )
    means, scales = rng.normal(size=2 * COUNT), rng.uniform(0.5, 2, 2 * COUNT)
    return ErrorModel(means.astype(np.float32), scales.astype(np.float32), layers, factor)


def test_the_model_is_a_perceptron_of_the_standardised_features() -> None:
    model, rng = _model(), np.random.default_rng(5)
    features, context = rng.normal(size=(COUNT, 6)), rng.normal(size=COUNT)
    features[2, 3] = np.nan  # not measured: typical
    features[4, 1] = 1e6  # beyond three standard deviations
    inputs = np.c_[features.T, np.repeat(context[None], 6, 0)]
    x = np.nan_to_num((inputs - model.means) / model.scales).clip(-3, 3)
    (w0, b0), (w1, b1) = model.layers
    hidden = x @ w0.T + b0
    hidden = hidden / (1 + np.exp(-hidden))
    expected = 1.7 * (np.exp(hidden @ w1.T + b1)[:, 0] - OFFSET_MM)
    found = to_array(model(to_tensor(features), to_tensor(context)))
    assert found == pytest.approx(expected.clip(0, MOST_MM), rel=1e-4)
    assert np.ptp(expected) > 0.05


def test_it_is_known_of_the_body_only_and_its_median_where_both_scans_show_it() -> None:
    grid = grids()["left-handed oblique"]
    values = torch.zeros((3, *grid.shape))
    values[1, 3:, 3:, 3:] = 1  # body
    values[2] = 1  # view
    moving = values.clone()
    moving[2, :, :, 12:] = 0
    fixed, other = (Scan(v, v[:0], grid, grid, grid, False) for v in (values, moving))
    features = torch.as_tensor(np.random.default_rng(6).normal(size=(COUNT, *grid.shape)), dtype=torch.float32)
    found = predicted(_model(), features, fixed, other)
    both = in_both(fixed, other)
    assert int(both.sum()) == 6 * 9 * 9
    assert bool((found.values[:2] == 0).all())
    assert bool((found.values[2:, 2:, 2:] > 0).any())
    assert found.median_mm == pytest.approx(float(found.values[both].median()))
    moving[2] = 0
    nothing = predicted(_model(), features, fixed, other)
    assert nothing.median_mm is None
    assert float(nothing.values.max()) == MOST_MM


def test_the_bundled_model_is_of_these_features() -> None:
    _, metadata = read_weights(BUNDLED_WEIGHTS, ERROR)
    assert metadata["features"] == list(NAMES)
    assert load().factor == pytest.approx(metadata["factor"])
    with pytest.raises(InputError, match="semantic"):
        read_weights(BUNDLED_WEIGHTS, SEMANTIC)


def test_a_wrong_start_is_expected_to_be_wrong_and_a_right_one_to_be_right() -> None:
    """Nothing is matched: the results are the starts."""
    fixed, moving = samples.small_pair()
    errors = []
    for shift in (samples.SHIFT, samples.SHIFT + [9.0, -6.0, 8.0]):
        start = sitk.TranslationTransform(3, shift.tolist())
        found = pipeline.register(fixed, moving, IDLE, initial_transform=start)
        assert found.expected_error is not None
        assert found.expected_error.grid.shape == found.field.grid.shape
        assert np.allclose(found.expected_error.grid.origin, found.field.grid.origin)
        errors.append(found.verdict.measures["expected_error_mm"])
        inside = samples.ball(found.field.grid, fixed.grid.centre, 15.0)
        assert np.median(found.expected_error.array[inside]) == pytest.approx(errors[-1], rel=0.6)
    assert errors[0] < 8
    assert errors[1] > errors[0] + 6


def test_the_transform_is_the_same_with_and_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = samples.small_pair()
    with_it = pipeline.register(*pair, "mind")
    monkeypatch.setattr(Run, "_expected_error", lambda self, *rest: (None, {}))
    without = pipeline.register(*pair, "mind")
    assert without.expected_error is None
    assert np.array_equal(with_it.field.array, without.field.array)


def test_other_scans_than_ct_have_none() -> None:
    assert not PRESETS["multimodal"].hu
    result = pipeline.register(*samples.small_pair(), "multimodal")
    assert result.expected_error is None
    assert "expected_error_mm" not in result.verdict.measures
