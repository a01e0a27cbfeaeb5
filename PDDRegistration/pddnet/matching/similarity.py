"""Compare two scans within the fixed body and both views: correlation of coarse features, cosine of carried ones."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..tensor.lattice import mesh, resample
from ..tensor.scan import Scan
from .feature_types import CoarseFeatures

AGREEMENT_SPACING_MM = 8.0  # enough, because structures are large


class Similarity:
    """Compare the moving scan, under any transform, with a fixed scan whose features are computed once."""

    def __init__(self, fixed: Scan, moving: Scan, coarse: CoarseFeatures) -> None:
        """Compute the features of the fixed scan.

        Args:
            fixed: on the lattice where the scans are to be compared.
            coarse: features to compare; evaluated only inside the body if each depends on one voxel.
        """
        self._moving, self._describe, self._lattice = moving, coarse.describe, fixed.grid
        body = fixed.body * fixed.view
        self._nodes = body.flatten().nonzero()[:, 0] if coarse.local else None
        self._points = self._picked(mesh(fixed.grid, body.device))
        self._body = self._picked(body[None])[0]
        self._features = coarse.describe(self._picked(fixed.values))
        moving_body = float((moving.body * moving.view).sum()) * float(moving.grid.spacing.prod())
        self._moving_cells = moving_body / float(fixed.grid.spacing.prod())

    def __call__(self, affine: Affine, field: Tensor | None = None) -> tuple[float, float]:
        """Correlate the features within the overlap: return -1..1, and the share of the smaller body that both show.

        Args:
            affine, field: x -> affine(x + u(x)), fixed to moving points (LPS mm); u (3, D, H, W) on the lattice of the
                fixed scan, in mm along its array axes.
        """
        points = self._points if field is None else self._points + self._picked(field)
        moving = self._moving.values_at(points, self._lattice, affine)
        moving_body, moving_view = moving[1], moving[2]
        weight = self._body * moving_view
        total = weight.sum().clamp(min=1.0)
        f, m = (_centred(x, weight, total) for x in (self._features, self._describe(moving)))
        weighted = weight * f
        scale = ((weighted * f).sum() * (weight * m * m).sum()).clamp(min=1e-6).sqrt()
        common = float((weight * moving_body).sum())
        smaller = min(float(self._body.sum()), self._moving_cells / abs(np.linalg.det(affine.matrix)))
        return float((weighted * m).sum() / scale), min(common / max(smaller, 1.0), 1.0)

    def _picked(self, x: Tensor) -> Tensor:
        """Pick the nodes to compare from (C, D, H, W): (C, N), or all nodes unchanged."""
        return x if self._nodes is None else x.flatten(1).index_select(1, self._nodes)


def _centred(x: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    """Subtract from features (C, ...) their weighted means; weight (...) with the sum `total`."""
    means = (x * weight).flatten(1).sum(1) / total
    return x - means.view(-1, *[1] * weight.dim())


def agreement(fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid) -> float:
    """Return the cosine between the features that two scans carry, where both show the fixed body; 0 without any.

    Range -1..1. affine, field: as for `Similarity`, with u on `lattice`; compared at AGREEMENT_SPACING_MM.
    """
    coarse = lattice.isotropic(AGREEMENT_SPACING_MM)
    u = resample(field, lattice, coarse)
    fixed_view = fixed.warped(coarse, Affine.identity())
    moving_view = moving.warped(coarse, affine, u)
    weight = fixed_view.body * fixed_view.view * moving_view.view
    f = fixed.features_at(coarse, Affine.identity()) * weight
    m = moving.features_at(coarse, affine, u) * weight
    return float((f * m).sum() / (f.square().sum() * m.square().sum()).clamp(min=1e-6).sqrt())
