"""Define `SVFNet`: a network that predicts a stationary velocity field from both scans in one pass.

Rohé et al. 2017 (doi:10.1007/978-3-319-66182-7_31): a U-Net sees both scans, stacked, and is taught by the velocities
of reference deformations. Its exponential folds nowhere, and that of the negative velocity is the inverse. The paper's
first and last layers are 2-D, for slices that lie far apart; here all are 3-D, and the velocity has half the
resolution of the scans.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.grid import Grid
from ..features.obelisk import intensities
from ..tensor.scan import Scan
from ..tensor.velocity import SQUARINGS, exponential
from .base import FIELD_UNIT_MM, Prediction, RegistrationNetwork, Sizes
from .unet import UNet, pyramid

LEVELS = 4  # of the way down
OUTPUT = 1  # the level of the velocity


class SVFNet(RegistrationNetwork):
    """Network from two scans to a velocity, and by scaling and squaring to the field; see `velocity`."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        widths = [sizes.channels * factor for factor in (1, 2, 4, 8)]
        self.net = UNet(2, widths, LEVELS - OUTPUT, nn.BatchNorm3d)
        self.last = nn.Conv3d(widths[0], 3, 3, padding=1)

    def forward(self, fixed: Scan, moving: Scan, box: Grid) -> Prediction:
        """Predict the displacements; see `RegistrationNetwork`."""
        velocity, control = self.velocity(fixed, moving, box)
        return Prediction(exponential(velocity, control, SQUARINGS), control, velocity=velocity)

    def velocity(self, fixed: Scan, moving: Scan, box: Grid) -> tuple[Tensor, Grid]:
        """Predict the velocity (3, nD, nH, nW), mm per unit of time along the axes, and its nodes."""
        grids = pyramid(box.isotropic(self.sizes.spacing), LEVELS)
        images = torch.stack([intensities(scan, grids[0]) for scan in (fixed, moving)])
        found = self.net(images[None], grids)[-1]
        return FIELD_UNIT_MM * self.last(found)[0], grids[OUTPUT]
