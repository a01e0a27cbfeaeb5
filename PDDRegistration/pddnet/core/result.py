"""What a run returns: `Registration` and its `Verdict`. torch-free, so that a result can be used anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .field import DisplacementField
from .grid import Grid
from .image import AIR, Image

Progress = Callable[[float, str], None]
"""Called with (fraction done 0..1, stage); it may raise `Cancelled` to stop the run there."""


@dataclass(frozen=True)
class Verdict:
    """Whether to trust a result.

    status: 'ok', 'doubtful' or 'failed'; reasons: one sentence each, empty when ok;
    risk: 0 (safe) .. 1 (surely wrong); measures: the numbers that it was judged by.
    """

    status: str
    reasons: tuple[str, ...]
    risk: float
    measures: dict[str, float]


@dataclass(frozen=True)
class Registration:
    """The transform of one run and what is known about it."""

    field: DisplacementField  # fixed -> moving, LPS mm, alignment included
    uncertainty: Image  # mm, standard deviation of the displacement, on the field's grid
    verdict: Verdict
    fixed_grid: Grid
    preset: str
    device: str
    seconds: dict[str, float]  # per stage, in order
    inverse_consistency: float | None  # mm between the directions, mean over the body; of the last stage that has both
    warnings: tuple[str, ...] = ()

    def warp(self, image: Image, *, labels: bool = False, fill: float | None = None) -> Image:
        """The moving volume or label map on the fixed grid, in its own scalar type (outside: air, or label 0)."""
        if fill is None:
            fill = 0 if labels else max(AIR, float(image.array.min()))
        return self.field.warp(image, self.fixed_grid, fill=fill, labels=labels)

    def inverse(self, moving_grid: Grid | None = None) -> tuple[DisplacementField, float]:
        """Moving -> fixed, on an isotropic grid over the moving scan (else the field's), and its residual in mm."""
        grid = moving_grid.isotropic(float(self.field.grid.spacing[0])) if moving_grid else self.field.grid
        return self.field.invert(grid)
