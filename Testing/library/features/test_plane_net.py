"""The network that names structures in axial slices: its input, its codes, and its weights file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pddnet.errors import InputError
from pddnet.features.label_table import NUMBER, STRUCTURES
from pddnet.features.plane_net import PlaneNet, codes, inputs, load, probabilities, save, to_range
from pddnet.features.semantic_codes import class_embedding
from pddnet.features.semantic_net import BUNDLED_WEIGHTS
from pddnet.tensor.convert import own_random_numbers, to_tensor


def _net() -> PlaneNet:
    with own_random_numbers(3):
        return PlaneNet(8).eval()


def test_the_range_of_values_becomes_0_to_1_and_what_lies_beyond_is_clipped() -> None:
    values = np.linspace(-1000, 3000, 401).reshape(1, 401)
    found = to_range(values)
    assert found.dtype == np.float32
    assert np.interp(0.0, found[0], values[0]) == pytest.approx(-1000 + 0.01 * 4000)
    assert np.interp(1.0, found[0], values[0]) == pytest.approx(-1000 + 0.99 * 4000)
    outlier = np.r_[np.linspace(0, 1, 400), 50.0, -50.0].reshape(1, -1)
    assert (to_range(outlier).min(), to_range(outlier).max()) == (-0.5, 1.5)
    assert not to_range(np.full((4, 4), 7.0)).any()


def test_the_rank_is_the_share_of_darker_pixels_and_stays_under_another_window() -> None:
    image = torch.tensor([[[0.0, 0.5], [0.5, 1.0]]])
    value, rank = inputs(image)[0]
    assert torch.equal(value, torch.tensor([[-1.0, 0.0], [0.0, 1.0]]))
    assert torch.allclose(rank, 2 * torch.tensor([[0.125, 0.5], [0.5, 0.875]]) - 1)
    assert torch.equal(inputs(image**3)[0, 1], rank)
    assert torch.equal(inputs(image + 1e-5 * torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]))[0, 1], rank)  # no new rank


def test_slices_of_any_size_are_named_and_each_by_itself() -> None:
    net = _net()
    slices = torch.rand(2, 21, 34)
    both = probabilities(net, slices)
    assert both.shape == (len(STRUCTURES), 2, 21, 34)
    assert torch.allclose(both.sum(0), torch.ones(2, 21, 34), atol=1e-5)
    assert torch.allclose(both[:, 1:], probabilities(net, slices[1:]), atol=1e-6)


def test_the_codes_are_the_expected_embedding() -> None:
    net = _net()
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.fill_(-100.0)
        net.head.bias[NUMBER["liver"]] = np.log(3.0)
        net.head.bias[NUMBER["spleen"]] = 0.0
    found = codes(net, torch.rand(1, 16, 16))
    expected = to_tensor(0.75 * class_embedding()[NUMBER["liver"]] + 0.25 * class_embedding()[NUMBER["spleen"]])
    assert torch.allclose(found, expected.view(-1, 1, 1, 1).expand_as(found), atol=1e-5)


def test_every_weight_learns() -> None:
    net = _net()
    net(inputs(torch.rand(2, 16, 24))).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in net.parameters())


def test_weights_come_back_as_they_were_and_others_are_refused(tmp_path: Path) -> None:
    net, path = _net(), tmp_path / "plane.npz"
    save(net, path, {"data": "none"})
    again = load(path)
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    slices = torch.rand(1, 16, 16)
    assert torch.allclose(probabilities(again, slices), probabilities(net, slices), atol=2e-3)  # of 16 bits
    with pytest.raises(InputError, match="weights of kind 'semantic' where 'plane'"):
        load(BUNDLED_WEIGHTS)
