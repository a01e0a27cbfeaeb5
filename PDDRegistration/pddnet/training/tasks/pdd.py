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
from ...tensor.convert import to_array
from ...tensor.lattice import resample
from ..config import TrainingConfig
from ..datasets import SampleSource, annotation_mask
from ..labelled_scan import LabelledScan, centre_offset, dice_after_warp
from ..pair_datasets import PairDataset
from ..registration_loss import LabelMap, class_weights, diffusion, label_loss, warped_label_loss
from ..scans import AnnotatedScan


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
        fixed = LabelledScan.from_sample(values[0], structures[0])
        moving = LabelledScan.from_sample(values[1], structures[1], to_array(shift))
        fixed_map, moving_map = _label_map(fixed), _label_map(moving)
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
        """Compute the Dice of every structure, with every scan as fixed scan once and the next as moving scan, aligned
        to it by its structures; see `Task`."""
        device = next(net.parameters()).device
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
                control, distribution = self._match(net, fixed, moving)
                field = resample(distribution.moments()[0], control, fixed.scan.grid)
            scores += dice_after_warp(fixed, moving, field, common)
        return scores

    def save(self, net: PDDNet, path: Path, metadata: dict[str, Any]) -> None:
        """Write the weights file; see `Task`."""
        save(net, path, metadata)

    def _match(self, net: PDDNet, fixed: LabelledScan, moving: LabelledScan) -> tuple[Grid, DisplacementDistribution]:
        """Return the control points over the fixed scan, and the distribution of displacements there."""
        pairs = self.config.pairs
        control = fixed.scan.box.isotropic(pairs.control)
        steps = torch.linspace(-pairs.reach, pairs.reach, pairs.steps, device=fixed.structures.device)
        return control, net(fixed.scan, moving.scan, control, steps)


def _label_map(side: LabelledScan) -> LabelMap:
    """Return the labels for the loss: only voxels in view with a known structure count."""
    weight = (side.scan.view > 0.5) & (side.structures >= 0)
    return LabelMap(side.structures.clamp(min=0), weight.float(), side.scan.grid)
