"""`Task`: what differs between the networks that `pddnet train` trains; all else they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from ..datasets import SampleSource, ScanDataset
from ..scans import AnnotatedScan

Net = TypeVar("Net", bound=nn.Module)


class Task(Protocol[Net]):
    """One kind of network: what it is trained on and how, and what its weights file holds."""

    @property
    def half(self) -> bool:
        """Whether bfloat16 is good enough for the loss."""
        ...

    def network(self) -> Net:
        """Make the network, with random weights by torch's seed."""
        ...

    def load(self, path: Path) -> Net:
        """Read the weights of a file; raises InputError where they do not fit the configuration."""
        ...

    def parameter_groups(self, net: Net) -> list[dict[str, Any]]:
        """Its parameters for the optimiser; `lr` is a factor on the rate that all share."""
        ...

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> ScanDataset:
        """Endless batches (values, structures, ...) from number `first` on.

        values (..., 3, D, H, W) as `Scan.values`, structures (..., D, H, W) int64, -1 where nothing is known.
        """
        ...

    def loss(self, net: Net, *batch: Any, **named: Any) -> tuple[Tensor, float] | None:
        """Compute the loss of a batch, (), and a mean Dice for the log; None where the batch teaches nothing."""
        ...

    def dice_scores(self, net: Net, scans: list[AnnotatedScan]) -> list[float]:
        """Dice of every structure on scans that are not learned from."""
        ...

    def save(self, net: Net, path: Path, metadata: dict[str, Any]) -> None:
        """Write the weights file."""
        ...
