"""How alike two scans are where both show the fixed body, and how much of it both show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..tensor.lattice import mesh, resample
from ..tensor.scan import Scan

AGREEMENT = 8.0


class Similarity:
    """Compares the moving scan, mapped in one way or another, with a fixed scan that is described once."""

    def __init__(self, here: Scan, moving: Scan, describe: Callable[[Tensor], Tensor], *, local: bool) -> None:
        """here: the fixed scan on the lattice to compare on; describe: a scan's values (3, ...) to features (C, ...).

        local: whether features depend on the values at their own place alone; then only the body's are computed.
        """
        self._moving, self._describe, self._lattice = moving, describe, here.grid
        body = here.body * here.view
        self._nodes = body.flatten().nonzero()[:, 0] if local else None
        self._where = self._picked(mesh(here.grid, body.device))
        self._body = self._picked(body[None])[0]
        self._features = describe(self._picked(here.values))
        moving_body = float((moving.body * moving.view).sum()) * float(moving.grid.spacing.prod())
        self._moving_cells = moving_body / float(here.grid.spacing.prod())

    def __call__(self, affine: Affine, field: Tensor | None = None) -> tuple[float, float]:
        """Correlation of the features within the overlap, -1..1, and the share of the smaller body that both show.

        Args:
            affine, field: x -> affine(x + u(x)), fixed to moving points (LPS mm); u (3, D, H, W) on the lattice of the
                fixed scan, in mm along its array axes.
        """
        where = self._where if field is None else self._where + self._picked(field)
        there = self._moving.values_at(where, self._lattice, affine)
        weight = self._body * there[2]
        total = weight.sum().clamp(min=1.0)
        sides = (self._features, self._describe(there))
        f, m = (x - ((x * weight).flatten(1).sum(1) / total).view(-1, *[1] * weight.dim()) for x in sides)
        weighted = weight * f
        scale = ((weighted * f).sum() * (weight * m * m).sum()).clamp(min=1e-6).sqrt()
        common = float((weight * there[1]).sum())
        smaller = min(float(self._body.sum()), self._moving_cells / abs(np.linalg.det(affine.matrix)))
        return float((weighted * m).sum() / scale), min(common / max(smaller, 1.0), 1.0)

    def _picked(self, x: Tensor) -> Tensor:
        """(C, D, H, W) at the nodes that are compared: (C, N), or all as they are."""
        return x if self._nodes is None else x.flatten(1).index_select(1, self._nodes)


def agreement(fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid) -> float:
    """Cosine between the codes of two scans, -1..1, where both show the fixed body; 0 without codes.

    affine, field: as for `Similarity`, with u on `lattice`; compared at AGREEMENT mm, because structures are large.
    """
    coarse = lattice.isotropic(AGREEMENT)
    u = resample(field, lattice, coarse)
    here, there = fixed.warped(coarse, Affine.identity()).values, moving.warped(coarse, affine, u).values
    weight = here[1] * here[2] * there[2]
    f, m = fixed.codes_at(coarse, Affine.identity()) * weight, moving.codes_at(coarse, affine, u) * weight
    return float((f * m).sum() / (f.square().sum() * m.square().sum()).clamp(min=1e-6).sqrt())
