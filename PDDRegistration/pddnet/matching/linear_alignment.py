"""Find a linear result: starts from the alignment and from the masks, and their refinement (`LinearSearch`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.image import Image
from ..core.intensity import is_ct
from ..core.linear import LinearTransform, projected
from ..core.presets import Preset
from ..tensor.convert import to_array, to_tensor
from ..tensor.execution import Work
from ..tensor.scan import Scan, inside, prepare
from .alignment import find_alignment
from .feature_types import FeatureScans, coarse_features
from .linear_refinement import LEVELS, MaskedScan, refine_linear
from .similarity import Similarity
from .verdict import MOST_SIMILARITY_LOSS

LEAST_WEIGHT = 1.0  # voxels that both scans show: with fewer, the whole fixed body counts

MaskedPair = tuple[MaskedScan, MaskedScan]  # fixed, moving


@dataclass(frozen=True)
class LinearSearch:
    """Search for a linear transform of the fixed to the moving volume.

    A mask (nonzero: may be compared) restricts the voxels that are compared, not what is seen around them: the contrast
    at its border counts, and the whole scans are aligned too, as the masked parts may show too little for that.
    """

    fixed: Image
    moving: Image
    fixed_mask: Image | None
    moving_mask: Image | None
    transform_type: str  # a linear one
    preset: Preset
    device: torch.device
    work: Work

    def run(self, start: Affine, *, align: bool) -> tuple[LinearTransform, Affine]:
        """Return the transform, and the start of its kind that it was refined from.

        Args:
            start: affine map, fixed to moving points, LPS mm.
            align: whether to look for other starts besides it.
        """
        scans = {spacing: self._scans(spacing) for spacing in sorted({level.spacing_mm for level in LEVELS})}
        coarse = scans[LEVELS[0].spacing_mm]
        centre = _middle(coarse, start)
        starts = [start, *(self._other_starts(coarse) if align else ())]
        starts = [projected(each, self.transform_type, centre) for each in starts]
        found = refine_linear(scans, starts, self.transform_type, self.work)
        if not self._masked and self._resembles_less(found, starts[0], coarse):
            found = starts[0]
        return LinearTransform(found, self.transform_type, centre), starts[0]

    @property
    def _masked(self) -> bool:
        return self.fixed_mask is not None or self.moving_mask is not None

    def _resembles_less(self, found: Affine, start: Affine, pair: MaskedPair) -> bool:
        """Return whether tissues lie on each other less than at the start, as between patients of different shape."""
        similarity = Similarity(pair[0].scan, pair[1].scan, coarse_features(self.preset))
        return similarity(found)[0] < similarity(start)[0] - MOST_SIMILARITY_LOSS

    def _scans(self, spacing_mm: float) -> MaskedPair:
        return (
            self._scan(self.fixed, self.fixed_mask, spacing_mm),
            self._scan(self.moving, self.moving_mask, spacing_mm),
        )

    def _scan(self, image: Image, mask: Image | None, spacing_mm: float) -> MaskedScan:
        in_hu = self.preset.hu or is_ct(image)
        scan = prepare(image, spacing_mm, self.device, hu=in_hu, tick=self.work.tick)
        if mask is None:
            return MaskedScan(scan, scan.view)
        return MaskedScan(scan, scan.view * to_tensor(inside(mask, scan.grid), self.device))

    def _other_starts(self, pair: MaskedPair) -> Iterator[Affine]:
        """Yield the alignment of the whole scans where a mask hides part of them, and the masks' centres aligned."""
        if not self._masked:
            return
        whole = pair[0].scan, pair[1].scan
        similarity = Similarity(*whole, coarse_features(self.preset))
        plain = dataclasses.replace(self.preset, affine_fit=False)
        aligned = find_alignment(whole, FeatureScans(whole, None, ()), similarity, plain, self.work).affine
        yield aligned
        if self.fixed_mask is not None and self.moving_mask is not None:
            centres = [_centroid(each.compared, each.scan) for each in pair]
            for matrix in (np.eye(3), aligned.matrix):
                yield Affine(matrix, centres[1] - matrix @ centres[0])


def _middle(pair: MaskedPair, affine: Affine) -> np.ndarray:
    """Return the middle of what is compared in the fixed body and seen by the moving scan, (3,) LPS mm."""
    fixed, moving = pair
    body = fixed.scan.body * fixed.compared
    both = body * moving.scan.warped(fixed.scan.grid, affine).view
    return _centroid(both if float(both.sum()) > LEAST_WEIGHT else body, fixed.scan)


def _centroid(weight: Tensor, scan: Scan) -> np.ndarray:
    """Return the weighted mean of the voxels' positions, (3,) LPS mm; weight (D, H, W) on the scan's grid."""
    total = max(float(weight.sum()), 1e-6)
    along = [to_array(weight.sum(others)).astype(float) for others in ((0, 1), (0, 2), (1, 2))]  # W, H, D
    return scan.grid.index_to_point([float(sums @ np.arange(len(sums))) / total for sums in along])
