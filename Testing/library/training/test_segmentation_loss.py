"""The loss of the structures against numbers computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pddnet.training.segmentation_loss import DICE_SMOOTHING, FOREIGN, RARE_VOXELS, segmentation_loss

ALL = torch.tensor([True, True, True])


def _logits(*probabilities: tuple[float, ...]) -> torch.Tensor:
    """(C, N) logits of N voxels with these probabilities; an added constant must not matter."""
    return torch.tensor(probabilities).T.log() + 3.7


def test_two_voxels_by_hand() -> None:
    loss, dice = segmentation_loss(_logits((0.5, 0.3, 0.2), (0.1, 0.6, 0.3)), torch.tensor([0, 1]), ALL)
    entropy = -(math.log(0.5) + math.log(0.6)) / 2  # both structures are equally frequent
    overlap = (2 * 0.6 + DICE_SMOOTHING) / (0.9 + 1 + DICE_SMOOTHING)
    assert dice == pytest.approx(overlap, rel=1e-5)
    assert float(loss) == pytest.approx(entropy + 1 - overlap, rel=1e-5)


def test_frequent_structures_weigh_less_by_the_root() -> None:
    count = (1000, 10)
    structures = torch.tensor([0] * count[0] + [2] * count[1])
    logits = _logits(*[(0.9, 0.05, 0.05)] * count[0], *[(0.5, 0.25, 0.25)] * count[1])
    loss, dice = segmentation_loss(logits, structures, ALL)
    weights = [n / math.sqrt(n + RARE_VOXELS) for n in count]
    entropy = -(weights[0] * math.log(0.9) + weights[1] * math.log(0.25)) / sum(weights)
    overlap = (2 * 10 * 0.25 + DICE_SMOOTHING) / (1000 * 0.05 + 10 * 0.25 + 10 + DICE_SMOOTHING)
    assert dice == pytest.approx(overlap, rel=1e-4)
    assert float(loss) == pytest.approx(entropy + 1 - overlap, rel=1e-4)


def test_what_is_foreign_is_background_that_weighs_more() -> None:
    count = (1000, 10)
    structures = torch.tensor([0] * count[0] + [FOREIGN] * count[1])
    logits = _logits(*[(0.9, 0.05, 0.05)] * count[0], *[(0.25, 0.5, 0.25)] * count[1])
    loss, dice = segmentation_loss(logits, structures, ALL)
    weights = [n / math.sqrt(n + RARE_VOXELS) for n in count]
    entropy = -(weights[0] * math.log(0.9) + weights[1] * math.log(0.25)) / sum(weights)
    assert dice == 1.0  # no structure is present
    assert float(loss) == pytest.approx(entropy, rel=1e-4)


def test_the_dice_is_the_mean_over_the_structures_present() -> None:
    structures = torch.tensor([1] * 30 + [3] * 20)
    probabilities = [(0.1, 0.7, 0.1, 0.1)] * 30 + [(0.2, 0.2, 0.2, 0.4)] * 20
    _, dice = segmentation_loss(_logits(*probabilities), structures, torch.tensor([True] * 4))
    one = (2 * 21 + DICE_SMOOTHING) / (21 + 4 + 30 + DICE_SMOOTHING)
    three = (2 * 8 + DICE_SMOOTHING) / (3 + 8 + 20 + DICE_SMOOTHING)
    assert dice == pytest.approx((one + three) / 2, rel=1e-5)


def test_what_the_map_does_not_tell_apart_counts_as_background() -> None:
    annotated = torch.tensor([True, True, False])
    structures = torch.tensor([0, 1])
    one, dice = segmentation_loss(_logits((0.3, 0.1, 0.6), (0.2, 0.5, 0.3)), structures, annotated)
    other, _ = segmentation_loss(_logits((0.8, 0.1, 0.1), (0.4, 0.5, 0.1)), structures, annotated)
    assert float(one) == pytest.approx(float(other), rel=1e-5)
    entropy = -(math.log(0.9) + math.log(0.5)) / 2
    assert float(one) == pytest.approx(entropy + 1 - dice, rel=1e-5)
    told, _ = segmentation_loss(_logits((0.3, 0.1, 0.6), (0.2, 0.5, 0.3)), structures, ALL)
    assert float(told) > float(one) + 0.3


def test_naming_what_is_not_annotated_has_no_gradient_but_against_the_rest() -> None:
    logits = _logits((0.3, 0.1, 0.6)).requires_grad_()
    segmentation_loss(logits, torch.tensor([0]), torch.tensor([True, True, False]))[0].backward()
    gradient = logits.grad[:, 0]
    assert float(gradient[1]) > 0.05  # the annotated structure is wrong here
    assert float(gradient[0] / gradient[2]) == pytest.approx(0.3 / 0.6, rel=1e-4)  # the other two by their shares
    assert float(gradient.sum()) == pytest.approx(0, abs=1e-6)


def test_only_background() -> None:
    loss, dice = segmentation_loss(_logits((0.8, 0.1, 0.1)), torch.tensor([0]), ALL)
    assert dice == 1.0
    assert float(loss) == pytest.approx(-math.log(0.8), rel=1e-5)


def test_certainty_costs_nothing_and_stays_finite() -> None:
    logits = torch.tensor([[60.0, -60.0], [-60.0, 60.0], [-60.0, -60.0]])
    loss, dice = segmentation_loss(logits.half(), torch.tensor([0, 1]), ALL)
    assert float(loss) == pytest.approx(0, abs=1e-5)
    assert dice == pytest.approx(1)
    wrong, _ = segmentation_loss(logits, torch.tensor([1, 0]), ALL)
    assert 100 < float(wrong) < 130
