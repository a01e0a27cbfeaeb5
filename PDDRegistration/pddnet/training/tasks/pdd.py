"""Train pdd-net (Heinrich 2019, section 2) on a pair of scans per step, by warped against fixed labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.grid import Grid
from ...features.label_table import STRUCTURES
from ...matching.inference import DisplacementDistribution
from ...matching.pdd_net import PDDNet, load, save
from ...tensor.lattice import resample
from ..labelled_scan import LabelledScan, dice_after_warp
from ..registration_loss import class_weights, diffusion, label_loss, warped_label_loss
from ..scans import AnnotatedScan
from .pairs import PairTask, check_sizes, dice_of_pairs, label_map, sides_of


@dataclass(frozen=True)
class PDDTask(PairTask):
    """`Task` that trains `PDDNet`."""

    def network(self) -> PDDNet:
        """Make the network; see `Task`."""
        return PDDNet(self.config.pairs.channels, self.config.pairs.spacing)

    def load(self, path: Path) -> PDDNet:
        """Read the weights of a file; see `Task`."""
        net = load(path)
        sizes = {name: getattr(net.features, name) for name in ("channels", "spacing")}
        check_sizes(sizes, self.config.pairs, path)
        return net

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
