"""Training the network that names structures: two scans a step, compared with their maps voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...features.semantic_net import SemanticNet, inputs, load, probabilities, save
from ..config import TrainingConfig
from ..datasets import CoupleDataset, SampleSource
from ..scans import dice
from ..segmentation_loss import segmentation_loss
from .task import LabelledScans


@dataclass(frozen=True)
class SemanticTask:
    """`training_task.Task` for `SemanticNet`."""

    config: TrainingConfig
    half = True

    def network(self) -> SemanticNet:
        """See Task."""
        return SemanticNet(self.config.width)

    def load(self, path: Path) -> SemanticNet:
        """See Task."""
        net = load(path)
        if net.width != self.config.width:
            raise InputError(f"{path}: its width is {net.width}; set 'width' to that")
        return net

    def groups(self, net: SemanticNet) -> list[dict[str, Any]]:
        """See Task."""
        return [{"params": net.parameters(), "lr": 1.0, "weight_decay": 1e-4}]

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> CoupleDataset:
        """See Task."""
        return CoupleDataset(sources, shares, self.config.seed, first)

    def loss(self, net: SemanticNet, values: Tensor, structures: Tensor, annotated: Tensor) -> tuple[Tensor, float]:
        """See Task."""
        logits = net(torch.stack([inputs(scan) for scan in values]))
        with torch.autocast(values.device.type, enabled=False):
            (one, overlap), (other, fellow) = (
                _named(*side) for side in zip(logits, values, structures, annotated, strict=True)
            )
        return (one + other) / 2, (overlap + fellow) / 2

    def overlaps(self, net: SemanticNet, scans: LabelledScans) -> list[float]:
        """See Task."""
        device, found = next(net.parameters()).device, []
        for scan, structures, annotated in scans:
            named = probabilities(net, scan.values.to(device)).cpu()
            found += dice(named * scan.body, structures, annotated).values()
        return found

    def save(self, net: SemanticNet, path: Path, metadata: dict[str, Any]) -> None:
        """See Task."""
        save(net, path, metadata)


def _named(logits: Tensor, values: Tensor, structures: Tensor, annotated: Tensor) -> tuple[Tensor, float]:
    """`segmentation_loss` of one scan, within the body, where something is known."""
    inside = ((values[1] > 0.5) & (structures >= 0)).flatten().nonzero()[:, 0]
    return segmentation_loss(logits.flatten(1).index_select(1, inside), structures.flatten()[inside], annotated)
