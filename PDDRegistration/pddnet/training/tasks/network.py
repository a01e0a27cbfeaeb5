"""Train a network of `networks.registry`, which predicts a field, by warped against fixed labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...core.grid import Grid
from ...features.label_table import STRUCTURES
from ...networks.base import Prediction, RegistrationNetwork, Sizes, load, save
from ...networks.registry import find_class
from ...tensor.convert import to_tensor
from ...tensor.lattice import nearest, resample
from ..labelled_scan import LabelledScan, dice_after_warp
from ..registration_loss import class_weights, diffusion, warped_label_loss
from ..scans import AnnotatedScan
from ..segmentation_loss import segmentation_loss
from .pairs import PairTask, check_sizes, dice_of_pairs, label_map, sides_of

LOSS_SPACING_MM = 8.0  # between the points at which warped and fixed labels are compared
COARSE_WEIGHT = 0.5  # of the loss of a field that a later one corrects
FEWEST_VOXELS = 100  # with a known structure, or the semantic loss teaches nothing


@dataclass(frozen=True)
class NetworkTask(PairTask):
    """`Task` that trains a `RegistrationNetwork`."""

    @property
    def sizes(self) -> Sizes:
        """Return the sizes of the network, as the configuration gives them."""
        pairs = self.config.pairs
        return Sizes(**{each.name: getattr(pairs, each.name) for each in dataclasses.fields(Sizes)})

    def network(self) -> RegistrationNetwork:
        """Make the network; see `Task`."""
        return find_class(self.config.network)(self.sizes)

    def load(self, path: Path) -> RegistrationNetwork:
        """Read the weights of a file; see `Task`."""
        net = load(self.config.network, path)
        check_sizes(dataclasses.asdict(net.sizes), self.sizes, path)
        return net

    def loss(
        self, net: RegistrationNetwork, values: Tensor, structures: Tensor, common: Tensor, shift: Tensor
    ) -> tuple[Tensor, float] | None:
        """Compute the loss: labels, diffusion penalty and, if the network segments, the semantic loss; see `Task`."""
        fixed, moving = sides_of(values, structures, shift)
        maps = label_map(fixed), label_map(moving)
        weights = class_weights(*maps, len(STRUCTURES))
        if not bool(weights[1:].any()):
            return None
        found = net(fixed.scan, moving.scan, fixed.scan.box)
        points = fixed.scan.box.isotropic(LOSS_SPACING_MM)

        def field_loss(field: Tensor, control: Grid) -> Tensor:
            label_loss = warped_label_loss(resample(field, control, points), *maps, points, weights)
            return label_loss + self.config.pairs.smoothness * diffusion(field, control)

        loss = field_loss(found.field, found.control)
        for field, control in found.coarse:
            loss = loss + COARSE_WEIGHT * field_loss(field, control)
        loss = loss + self.config.pairs.semantic * semantic_loss(found, fixed, moving, common)
        dense_field = resample(found.field.detach(), found.control, fixed.scan.grid)
        scores = dice_after_warp(fixed, moving, dense_field, common)
        return loss, float(np.mean(scores)) if scores else 0.0

    def dice_scores(self, net: RegistrationNetwork, scans: list[AnnotatedScan]) -> list[float]:
        """Compute the Dice of every structure, see `dice_of_pairs` and `Task`."""

        def field_of(fixed: LabelledScan, moving: LabelledScan) -> tuple[Tensor, Grid]:
            return net.displacements(fixed.scan, moving.scan, fixed.scan.box)

        return dice_of_pairs(field_of, scans, next(net.parameters()).device)

    def save(self, net: RegistrationNetwork, path: Path, metadata: dict[str, Any]) -> None:
        """Write the weights file; see `Task`."""
        save(self.config.network, net, path, metadata)


def semantic_loss(found: Prediction, fixed: LabelledScan, moving: LabelledScan, common: Tensor) -> Tensor:
    """Compute the semantic loss (): the mean of both scans' `segmentation_loss`; 0 of a network that does not segment.

    common: (structures,) bool, the structures that both maps distinguish.
    """
    total = found.field.new_zeros(())
    if found.logits is None or found.lattice is None:
        return total
    for logits, side in zip(found.logits, (fixed, moving), strict=True):
        structures, in_view = _labels_at(side, found.lattice)
        known = (in_view & (structures >= 0)).flatten().nonzero()[:, 0]
        if len(known) < FEWEST_VOXELS:
            continue
        chosen = logits.flatten(1).index_select(1, known)
        total = total + segmentation_loss(chosen, structures.flatten()[known], common)[0] / 2
    return total


def _labels_at(side: LabelledScan, lattice: Grid) -> tuple[Tensor, Tensor]:
    """Return the structures (D, H, W) of the voxels nearest to the nodes, and where these lie in the body and view."""
    grid = side.scan.grid
    inside = side.scan.body * side.scan.view
    within = resample(inside[None], grid, lattice)[0] > 0.5
    index = grid.point_to_index(lattice.points())
    in_grid = ((index >= -0.5) & (index <= grid.size - 0.5)).all(-1)
    structures = nearest(side.structures[None].float(), grid, lattice)[0].long()
    return structures, within & (to_tensor(np.asarray(in_grid), within.device) > 0.5)
