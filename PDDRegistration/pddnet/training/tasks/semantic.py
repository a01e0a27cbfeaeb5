"""Train the semantic network, which segments structures, on two scans per step, compared with their labels by voxel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...features.semantic_net import SemanticNet, inputs, load, probabilities, save
from ..config import CT
from ..datasets import SampleSource, TwoScanDataset
from ..scans import AnnotatedScan, dice_by_structure
from ..segmentation_loss import segmentation_loss
from .segmentation import SegmentationTask


@dataclass(frozen=True)
class SemanticTask(SegmentationTask):
    """`Task` that trains `SemanticNet`."""

    def network(self) -> SemanticNet:
        """Make the network; see `Task`."""
        return SemanticNet(self.config.width, hu=self.config.modality == CT)

    def load(self, path: Path) -> SemanticNet:
        """Read the weights of a file; see `Task`."""
        net = load(path)
        net.hu = self.config.modality == CT  # a network of the one modality may start from the other's
        self.check_width(net.width, path)
        return net

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> TwoScanDataset:
        """Make the data set of endless batches; see `Task`."""
        return TwoScanDataset(sources, shares, self.config.seed, first)

    def loss(self, net: SemanticNet, values: Tensor, structures: Tensor, annotated: Tensor) -> tuple[Tensor, float]:
        """Compute the loss: the mean of two scans' segmentation losses, and of their Dice; see `Task`."""
        logits = net(torch.stack([inputs(scan, hu=net.hu) for scan in values]))
        with torch.autocast(values.device.type, enabled=False):
            (first, first_dice), (second, second_dice) = (
                _scan_loss(*scan) for scan in zip(logits, values, structures, annotated, strict=True)
            )
        return (first + second) / 2, (first_dice + second_dice) / 2

    def dice_scores(self, net: SemanticNet, scans: list[AnnotatedScan]) -> list[float]:
        """Compute the Dice of every structure; see `Task`."""
        device = next(net.parameters()).device
        scores: list[float] = []
        for scan, structures, annotated in scans:
            segmented = probabilities(net, scan.values.to(device)).cpu()
            scores += dice_by_structure(segmented * scan.body, structures, annotated).values()
        return scores

    def save(self, net: SemanticNet, path: Path, metadata: dict[str, Any]) -> None:
        """Write the weights file; see `Task`."""
        save(net, path, metadata)


def _scan_loss(logits: Tensor, values: Tensor, structures: Tensor, annotated: Tensor) -> tuple[Tensor, float]:
    """Compute the `segmentation_loss` of one scan, within the body, where a structure is known."""
    known = (values[1] > 0.5) & (structures >= 0)
    inside = known.flatten().nonzero()[:, 0]
    return segmentation_loss(logits.flatten(1).index_select(1, inside), structures.flatten()[inside], annotated)
