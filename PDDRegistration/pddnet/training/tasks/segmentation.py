"""Share what the tasks of both networks that segment have in common: the optimiser's settings, the width's check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ...errors import InputError
from ..config import TrainingConfig

WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class SegmentationTask:
    """Part of a `Task` that trains a network to segment."""

    config: TrainingConfig
    half = True  # a segmentation: its logits need no more digits

    def parameter_groups(self, net: nn.Module) -> list[dict[str, Any]]:
        """List the network's parameters for the optimiser; see `Task`."""
        return [{"params": net.parameters(), "lr": 1.0, "weight_decay": WEIGHT_DECAY}]

    def check_width(self, width: int, path: Path) -> None:
        """Raise InputError unless the weights of a file have the width of the configuration."""
        if width != self.config.width:
            raise InputError(f"{path}: its width is {width}; set 'width' to that")
