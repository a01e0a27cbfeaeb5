"""Training the network that names structures and describes places: two scans a step.

Their structures are compared voxel by voxel, and the places that both show by their descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .description_loss import description_loss
from .errors import InputError
from .features.semantic import SPACING, SemanticNet, inputs, load, probabilities, save
from .segmentation_loss import segmentation_loss
from .training_config import TrainingConfig
from .training_data import Drawable
from .training_matches import DrawnMatches
from .training_scans import dice
from .training_task import LabelledScans

DESCRIBED = 0.3  # weight of the loss on descriptors beside that on structures
FEWEST = 32  # matches from which a pair teaches where places are


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
        if not net.describes:  # weights from before the network described places: it begins to
            fresh = self.network()
            fresh.load_state_dict(net.state_dict(), strict=False)
            net = fresh
        return net

    def groups(self, net: SemanticNet) -> list[dict[str, Any]]:
        """See Task."""
        return [{"params": net.parameters(), "lr": 1.0, "weight_decay": 1e-4}]

    def drawn(self, sources: list[Drawable], shares: list[float], first: int) -> DrawnMatches:
        """See Task."""
        return DrawnMatches(sources, shares, self.config.seed, first)

    def loss(
        self, net: SemanticNet, values: Tensor, structures: Tensor, annotated: Tensor, matches: Tensor, apart: Tensor,
        wrong: Tensor,
    ) -> tuple[Tensor, float]:  # fmt: skip
        """See Task."""
        logits, descriptors = net.both(torch.stack([inputs(scan) for scan in values]))
        with torch.autocast(values.device.type, enabled=False):
            named = [_named(*side) for side in zip(logits, values, structures, annotated, strict=True)]
            loss = (named[0][0] + named[1][0]) / 2
            if matches.shape[1] >= FEWEST:
                found = description_loss(descriptors, values[:, 1], matches, float(apart) / SPACING, wrong)
                loss = loss + DESCRIBED * found
        return loss, (named[0][1] + named[1][1]) / 2

    def overlaps(self, net: SemanticNet, scans: LabelledScans) -> list[float]:
        """See Task."""
        device, found = next(net.parameters()).device, []
        for scan, structures, annotated in scans:
            named = probabilities(net, scan.values.to(device)).cpu()
            found += dice(named * scan.values[1], structures, annotated).values()
        return found

    def save(self, net: SemanticNet, path: Path, metadata: dict[str, Any]) -> None:
        """See Task."""
        save(net, path, metadata)


def _named(logits: Tensor, values: Tensor, structures: Tensor, annotated: Tensor) -> tuple[Tensor, float]:
    """`segmentation_loss` of one scan, within the body, where something is known."""
    inside = ((values[1] > 0.5) & (structures >= 0)).flatten().nonzero()[:, 0]
    return segmentation_loss(logits.flatten(1).index_select(1, inside), structures.flatten()[inside], annotated)
