"""Training the paper's network (2019, section 2): a pair of scans a step, and where the labels come to lie."""

from __future__ import annotations

import dataclasses
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
from ...tensor.convert import to_array, to_tensor
from ...tensor.lattice import resample
from ...tensor.scan import Scan
from ..config import TrainingConfig
from ..datasets import SampleSource, among
from ..losses import LabelMap, class_weights, diffusion, label_loss, warped_label_loss
from ..pair_datasets import Labelled, PairDataset, offset, overlaps
from .task import LabelledScans


@dataclass(frozen=True)
class PDDTask:
    """`training_task.Task` for `PDDNet`."""

    config: TrainingConfig
    half = False  # costs are differences of similar features

    def network(self) -> PDDNet:
        """See Task."""
        return PDDNet(self.config.pairs.channels, self.config.pairs.spacing)

    def load(self, path: Path) -> PDDNet:
        """See Task."""
        net = load(path)
        for name in ("channels", "spacing"):
            value = getattr(net.features, name)
            if value != getattr(self.config.pairs, name):
                raise InputError(f"{path}: its {name} is {value}; set '{name}' in 'pairs' to that")
        return net

    def groups(self, net: PDDNet) -> list[dict[str, Any]]:
        """See Task; the paper decays no weights."""
        return [{**group, "weight_decay": 0.0} for group in net.groups(1.0)]

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> PairDataset:
        """See Task."""
        return PairDataset(sources, shares, self.config.seed, first, self.config.pairs.view)

    def loss(
        self, net: PDDNet, values: Tensor, structures: Tensor, common: Tensor, shift: Tensor
    ) -> tuple[Tensor, float] | None:
        """See Task: the label loss plus the weighted diffusion penalty."""
        fixed = Labelled.drawn(values[0], structures[0])
        moving = Labelled.drawn(values[1], structures[1], to_array(shift))
        ours, theirs = (_label_map(side) for side in (fixed, moving))
        weights = class_weights(ours, theirs, len(STRUCTURES))
        if not bool(weights[1:].any()):
            return None
        control, distribution = self._matched(net, fixed, moving)
        field = distribution.moments()[0]
        if self.config.pairs.non_local:
            loss = label_loss(distribution, ours, theirs, control, weights)
        else:
            loss = warped_label_loss(field, ours, theirs, control, weights)
        loss = loss + self.config.pairs.smoothness * diffusion(field, control)
        found = overlaps(fixed, moving, resample(field.detach(), control, fixed.scan.grid), common)
        return loss, float(np.mean(found)) if found else 0.0

    def overlaps(self, net: PDDNet, scans: LabelledScans) -> list[float]:
        """See Task: every scan as fixed one with the next as moving one, laid upon it by its structures."""
        device, found = next(net.parameters()).device, []
        for here, there in zip(scans, [*scans[1:], *scans[:1]], strict=True):
            if here is there:
                continue
            common = among(here[2] & there[2]).to(device)
            fixed, moving = (_on(device, *side[:2]).only(common) for side in (here, there))
            moving = moving.moved(offset(fixed, moving))
            with torch.no_grad():
                control, distribution = self._matched(net, fixed, moving)
                field = resample(distribution.moments()[0], control, fixed.scan.grid)
            found += overlaps(fixed, moving, field, common)
        return found

    def save(self, net: PDDNet, path: Path, metadata: dict[str, Any]) -> None:
        """See Task."""
        save(net, path, metadata)

    def _matched(self, net: PDDNet, fixed: Labelled, moving: Labelled) -> tuple[Grid, DisplacementDistribution]:
        """The control points over the fixed scan, and the distribution of displacements there."""
        pairs = self.config.pairs
        control = fixed.scan.box.isotropic(pairs.control)
        steps = torch.linspace(-pairs.reach, pairs.reach, pairs.steps, device=fixed.structures.device)
        return control, net(fixed.scan, moving.scan, control, steps)


def _on(device: torch.device, scan: Scan, structures: np.ndarray) -> Labelled:
    scan = dataclasses.replace(scan, values=scan.values.to(device), features=scan.features.to(device))
    return Labelled(scan, to_tensor(structures, device).long())


def _label_map(side: Labelled) -> LabelMap:
    """What counts is what the scan shows and something is known of."""
    weight = (side.scan.view > 0.5) & (side.structures >= 0)
    return LabelMap(side.structures.clamp(min=0), weight.float(), side.scan.grid)
