"""Refine the field to below a voxel by the local contrast: for two scans of one patient, which look alike in detail.

Gauss-Newton steps reduce the squared differences of the local contrast, that is, raise the local normalised
correlation, together with a penalty on the strain of the whole displacement. Regions without contrast exert no force:
their surroundings carry them. Large differences get little weight (Geman and McClure 1987), so that what one scan alone
shows, such as a resected lesion, does not draw the rest.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.presets import ContrastLevel
from ..features.local_contrast import local_contrast
from ..tensor.diffusion import SYMMETRIC, Diffusion
from ..tensor.execution import Work
from ..tensor.lattice import HALF, along_axes, averages, linear_weights, mesh, positions, resample
from ..tensor.scan import Scan

SMOOTHNESS = 0.3  # weight of the penalty on the strain
YIELD_STRAIN = 0.05  # see `Diffusion`
NOISE_HU = 30.0  # weaker contrast counts as noise
TOLERANCE = 1.0  # difference of local contrast at which a voxel's weight is a quarter
SOLVER_ITERATIONS = 20
LEAST_VIEW = 0.9  # share of the moving voxels in view around a point, from which on it is compared
MARGIN_MM = 2.0  # around the body's box
MOST_VOXELS = 1.2e7  # of the lattice; a larger body gets larger voxels instead


def refine_by_contrast(
    fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid, level: ContrastLevel, work: Work
) -> Tensor:
    """Refine a field at one resolution.

    Args:
        fixed, moving: with voxels of about `level.spacing_mm`.
        affine: fixed to moving points, LPS mm; applied after the field.
        field: (3, D, H, W) on `lattice`, mm along its array axes, as is the result.
    """
    fit = _Fit(fixed, moving, affine, level, work)
    u = resample(field, lattice, fit.control)
    for _ in range(level.iterations):
        u = u + fit.step(u)
        work.tick()
    return along_axes(u, _spline(lattice, fit.control, u))


class _Fit:
    """Local contrast of both scans on one lattice, and the control points that move it."""

    def __init__(self, fixed: Scan, moving: Scan, affine: Affine, level: ContrastLevel, work: Work) -> None:
        box = fixed.box
        own_mm = float(fixed.grid.spacing.min())  # voxels finer than the scan's show nothing more
        spacing_mm = max(level.spacing_mm, own_mm, (float(box.extent.prod()) / MOST_VOXELS) ** (1 / 3))
        self._lattice = box.isotropic(spacing_mm, MARGIN_MM)
        self.control = box.isotropic(level.control_spacing_mm, level.control_spacing_mm)
        self._affine, self._work = affine, work
        self._smoothness = SMOOTHNESS * level.smoothness
        seen = _contrast(fixed, level).warped(self._lattice, Affine.identity())
        work.tick()
        self._moving = _contrast(moving, level)
        work.tick()
        self._fixed, self._slopes = seen.hu, _slopes(seen.hu, self._lattice)
        cell = (spacing_mm / level.control_spacing_mm) ** 3  # voxels per control point, inverted
        self._weight = fixed.near_body(self._lattice) * (seen.view > HALF) * cell
        self._nodes = mesh(self._lattice, seen.hu.device)
        self._interpolation = _spline(self._lattice, self.control, seen.hu)
        self._restriction = [matrix.T for matrix in self._interpolation]

    def step(self, u: Tensor) -> Tensor:
        """Return the Gauss-Newton step of the control points at u (3, nD, nH, nW), mm along the array axes."""
        moved = self._nodes + along_axes(u, self._interpolation)
        contrast, _, view = self._moving.values_at(moved, self._lattice, self._affine)
        difference = contrast - self._fixed
        slopes = (self._slopes + _slopes(contrast, self._lattice)).div_(2)
        weight = self._weight * (view > LEAST_VIEW) / (1 + (difference / TOLERANCE).square()).square()
        self._work.tick()
        penalty = Diffusion(u, float(self.control.spacing[0]), self._smoothness, YIELD_STRAIN)
        force = -self._on_control(slopes * (weight * difference)) - penalty.gradient(u)
        products = [self._on_control((slopes[i] * slopes[j] * weight)[None]) for i, j in SYMMETRIC]
        self._work.tick()
        return penalty.solve(torch.cat(products), force, SOLVER_ITERATIONS)

    def _on_control(self, x: Tensor) -> Tensor:
        """Add up (C, D, H, W) at the control points: the adjoint of their interpolation."""
        return along_axes(x, self._restriction)


def _contrast(scan: Scan, level: ContrastLevel) -> Scan:
    """Replace the intensities of a scan by their local contrast."""
    contrast = local_contrast(scan.hu, scan.view, scan.grid, level.window_mm, noise=NOISE_HU)
    return dataclasses.replace(scan, values=torch.stack([contrast, scan.body, scan.view]))


def _slopes(x: Tensor, lattice: Grid) -> Tensor:
    """Differentiate x (D, H, W) along D, H, W per mm: (3, D, H, W)."""
    return torch.stack(torch.gradient(x, spacing=[float(s) for s in lattice.spacing[::-1]]))


def _spline(lattice: Grid, control: Grid, like: Tensor) -> list[Tensor]:
    """Return matrices (n, control points) along D, H, W: about the weights of quadratic B-splines at the nodes."""
    return [
        linear_weights(at, n) @ averages(n, 1, at)
        for at, n in zip(positions(lattice, control, like.device), control.shape, strict=True)
    ]
