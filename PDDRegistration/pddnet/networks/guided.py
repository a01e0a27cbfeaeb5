"""Define the semantically guided networks for large deformations, and the one of Ha et al. that they extend.

Two segmentation U-Nets with shared weights name the structures of both scans; two registration networks in series
predict the field, the second from maps of the moving scan warped by the first one's. The three variants are those of
the ablation in the paper `SOURCE`, with all structures in place of the liver:

`Ha`: registration networks that only go down, so that the field is coarse (Ha et al. 2020,
doi:10.3390/s20051392, in 3-D). `Guided`: they go up again. `GuidedSkips`: at each level they also see the maps that
the segmentation networks had on their way up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..core.grid import Grid
from ..features.label_table import STRUCTURES
from ..features.obelisk import intensities
from ..tensor.lattice import resample, warped
from ..tensor.scan import Scan
from .base import FIELD_UNIT_MM, Prediction, RegistrationNetwork, Sizes
from .unet import UNet, pyramid

SOURCE = "Semantically guided registration of CT with large deformations, section 2"
LEVELS = 4  # of the pyramid below the scans: the registration networks see three below the segmentation's level 1
OUTPUT = 1  # the level of the segmentation: half the resolution of the scans


class Guided(RegistrationNetwork):
    """Network without the skip connections between both parts; its field has half the resolution of the scans."""

    ups = 3
    skips = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        widths = tuple(sizes.channels * factor for factor in (1, 2, 4))
        self.segmentation = UNet(1, widths, 2, nn.InstanceNorm3d)
        self.classes = nn.Conv3d(sizes.channels, len(STRUCTURES), 1)
        self.first, self.second = (_FieldNet(widths, self.ups, self.skips) for _ in range(2))

    def forward(self, fixed: Scan, moving: Scan, box: Grid) -> Prediction:
        """Predict the displacements; see `RegistrationNetwork`."""
        grids = pyramid(box.isotropic(self.sizes.spacing), LEVELS)
        images = torch.stack([intensities(scan, grids[0])[None] for scan in (fixed, moving)])
        maps = self.segmentation(images, grids)
        logits = self.classes(maps[-1])
        pairs = [torch.softmax(logits, 1), *maps[::-1]]  # (2, C, D, H, W) each: fixed and moving
        levels = [OUTPUT, *range(OUTPUT, OUTPUT + len(maps))]
        here, control = grids[OUTPUT], grids[OUTPUT + LEVELS - 1 - self.ups]
        first = self.first(pairs, grids[OUTPUT:])
        again = [self._warped(pair, first, control, grids[level]) for pair, level in zip(pairs, levels, strict=True)]
        second = self.second(again, grids[OUTPUT:])
        field = first + second  # added, as published, not composed
        return Prediction(field, control, ((first, control),), (logits[0], logits[1]), here)

    @staticmethod
    def _warped(pair: Tensor, field: Tensor, control: Grid, grid: Grid) -> Tensor:
        """Warp the moving one of two maps (2, C, D, H, W) by a field (3, nD, nH, nW) on `control`."""
        return torch.stack([pair[0], warped(pair[1], resample(field, control, grid), grid)])


class GuidedSkips(Guided):
    """Network whose registration part also sees the maps of the segmentation's way up, at each level."""

    skips = True


class Ha(Guided):
    """Network whose field is as coarse as its registration part goes down: 64 mm between points for voxels of 4 mm.

    With one step down fewer than published, it has the spacing that the paper's experiment had with voxels of 2 mm.
    """

    ups = 0


class _FieldNet(nn.Module):
    """Registration network: from the structures of both scans to a field (3, nD, nH, nW) in mm along the axes."""

    def __init__(self, widths: Sequence[int], ups: int, skips: bool) -> None:
        super().__init__()
        guides = [2 * width for width in widths] if skips else []
        self.skips, self.ups = skips, ups
        self.net = UNet(2 * len(STRUCTURES), widths, ups, nn.BatchNorm3d, guides)
        self.last = nn.Conv3d(widths[0] if ups else widths[-1], 3, 3, padding=1)

    def forward(self, pairs: Sequence[Tensor], grids: Sequence[Grid]) -> Tensor:
        """Predict from the structures of fixed and moving scan, then their guiding maps: (2, C, D, H, W) each."""
        given, *guides = (pair.flatten(0, 1)[None] for pair in pairs)
        found = self.net(given, grids, guides if self.skips else [])[-1]
        return FIELD_UNIT_MM * self.last(found)[0]
