"""Train pdd-net (Heinrich 2019, section 2) on a pair of scans per step, by warped against fixed labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.grid import Grid
from ...errors import InputError
from ...features.label_table import STRUCTURES
from ...matching.inference import DisplacementDistribution
from ...matching.pdd_net import PDDNet, load, save
from ...tensor.lattice import resample
from ..config import TrainingConfig
from ..datasets import SampleSource
from ..labelled_scan import LabelledScan, dice_after_warp
from ..pair_datasets import PairDataset
from ..registration_loss import class_weights, diffusion, label_loss, warped_label_loss
from ..scans import AnnotatedScan
from .pairs import dice_of_pairs, label_map, sides_of


@dataclass(frozen=True)
class PDDTask:
    """`Task` that trains `PDDNet`."""

    config: TrainingConfig
    half = False  # costs are differences of similar features

    def network(self) -> PDDNet:
        """Make the network; see `Task`."""
        return PDDNet(self.config.pairs.channels, self.config.pairs.spacing)

    def load(self, path: Path) -> PDDNet:
        """Read the weights of a file; see `Task`."""
        net = load(path)
        for name in ("channels", "spacing"):
            value = getattr(net.features, name)
            if value != getattr(self.config.pairs, name):
                raise InputError(f"{path}: its {name} is {value}; set '{name}' in 'pairs' to that")
        return net

    def parameter_groups(self, net: PDDNet) -> list[dict[str, Any]]:
        """List the network's parameters for the optimiser, without weight decay, as in Heinrich 2019; see `Task`."""
        return [{**group, "weight_decay": 0.0} for group in net.groups(1.0)]

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> PairDataset:
        """Make the data set of endless batches; see `Task`."""
        return PairDataset(sources, shares, self.config.seed, first, self.config.pairs.view)

    def loss(
        self, net: PDDNet, values: Tensor, structures: Tensor, common: Tensor, shift: Tensor
    ) -> tuple[Tensor, float] | None:
        """Compute the loss: the label loss plus the weighted diffusion penalty; see `Task`."""
        fixed, moving = sides_of(values, structures, shift)
        fixed_map, moving_map = label_map(fixed), label_map(moving)
        weights = class_weights(fixed_map, moving_map, len(STRUCTURES))
        if not bool(weights[1:].any()):
            return None
        control, distribution = self._match(net, fixed, moving)
        field = distribution.moments()[0]
        if self.config.pairs.non_local:
            loss = label_loss(distribution, fixed_map, moving_map, control, weights)
        else:
            loss = warped_label_loss(field, fixed_map, moving_map, control, weights)
        loss = loss + self.config.pairs.smoothness * diffusion(field, control)
        dense_field = resample(field.detach(), control, fixed.scan.grid)
        scores = dice_after_warp(fixed, moving, dense_field, common)
        return loss, float(np.mean(scores)) if scores else 0.0

    def dice_scores(self, net: PDDNet, scans: list[AnnotatedScan]) -> list[float]:
        """Compute the Dice of every structure, see `dice_of_pairs` and `Task`."""

        def field_of(fixed: LabelledScan, moving: LabelledScan) -> tuple[Tensor, Grid]:
            control, distribution = self._match(net, fixed, moving)
            return distribution.moments()[0], control

        return dice_of_pairs(field_of, scans, next(net.parameters()).device)

    def save(self, net: PDDNet, path: Path, metadata: dict[str, Any]) -> None:
        """Write the weights file; see `Task`."""
        save(net, path, metadata)

    def _match(self, net: PDDNet, fixed: LabelledScan, moving: LabelledScan) -> tuple[Grid, DisplacementDistribution]:
        """Return the control points over the fixed scan, and the distribution of displacements there."""
        pairs = self.config.pairs
        control = fixed.scan.box.isotropic(pairs.control)
        steps = torch.linspace(-pairs.reach, pairs.reach, pairs.steps, device=fixed.structures.device)
        return control, net(fixed.scan, moving.scan, control, steps)
