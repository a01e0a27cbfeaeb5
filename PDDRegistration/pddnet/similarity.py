"""How alike two scans are where both show the fixed body, and how much of it both show."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .scan import Affine, Scan

if TYPE_CHECKING:
    from torch import Tensor


class Similarity:
    """Compares the moving scan, mapped in one way or another, with a fixed scan that is described once."""

    def __init__(self, here: Scan, moving: Scan, describe: Callable[[Scan], Tensor]) -> None:
        """here: the fixed scan on the lattice to compare on; describe: a scan's features (C, D, H, W)."""
        self._moving, self._describe, self._lattice = moving, describe, here.grid
        self._body = here.values[1] * here.values[2]
        self._features = describe(here)
        moving_body = float((moving.values[1] * moving.values[2]).sum()) * float(moving.grid.spacing.prod())
        self._moving_cells = moving_body / float(here.grid.spacing.prod())

    def __call__(self, affine: Affine, field: Tensor | None = None) -> tuple[float, float]:
        """Correlation of the features within the overlap, -1..1, and the share of the smaller body that both show.

        Args:
            affine, field: x -> affine(x + u(x)), fixed to moving points (LPS mm); u (3, D, H, W) on the lattice of the
                fixed scan, in mm along its array axes.
        """
        there = self._moving.warped(self._lattice, affine, field)
        weight = self._body * there.values[2]
        total = weight.sum().clamp(min=1.0)
        f, m = (x - (x * weight).sum((1, 2, 3), keepdim=True) / total for x in (self._features, self._describe(there)))
        scale = ((weight * f * f).sum() * (weight * m * m).sum()).clamp(min=1e-6).sqrt()
        common = float((weight * there.values[1]).sum())
        smaller = min(float(self._body.sum()), self._moving_cells / abs(np.linalg.det(affine.matrix)))
        return float((weight * f * m).sum() / scale), min(common / max(smaller, 1.0), 1.0)
