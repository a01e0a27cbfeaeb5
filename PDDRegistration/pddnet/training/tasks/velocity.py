"""Train a network that predicts velocities, by those of deformations that are known (Rohé et al. 2017, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...errors import InputError
from ...networks.base import RegistrationNetwork
from ...tensor.lattice import resample
from ..datasets import SampleSource
from ..known_deformation import known_velocity
from ..labelled_scan import dice_after_warp
from ..pair_datasets import KnownPairDataset
from .network import NetworkTask
from .pairs import sides_of

UNIT_MM = 10.0  # per unit of the loss, so that it is of the order of 1
LEAST_KNOWN = 100  # nodes, or a pair teaches nothing


@dataclass(frozen=True)
class VelocityTask(NetworkTask):
    """`Task` that trains a network whose predictions have a `velocity`, on pairs of views of one anatomy each."""

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> KnownPairDataset:
        """Make the data set of endless batches; see `Task`."""
        return KnownPairDataset(sources, shares, self.config.seed, first, self.config.pairs.view)

    def loss(  # type: ignore[override]  # its data set says where every voxel lies, too
        self,
        net: RegistrationNetwork,
        values: Tensor,
        structures: Tensor,
        common: Tensor,
        shift: Tensor,
        points: Tensor,
    ) -> tuple[Tensor, float] | None:
        """Compute the loss: the mean squared difference of the velocities, as published; see `Task`."""
        fixed, moving = sides_of(values, structures, shift)
        found = net(fixed.scan, moving.scan, fixed.scan.box)
        if found.velocity is None:
            raise InputError(f"the network '{self.config.network}' predicts no velocity; train it by labels")
        truth, known = known_velocity(fixed.scan.grid, moving.scan.grid, points, found.control)
        if float(known.sum()) < LEAST_KNOWN:
            return None
        gap = ((found.velocity - truth) / UNIT_MM).square().sum(0)
        dense_field = resample(found.field.detach(), found.control, fixed.scan.grid)
        scores = dice_after_warp(fixed, moving, dense_field, common)
        return (gap * known).sum() / known.sum(), float(np.mean(scores)) if scores else 0.0
