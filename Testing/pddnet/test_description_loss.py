"""The loss on descriptors, against a hand-computed case and what it must not count."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pddnet.description_loss import SHARPNESS, description_loss

SHAPE = (6, 7, 9)


def _case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Descriptors of two scans, their bodies (all of them), and three matches far from each other."""
    torch.manual_seed(seed)
    found = 0.5 * torch.rand(2, 4, *SHAPE)
    matches = torch.tensor([[[1, 1, 1], [4, 5, 2], [2, 3, 7]], [[2, 1, 1], [4, 4, 3], [1, 3, 6]]])
    return found, torch.ones(2, *SHAPE), matches


def test_by_hand() -> None:
    found, body, matches = _case()
    wrong = torch.tensor([[0, 0, 1], [-1, 0, 0]])
    losses = []
    for here, there in ((0, 1), (1, 0)):
        for n in range(3):
            mine = found[here][(slice(None), *matches[here, n])]
            places = [matches[there, n], *(matches[there, n] + w for w in wrong)]
            places += [matches[there, m] for m in range(3) if m != n]
            cost = [float((mine - found[there][(slice(None), *at)]).square().sum()) for at in places]
            losses.append(SHARPNESS * cost[0] + math.log(sum(math.exp(-SHARPNESS * c) for c in cost)))
    assert float(description_loss(found, body, matches, 2.0, wrong)) == pytest.approx(sum(losses) / 6, abs=1e-5)


def test_alike_everywhere_it_is_a_guess_among_all() -> None:
    _, body, matches = _case()
    loss = description_loss(torch.full((2, 4, *SHAPE), 0.3), body, matches, 2.0, torch.tensor([[1, 0, 0], [0, 1, 0]]))
    assert float(loss) == pytest.approx(math.log(1 + 2 + 2), abs=1e-5)


@pytest.mark.parametrize("outside", [[-5, 0, 0], [0, 0, 9], [5, 0, 0]])
def test_places_outside_the_scan_are_not_told_from(outside: list[int]) -> None:
    found, body, matches = _case()
    one = description_loss(found, body, matches, 2.0, torch.tensor([[0, 0, 1]]))
    two = description_loss(found, body, matches, 2.0, torch.tensor([[0, 0, 1], outside]))
    assert float(one) == pytest.approx(float(two), abs=1e-6)


def test_nor_are_places_outside_the_body_or_near_the_match() -> None:
    found, body, matches = _case()
    wrong = torch.tensor([[1, 0, 0]])
    none = torch.zeros_like(body)
    plain = description_loss(found, none, matches, 2.0, wrong)
    found[:, :, 3, 1, 1] += 1.0  # one step beside the first match of the second scan
    assert float(description_loss(found, none, matches, 2.0, wrong)) == pytest.approx(float(plain), abs=1e-6)
    assert float(description_loss(found, none, matches, 99.0, wrong)) == pytest.approx(0.0, abs=1e-6)


def test_it_falls_when_matches_become_alike_and_teaches_that() -> None:
    found, body, matches = _case()
    wrong = torch.tensor([[0, 1, 0], [0, 0, -1], [1, 1, 0]])
    found.requires_grad_(True)
    optimiser, losses = torch.optim.Adam([found], 0.02), []
    for _ in range(100):
        loss = description_loss(found, body, matches, 2.0, wrong)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
