"""Weights of the semantic network in 8 bits: half the space, the same network, and the metadata that was added."""

from __future__ import annotations

from pathlib import Path

import torch

from pddnet.features.semantic_net import SemanticNet, load, save
from pddnet.io.weights_file import SEMANTIC, read_weights
from training.shrink import shrink


def test_a_network_in_8_bits_is_nearly_the_same(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = SemanticNet(8, hu=False).eval().requires_grad_(False)
    save(net, tmp_path / "w.npz", {"data": "painted", "seed": 7})
    shrink(tmp_path / "w.npz", tmp_path / "small.npz", {"seed": 8})
    metadata = read_weights(tmp_path / "small.npz", SEMANTIC)[1]
    assert (metadata["data"], metadata["seed"]) == ("painted", 8)
    assert (tmp_path / "small.npz").stat().st_size < 0.6 * (tmp_path / "w.npz").stat().st_size
    small = load(tmp_path / "small.npz")
    assert not small.hu
    x = torch.randn(1, 3, 8, 16, 8)
    expected = net(x)
    error = float((small(x) - expected).abs().max())
    assert 0 < error < 0.1 * float(expected.std())
