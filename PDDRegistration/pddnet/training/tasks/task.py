"""Define what differs between the networks that `pddnet train` trains; they share all else (`Task`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from ..datasets import SampleSource, ScanDataset
from ..scans import AnnotatedScan

Net = TypeVar("Net", bound=nn.Module)


class Task(Protocol[Net]):
    """Task of training one kind of network: its data, its loss, and the content of its weights file."""

    @property
    def half(self) -> bool:
        """Return whether bfloat16 is precise enough for the loss."""
        ...

    def network(self) -> Net:
        """Make the network, with random weights from torch's seed."""
        ...

    def load(self, path: Path) -> Net:
        """Read the weights of a file; raise InputError where they do not fit the configuration."""
        ...

    def parameter_groups(self, net: Net) -> list[dict[str, Any]]:
        """Return the network's parameters for the optimiser; `lr` is a factor on the learning rate that all share."""
        ...

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> ScanDataset:
        """Make the data set of endless batches (values, structures, ...) from number `first` on.

        values (..., 3, D, H, W) as `Scan.values`, structures (..., D, H, W) int64, -1 where unknown.
        """
        ...

    def loss(self, net: Net, *batch: Any, **named: Any) -> tuple[Tensor, float] | None:
        """Compute the loss of a batch, (), and a mean Dice for the log; None where there is nothing to learn."""
        ...

    def dice_scores(self, net: Net, scans: list[AnnotatedScan]) -> list[float]:
        """Compute the Dice of every structure on scans that are not trained on."""
        ...

    def save(self, net: Net, path: Path, metadata: dict[str, Any]) -> None:
        """Write the weights file."""
        ...
