"""Train the 2-D network, which names structures in axial slices, on the slices of one scan per step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...features.plane_net import PlaneNet, inputs, load, probabilities, save, to_range
from ...tensor.convert import to_array, to_tensor
from ..datasets import SampleSource
from ..plane_dataset import PlaneDataset
from ..scans import AnnotatedScan, dice_by_structure
from ..segmentation_loss import segmentation_loss
from .segmentation import SegmentationTask


@dataclass(frozen=True)
class PlaneTask(SegmentationTask):
    """`Task` that trains `PlaneNet`."""

    def network(self) -> PlaneNet:
        """Make the network; see `Task`."""
        return PlaneNet(self.config.width)

    def load(self, path: Path) -> PlaneNet:
        """Read the weights of a file; see `Task`."""
        net = load(path)
        self.check_width(net.width, path)
        return net

    def dataset(self, sources: list[SampleSource], shares: list[float], first: int) -> PlaneDataset:
        """Make the data set of endless batches; see `Task`."""
        return PlaneDataset(sources, shares, self.config.seed, first)

    def loss(self, net: PlaneNet, values: Tensor, structures: Tensor, annotated: Tensor) -> tuple[Tensor, float]:
        """Compute the loss of the slices, where a structure is known; see `Task`.

        Nothing tells the network where the body is, as in a picture of a slice: all around it is background.
        """
        logits = net(inputs(values[0])).transpose(0, 1)
        known = (structures >= 0).flatten().nonzero()[:, 0]
        with torch.autocast(values.device.type, enabled=False):
            return segmentation_loss(logits.flatten(1).index_select(1, known), structures.flatten()[known], annotated)

    def dice_scores(self, net: PlaneNet, scans: list[AnnotatedScan]) -> list[float]:
        """Compute the Dice of every structure over all axial slices of a scan; see `Task`."""
        device = next(net.parameters()).device
        scores: list[float] = []
        for scan, structures, annotated in scans:
            slices = np.stack([to_range(each) for each in to_array(scan.values[0])])
            found = probabilities(net, to_tensor(slices, device)).cpu()
            scores += dice_by_structure(found, structures, annotated).values()
        return scores

    def save(self, net: PlaneNet, path: Path, metadata: dict[str, Any]) -> None:
        """Write the weights file; see `Task`."""
        save(net, path, metadata)
