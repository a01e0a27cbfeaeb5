"""`Task`: what differs between the networks that training.py trains; all else they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from ...tensor.scan import Scan
from ..datasets import SampleSource, ScanDataset

LabelledScans = list[tuple[Scan, np.ndarray, frozenset[int]]]  # as `training_scans.prepared` gives them


class Task(Protocol):
    """One kind of network: what it is trained on and how, and what its weights file holds."""

    half: bool  # whether bfloat16 is good enough for the loss

    def network(self) -> nn.Module:
        """With random weights, by torch's seed."""
        ...

    def load(self, path: Path) -> nn.Module:
        """With the weights of a file; raises InputError where they do not fit the configuration."""
        ...

    def groups(self, net: nn.Module) -> list[dict[str, Any]]:
        """Its parameters for the optimiser; `lr` is a factor on the rate that all share."""
        ...

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> ScanDataset:
        """Endless batches (values, structures, ...) from number `first` on.

        values (..., 3, D, H, W) as `Scan.values`, structures (..., D, H, W) int64, -1 where nothing is known.
        """
        ...

    def loss(self, net: nn.Module, *batch: Tensor) -> tuple[Tensor, float] | None:
        """What a step lowers, and a mean Dice for the log; None where the batch teaches nothing."""
        ...

    def overlaps(self, net: nn.Module, scans: LabelledScans) -> list[float]:
        """Dice of every structure on scans that are not learned from."""
        ...

    def save(self, net: nn.Module, path: Path, metadata: dict[str, Any]) -> None:
        """Write the weights file."""
        ...
