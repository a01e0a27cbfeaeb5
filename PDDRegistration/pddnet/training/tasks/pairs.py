"""Share what the tasks on pairs of scans do alike: data, optimiser, the labels of a batch, and Dice in validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ...core.grid import Grid
from ...errors import InputError
from ...tensor.convert import to_array
from ...tensor.lattice import resample
from ..config import TrainingConfig
from ..datasets import SampleSource, annotation_mask
from ..labelled_scan import LabelledScan, centre_offset, dice_after_warp
from ..pair_datasets import PairDataset
from ..registration_loss import LabelMap
from ..scans import AnnotatedScan

FieldOf = Callable[[LabelledScan, LabelledScan], tuple[Tensor, Grid]]
"""Registers fixed and moving scan: returns a field (3, nD, nH, nW) in mm along the axes, and its control points."""


class Grouped(Protocol):
    """Network that lists its parameters for the optimiser."""

    def groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """List the parameters in groups, each with its learning rate."""
        ...


@dataclass(frozen=True)
class PairTask:
    """What a `Task` on pairs of scans shares with the others."""

    config: TrainingConfig
    half = False  # costs are differences of similar features

    def parameter_groups(self, net: Grouped) -> list[dict[str, Any]]:
        """List the network's parameters for the optimiser, without weight decay, as in Heinrich 2019; see `Task`."""
        return [{**group, "weight_decay": 0.0} for group in net.groups(1.0)]

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> PairDataset:
        """Make the data set of endless batches; see `Task`."""
        return PairDataset(sources, shares, self.config.seed, first, self.config.pairs.view)


def check_sizes(found: Mapping[str, object], wanted: object, path: Path) -> None:
    """Compare the sizes of the network in a weights file with the attributes of the same names of `wanted`.

    Raises:
        InputError: one of them differs.
    """
    for name, value in found.items():
        if value != getattr(wanted, name):
            raise InputError(f"{path}: its {name} is {value}; set '{name}' in 'pairs' to that")


def sides_of(values: Tensor, structures: Tensor, shift: Tensor) -> tuple[LabelledScan, LabelledScan]:
    """Return the fixed and the moving scan of a batch, see `PairDataset`."""
    fixed = LabelledScan.from_sample(values[0], structures[0])
    return fixed, LabelledScan.from_sample(values[1], structures[1], to_array(shift))


def label_map(side: LabelledScan) -> LabelMap:
    """Return the labels for the loss: only voxels in view with a known structure count."""
    weight = (side.scan.view > 0.5) & (side.structures >= 0)
    return LabelMap(side.structures.clamp(min=0), weight.float(), side.scan.grid)


def dice_of_pairs(field_of: FieldOf, scans: list[AnnotatedScan], device: torch.device) -> list[float]:
    """Compute the Dice of every structure, with every scan as fixed scan once and the next as moving scan, aligned to
    it by its structures."""
    scores: list[float] = []
    for fixed_scan, moving_scan in zip(scans, [*scans[1:], *scans[:1]], strict=True):
        if fixed_scan is moving_scan:
            continue
        common = annotation_mask(fixed_scan[2] & moving_scan[2]).to(device)
        fixed, moving = (
            LabelledScan.on_device(scan, structures, device).keep_structures(common)
            for scan, structures, _ in (fixed_scan, moving_scan)
        )
        moving = moving.translate(centre_offset(fixed, moving))
        with torch.no_grad():
            field, control = field_of(fixed, moving)
        scores += dice_after_warp(fixed, moving, resample(field, control, fixed.scan.grid), common)
    return scores
