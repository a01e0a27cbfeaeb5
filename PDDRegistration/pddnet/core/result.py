"""Define what a run returns: `Registration` and `Verdict`. Needs no torch, so a result can be used anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .affine import Affine
from .field import IMAGE_ENDINGS, DisplacementField
from .grid import Grid
from .hounsfield import outside_value
from .image import Image
from .linear import DEFORMABLE, LinearTransform
from .structures import StructureFit

Progress = Callable[[float, str], None]
"""Callback with (fraction done 0..1, stage); it may raise `Cancelled` to stop the run."""


@dataclass(frozen=True)
class Verdict:
    """Judgement whether a result can be trusted.

    Attributes:
        status: 'ok', 'doubtful' or 'failed'.
        reasons: one sentence each, empty when ok.
        risk: 0 (safe) .. 1 (surely wrong).
        measures: the measures that the judgement is based on.
    """

    status: str
    reasons: tuple[str, ...]
    risk: float
    measures: dict[str, float]


@dataclass(frozen=True)
class InverseParts:
    """Exact inverse of x -> affine(x + u(x)) for a diffeomorphic u, x + u(x) = exp(v)(x): y -> exp(-v)(affine^-1(y)).

    Attributes:
        affine: the map that is undone first; fixed to moving points, LPS mm.
        back: the displacements of exp(-v), on the grid of u, at whose border they are zero; LPS mm.
    """

    affine: Affine
    back: DisplacementField

    def sampled(self, grid: Grid) -> DisplacementField:
        """Sample the inverse at the nodes of a grid of the moving space as a displacement field."""
        points = grid.points()
        landed = self.back.transform_points(self.affine.inverse.points(points))
        return DisplacementField((landed - points).astype(np.float32), grid)


@dataclass(frozen=True)
class Registration:
    """Result of one run: the transform, its uncertainty and the verdict."""

    field: DisplacementField  # fixed -> moving, LPS mm, alignment included; of a linear result its samples
    uncertainty: Image  # mm, standard deviation of the displacement, on the field's grid
    verdict: Verdict
    fixed_grid: Grid
    preset: str
    device: str
    seconds: dict[str, float]  # per stage, in order
    inverse_consistency: float | None  # mm between the directions, mean over the body; last stage with both
    warnings: tuple[str, ...] = ()
    linear: LinearTransform | None = None  # the result itself, where a linear one was asked for
    inverse_parts: InverseParts | None = None  # where the result is diffeomorphic
    expected_error: Image | None = None  # mm, 80 % of the errors lie below, on the field's grid; None: not of CT
    structures: tuple[StructureFit, ...] = ()  # those the network names; empty where the preset does not use it

    @property
    def transform_type(self) -> str:
        """Return the kind of the result, one of `linear.TRANSFORM_TYPES`."""
        return DEFORMABLE if self.linear is None else self.linear.transform_type

    @property
    def diffeomorphic(self) -> bool:
        """Tell whether the deformation before the affine map is the exponential of a velocity field."""
        return self.inverse_parts is not None

    def to_sitk(self) -> sitk.Transform:
        """Convert to ITK's transform, fixed to moving points, LPS mm."""
        return self.field.to_sitk() if self.linear is None else self.linear.to_sitk()

    def write(self, path: str | Path) -> None:
        """Write the transform; a linear one as such, but sampled in a displacement image (.nii.gz, .nii, .nrrd, .mha).

        Raises:
            RuntimeError: SimpleITK cannot write there.
        """
        if self.linear is None or str(path).lower().endswith(IMAGE_ENDINGS):
            self.field.write(path)
        else:
            sitk.WriteTransform(self.linear.to_sitk(), str(path))

    def warp(self, image: Image, *, labels: bool = False, fill: float | None = None) -> Image:
        """Warp a moving volume or label map onto the fixed grid, in its own scalar type.

        fill: the value outside the moving volume; by default air (the lowest value in MR), and label 0.
        """
        if fill is None:
            fill = 0 if labels else outside_value(image.array)
        return image.resample(self.fixed_grid, self.to_sitk(), fill=fill, labels=labels)

    def inverse(self, moving_grid: Grid | None = None) -> tuple[DisplacementField, float]:
        """Invert the field to moving -> fixed, on an isotropic grid over the moving scan (default: the field's own).

        Returns:
            the inverse field and its residual in mm, see `DisplacementField.invert`; 0 for a linear result. The inverse
            of a diffeomorphic result comes from its velocity; the residual is what interpolation leaves.
        """
        grid = moving_grid.isotropic(float(self.field.grid.spacing[0])) if moving_grid else self.field.grid
        if self.linear is not None:
            return self.linear.inverse.sampled(grid), 0.0
        if self.inverse_parts is None:
            return self.field.invert(grid)
        inverse = self.inverse_parts.sampled(grid)
        return inverse, self.field.residual_of(inverse)
