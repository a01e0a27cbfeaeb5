"""Define `PWC`: a pyramid of features, warped by the coarser field, and a small cost volume per level, in 3-D.

PWC-Net, Sun et al. 2018 (doi:10.1109/CVPR.2018.00931), section 3, with two levels. Its features are those of a U-Net
that also names the structures, as in the guided networks, so that they are learned with few pairs.

What a level finds is left over after the warp, so it is composed with the coarser field. The convolutions have no
normalisation, as published: over one pair it would take a displacement that is the same everywhere for nothing.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..core.grid import Grid
from ..features.label_table import STRUCTURES
from ..features.obelisk import intensities
from ..tensor.lattice import compose, resample, warped
from ..tensor.scan import Scan
from .base import FIELD_UNIT_MM, Prediction, RegistrationNetwork, Sizes
from .correlation import correlation
from .unet import SLOPE, UNet, pyramid

DEPTH = 3  # of the U-Net: halvings of the resolution
LEVELS = (2, 1)  # of its pyramid: where displacements are predicted, coarse to fine
WIDTHS = (48, 32, 32)  # channels of the convolutions on a cost volume
DILATIONS = (2, 4, 1)  # of the context network after its first convolution, in nodes of the finest level


class PWC(RegistrationNetwork):
    """Network from two scans to a field at half their resolution, found at a quarter first.

    `Sizes.reach` and `Sizes.steps` are those of the first level; the second has as many steps, half as long.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        widths = [sizes.channels * factor for factor in (1, 2, 4)]
        self.features = UNet(1, widths, len(LEVELS), nn.InstanceNorm3d)
        self.segmentation = nn.Conv3d(sizes.channels, len(STRUCTURES), 1)
        self.estimators = nn.ModuleList(_Estimator(sizes.steps**3 + widths[level - 1] + 3) for level in LEVELS)
        self.context = _context()

    def forward(self, fixed: Scan, moving: Scan, box: Grid) -> Prediction:
        """Predict the displacements; see `RegistrationNetwork`."""
        spacing, reach = self.sizes.spacing, self.sizes.reach
        inner = pyramid(box.isotropic(spacing), DEPTH)  # where displacements are predicted
        outer = pyramid(box.isotropic(spacing, reach), DEPTH)  # and around it, where the first of them may lead
        images = torch.stack([intensities(scan, outer[0])[None] for scan in (fixed, moving)])
        coarse_maps, fine_maps = self.features(images, outer)[1:]
        first, second = (inner[level] for level in LEVELS)
        start = coarse_maps.new_zeros(3, *first.shape)
        coarse, _ = self._level(0, coarse_maps, outer[LEVELS[0]], start, first)
        field, hidden = self._level(1, fine_maps, outer[LEVELS[1]], resample(coarse, first, second), second)
        context = self.context(torch.cat([hidden, field / FIELD_UNIT_MM])[None])[0]
        logits = self.segmentation(fine_maps)
        return Prediction(
            field + FIELD_UNIT_MM * context, second, ((coarse, first),), (logits[0], logits[1]), outer[LEVELS[1]]
        )

    def _level(self, number: int, pair: Tensor, lattice: Grid, field: Tensor, control: Grid) -> tuple[Tensor, Tensor]:
        """Compose a field with what the cost volume of level `number` says is left over, see `warped_costs`.

        Returns:
            the field (3, nD, nH, nW) in mm, and the maps that it was predicted from.
        """
        reach = self.sizes.reach / 2**number
        steps = torch.linspace(-reach, reach, self.sizes.steps, device=pair.device)
        costs = warped_costs(pair, lattice, field, control, steps)
        seen = resample(pair[0], lattice, control)
        residual, hidden = self.estimators[number](torch.cat([costs, seen, field / FIELD_UNIT_MM]))
        return compose(field, residual, control), hidden


def warped_costs(pair: Tensor, lattice: Grid, field: Tensor, control: Grid, steps: Tensor) -> Tensor:
    """Compute the cost volume of a level: fixed features against moving ones that a coarser field has warped.

    Args:
        pair: (2, C, D, H, W) features of fixed and moving scan on `lattice`.
        field: (3, nD, nH, nW) the displacements u so far, from fixed to moving points, mm along the axes of `control`.
        control: the control points, along the axes of `lattice`; beyond them the border value of the field holds.
        steps: (L) further displacements in mm, the same along every axis.

    Returns:
        (L^3, nD, nH, nW): per control point x and displacement d the mean squared difference of fixed(x) and
        moving(y + u(y)), y = x + d, less its mean over d, which does not tell where to go; d along D, H, W in C order.
    """
    moving = warped(pair[1], resample(field, control, lattice), lattice)
    costs = correlation(pair[0], moving, lattice, control, steps)
    return costs - costs.mean(0)


class _Estimator(nn.Module):
    """Convolutions from the cost volume, the fixed features and the field so far to the displacements that are left."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        ends = pairwise((channels_in, *WIDTHS))
        self.layers = nn.Sequential(*(_convolution(*channels) for channels in ends))
        self.last = nn.Conv3d(WIDTHS[-1], 3, 3, padding=1)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Return displacements (3, nD, nH, nW) in mm along the axes, and the last layer's input (C, nD, nH, nW)."""
        hidden = self.layers(given[None])
        return FIELD_UNIT_MM * self.last(hidden)[0], hidden[0]


def _context() -> nn.Sequential:
    """Make the context network: dilated convolutions that see far around a node and keep the resolution."""
    width = WIDTHS[-1]
    first = _convolution(width + 3, width)
    return nn.Sequential(first, *(_convolution(width, width, d) for d in DILATIONS), nn.Conv3d(width, 3, 3, padding=1))


def _convolution(channels_in: int, channels_out: int, dilation: int = 1) -> nn.Sequential:
    """Make a convolution of 3^3 with a leaky ReLU, as published."""
    convolution = nn.Conv3d(channels_in, channels_out, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(convolution, nn.LeakyReLU(SLOPE, inplace=True))
