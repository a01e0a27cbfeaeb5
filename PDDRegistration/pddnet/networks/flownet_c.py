"""Define `FlowNetC`: FlowNet-C in 3-D, the baseline of Heinrich 2019 (doi:10.1007/978-3-030-32226-7_6), section 3.

OBELISK features, the dense correlation layer, then five convolutions that learn how to regularise; they take the cubes
of displacements for plain channels and disregard their geometry (Dosovitskiy et al. 2015, doi:10.1109/ICCV.2015.316).
A semantic loss on the features is needed for meaningful results, as the paper says.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ..core.grid import Grid
from ..features.label_table import STRUCTURES
from ..features.obelisk import Obelisk
from ..matching.pdd_net import OFFSET_RATE_MM
from ..tensor.scan import Scan
from .base import FIELD_UNIT_MM, Prediction, RegistrationNetwork, Sizes
from .correlation import correlation

# Channels of the first convolution and of the later ones: about two million weights with 15^3 displacements, as
# published, which does not say how they are shared out.
WIDE, NARROW = 384, 48


class FlowNetC(RegistrationNetwork):
    """Network from two scans to a field at control points, without probabilities."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.features = Obelisk(sizes.channels, sizes.spacing)
        self.regularisation = nn.Sequential(
            *_convolution(sizes.steps**3, WIDE, 1),
            *_convolution(WIDE, NARROW, 3),
            *_convolution(NARROW, NARROW, 3),
            *_convolution(NARROW, NARROW, 3),
            nn.Conv3d(NARROW, 3, 3, padding=1),
        )
        self.segmentation = nn.Conv3d(sizes.channels, len(STRUCTURES), 1)

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Group the parameters for the optimiser; offsets are in mm, see OFFSET_RATE_MM."""
        offsets = self.features.offsets
        others = [p for p in self.parameters() if p is not offsets]
        return [{"params": others, "lr": rate}, {"params": [offsets], "lr": rate * OFFSET_RATE_MM}]

    def forward(self, fixed: Scan, moving: Scan, box: Grid) -> Prediction:
        """Predict the displacements; see `RegistrationNetwork`."""
        sizes = self.sizes
        control = box.isotropic(sizes.control)
        nodes = math.ceil(sizes.reach / sizes.spacing) + 1
        lattice = control.isotropic(sizes.spacing, nodes * sizes.spacing)
        features = self.features((fixed, moving), lattice)
        steps = torch.linspace(-sizes.reach, sizes.reach, sizes.steps, device=features.device)
        costs = correlation(features[0], features[1], lattice, control, steps)
        field = FIELD_UNIT_MM * self.regularisation(costs[None])[0]
        logits = self.segmentation(features)
        return Prediction(field, control, logits=(logits[0], logits[1]), lattice=lattice)


def _convolution(channels_in: int, channels_out: int, size: int) -> list[nn.Module]:
    """Make a convolution with batch normalisation and PReLU, as published."""
    convolution = nn.Conv3d(channels_in, channels_out, size, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm3d(channels_out), nn.PReLU()]
