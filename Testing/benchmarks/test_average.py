"""The running average of a checkpoint becomes weights that the network loads."""

from __future__ import annotations

from pathlib import Path

import torch

from pddnet.features.semantic_net import SemanticNet, load
from pddnet.training.checkpoint import write_state
from pddnet.training.config import TrainingConfig
from training.average import write_average


def test_the_average_is_written_and_not_the_network_that_learns(tmp_path: Path) -> None:
    net, average = SemanticNet(8), SemanticNet(8)
    write_state(tmp_path / "checkpoint.npz", net, average, torch.optim.AdamW(net.parameters()), number=70, best=0.5)
    assert write_average(TrainingConfig(tmp_path, width=8, data="ours"), tmp_path / "w.npz") == 70
    read = load(tmp_path / "w.npz")
    for name, value in average.state_dict().items():
        assert torch.allclose(read.state_dict()[name], value, atol=1e-3)  # stored in half precision
    assert not torch.allclose(read.head.weight, net.head.weight, atol=1e-3)
