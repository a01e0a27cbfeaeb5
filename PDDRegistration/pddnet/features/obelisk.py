"""Compute learned OBELISK features: edge filters, their differences at trained offsets, then a small network.

Heinrich, MICCAI 2019 (pdd-net, doi:10.1007/978-3-030-32226-7_6), section 2.1. Shapes: B scans, C channels, D, H, W
nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.hounsfield import FEATURE_RANGE_HU, PADDING_HU
from ..core.image import Image
from ..tensor.lattice import mesh, resample
from ..tensor.scan import Scan

OBELISK_CHANNELS = 16
OBELISK_SPACING_MM = 6.0  # as published at 2 mm voxels, features in every third of them
HU_PER_UNIT = 500.0  # HU per unit of the network's input
EDGE_FILTERS = 4
# Standard deviation of the offsets before training. The published offsets are in normalised coordinates (fractions of
# half the volume): 0.05 there are about 10 mm in a trunk.
FIRST_OFFSETS_MM = 10.0
PAIRS_AT_ONCE = 4  # pairs of offsets whose intermediate results are kept at a time in training


class Obelisk(nn.Module):
    """Network that computes features of a scan from the position and strength of the edges around each node.

    The layers are the published ones (120,780 weights for 16 channels), with every length in mm: 5^3 edge filters on
    intensities of `spacing` / 2, their responses `spacing` apart and sampled at 4 * channels trained offsets, in pairs
    of which one is subtracted from the other; then 1^3, 3^3 and 1^3 convolutions over nodes that are `spacing` apart.
    No layer pads: outside the scan its fill value is read, so a feature does not depend on where the nodes end.

    Attributes:
        offsets: (2, 2 * channels, 3) in mm along D, H, W of a canonical grid (along +z, +y, +x in LPS).
    """

    def __init__(self, channels: int = OBELISK_CHANNELS, spacing: float = OBELISK_SPACING_MM) -> None:
        super().__init__()
        self.channels, self.spacing = channels, spacing
        self.edges = nn.Sequential(
            nn.Conv3d(1, EDGE_FILTERS, 5, stride=2, bias=False), nn.BatchNorm3d(EDGE_FILTERS), nn.ReLU(inplace=True)
        )
        self.offsets = nn.Parameter(FIRST_OFFSETS_MM * torch.randn(2, 2 * channels, 3))
        wide = 4 * channels
        self.mix = nn.Sequential(
            nn.Conv3d(2 * channels * EDGE_FILTERS, wide, 1, bias=False), nn.BatchNorm3d(wide), nn.ReLU(inplace=True),
            nn.Conv3d(wide, wide, 3, bias=False), nn.BatchNorm3d(wide), nn.ReLU(inplace=True),
            nn.Conv3d(wide, channels, 1),
        )  # fmt: skip

    def forward(self, scans: Sequence[Scan], nodes: Grid) -> Tensor:
        """Compute features (B, channels, D, H, W) of B scans at the nodes of a grid, in the grid's array order.

        In training the scans are normalised together, so that equal structures in two of them keep equal features. The
        filters are applied along the canonical axes. Features of nodes that are not `spacing` apart are interpolated
        from nodes that are.

        Args:
            scans: in HU, on any grids; best prepared at `spacing` / 2 or coarser: finer voxels are not averaged here.
        """
        order, flips = nodes.canonical_axes()
        upright = Image(np.broadcast_to(np.uint8(0), nodes.shape), nodes).canonical().grid
        lattice = upright
        if not np.allclose(upright.spacing, self.spacing, rtol=1e-4):
            lattice = upright.isotropic(self.spacing, self.spacing)
        features = self._on(scans, lattice)
        if lattice is not upright:
            features = torch.stack([resample(x, lattice, upright) for x in features])
        features = features.flip([2 + axis for axis, flip in enumerate(flips) if flip])
        return features.permute(0, 1, *(2 + order.index(axis) for axis in range(3)))

    def _on(self, scans: Sequence[Scan], lattice: Grid) -> Tensor:
        """Compute the features (B, channels, D, H, W) on a lattice with the spacing of this network."""
        margin = math.ceil(float(self.offsets.detach().abs().max()) / self.spacing) + 1  # nodes that the offsets reach
        size = [n + 2 for n in lattice.shape]  # the 3^3 convolution takes one node at each end
        read = _around(lattice, 1 + margin)
        edges = self.edges(torch.stack([intensities(scan, read)[None] for scan in scans]))
        parts = [
            checkpoint(self._differences, edges, pairs, margin, size, use_reentrant=False, preserve_rng_state=False)
            for pairs in self.offsets.split(PAIRS_AT_ONCE, dim=1)
        ]
        return self.mix(torch.cat(parts, 1))

    def _differences(self, edges: Tensor, pairs: Tensor, margin: int, size: list[int]) -> Tensor:
        """Subtract edges at one offset from those at the other, n pairs (2, n, 3): (B, n * EDGE_FILTERS, *size)."""
        steps = pairs / self.spacing + margin
        low = steps.detach().floor()
        looked_up = [
            [_shifted(edges, start, weight, size) for start, weight in zip(starts, weights, strict=True)]
            for starts, weights in zip(low.int().tolist(), steps - low, strict=True)
        ]
        return torch.cat([ahead - behind for ahead, behind in zip(*looked_up, strict=True)], 1)


def intensities(scan: Scan, lattice: Grid) -> Tensor:
    """Sample intensities (D, H, W) on a lattice: clipped HU, -1024 outside body and view, in units of HU_PER_UNIT."""
    hu, body, view = scan.values_at(mesh(lattice, scan.values.device), lattice, Affine.identity())
    return (
        torch.lerp(torch.full_like(hu, PADDING_HU), hu.clamp(PADDING_HU, FEATURE_RANGE_HU[1]), body * view)
        / HU_PER_UNIT
    )


def _around(lattice: Grid, margin: int) -> Grid:
    """Make the grid that the edge filters read, for responses at the lattice's nodes and `margin` nodes around it."""
    spacing = lattice.spacing / 2
    start = lattice.index_to_point(np.full(3, -margin - 1.0))
    d, h, w = (2 * (n + 2 * margin) + 3 for n in lattice.shape)
    return Grid((d, h, w), spacing, start, lattice.direction)


def _shifted(x: Tensor, start: list[int], weight: Tensor, size: list[int]) -> Tensor:
    """Interpolate x (B, C, D, H, W) in unit steps from index start + weight: (B, C, *size); weight (3) in 0..1."""
    for dim, (first, w, n) in enumerate(zip(start, weight, size, strict=True), start=2):
        low, high = x.narrow(dim, first, n), x.narrow(dim, first + 1, n)
        x = low + (high - low) * w
    return x
