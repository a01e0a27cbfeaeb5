"""Refinement: gradient descent of the displacement field on the features themselves, below the steps of the search.

The instance optimisation of ConvexAdam (Siebert et al. 2021, doi:10.1007/978-3-030-97281-3_2): Adam on a coarse grid of
displacements, averaged to be smooth, with a diffusion penalty.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.presets import INVERSE_TEMPERATURE, Preset, Refinement
from ..tensor.adam import Adam
from ..tensor.convert import to_tensor
from ..tensor.execution import Work
from ..tensor.gather import Lookup
from ..tensor.lattice import along_axes, averages, compose, linear_weights, positions, resample
from ..tensor.scan import Scan
from .discrete import FeatureMap
from .feature_maps import FeatureMaps
from .feature_types import dense_features
from .instance_optimisation import diffusion_gradient

STRIDE = 3  # voxels: each step of the descent uses another one of every 3 x 3 x 3
MARGIN_MM = 16.0  # around the body's box, within which features are computed
FIRST_STEP_MM, LAST_STEP_MM = 1.2, 0.15  # of Adam
LEAST_WEIGHT = 0.05  # voxels that count less are left out


def refine_field(
    fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid, settings: Refinement, preset: Preset,
    work: Work,
) -> Tensor:  # fmt: skip
    """The field after gradient descent on the mean squared difference of the features.

    Args:
        affine: fixed to moving points, LPS mm; it follows the field.
        field: (3, D, H, W) on `lattice`, mm along its array axes, as is the result.
    """
    spacing = preset.working_spacing_mm
    around = fixed.box.isotropic(spacing, MARGIN_MM)
    dense = dense_features(preset)
    both = FeatureMaps.of(fixed, moving, around, affine, field, lattice, spacing, work, dense=dense)
    control = fixed.box.isotropic(settings.control_spacing_mm, settings.control_spacing_mm)
    subsets, moving_map = _subsets(both.near_body(0), control), _lookup(both.maps[1])
    u = field.new_zeros((3, *control.shape))
    adam = Adam(u)
    for step in range(settings.iterations if subsets else 0):
        work.tick()
        voxels = subsets[step % len(subsets)]
        gradient = voxels.gradient(voxels.displacements(u), moving_map)
        u.grad = INVERSE_TEMPERATURE * voxels.on_control(gradient) + settings.smoothness * diffusion_gradient(u)
        adam.step(FIRST_STEP_MM + (LAST_STEP_MM - FIRST_STEP_MM) * step / settings.iterations)
    smooth = along_axes(u, _smoothing(control, u))
    return compose(field, resample(smooth, control, lattice), lattice)


def _lookup(feature_map: FeatureMap) -> Lookup:
    """A feature map to be interpolated, its weight after its features."""
    return Lookup(feature_map.features, feature_map.weight[None])


def _subsets(fixed: FeatureMap, control: Grid) -> list[VoxelSubset]:
    """The fixed scan's voxels in STRIDE^3 subsets, one for every step of the descent in turn; none that is empty."""
    rows = _lookup(fixed)
    starts = itertools.product(range(STRIDE), repeat=3)
    windows = (tuple(slice(start, None, STRIDE) for start in along) for along in starts)
    subsets = (VoxelSubset(fixed, rows, control, window) for window in windows)
    return [subset for subset in subsets if len(subset.weight)]


class VoxelSubset:
    """Every third voxel of the fixed scan along every axis that counts: N voxels, their features and displacements."""

    def __init__(self, fixed: FeatureMap, rows: Lookup, control: Grid, window: tuple[slice, ...]) -> None:
        device = fixed.weight.device
        self._nodes = (fixed.weight[window] > LEAST_WEIGHT).flatten().nonzero()[:, 0]
        voxels = torch.arange(fixed.weight.numel(), device=device).view(fixed.weight.shape)[window].flatten()
        voxels = voxels.index_select(0, self._nodes)
        found = rows.at(voxels)
        self._features, weight = found[:, :-1], found[:, -1:]
        self.weight = weight / weight.sum()
        _, height, width = rows.shape
        self._voxels = torch.stack([voxels // (height * width), voxels // width % height, voxels % width]).float()
        self._spacing = to_tensor(fixed.lattice.spacing[::-1], device)[:, None]
        on_control = positions(fixed.lattice, control, device)
        self._interpolation = [
            linear_weights(axis[part], len(smoothing)) @ smoothing
            for axis, part, smoothing in zip(on_control, window, _smoothing(control, weight), strict=True)
        ]

    def displacements(self, u: Tensor) -> Tensor:
        """(3, N) at the voxels, from u (3, ...) on the control grid, smoothed."""
        d, h, w = self._interpolation
        across = h @ (u @ w.T)
        return (d @ across.flatten(2)).flatten(1).index_select(1, self._nodes)

    def on_control(self, gradient: Tensor) -> Tensor:
        """(3, ...) on the control grid, from (3, N) at the voxels: the adjoint of `displacements`."""
        d, h, w = self._interpolation
        everywhere = gradient.new_zeros(3, len(d) * len(h) * len(w)).index_copy_(1, self._nodes, gradient)
        across = (d.T @ everywhere.view(3, len(d), -1)).unflatten(2, (len(h), len(w)))
        return (h.T @ across) @ w

    def gradient(self, displacement: Tensor, moving: Lookup) -> Tensor:
        """(3, N) per mm: derivative of the weighted mean squared feature difference by the displacements (3, N).

        Written out, as the whole descent is: autograd takes several times as long.
        """
        found, inside = moving.values_and_slopes(self._voxels + displacement / self._spacing)
        difference, in_view = found[:, 0, :-1] - self._features, found[:, 0, -1:]
        by_channel = torch.cat([difference * in_view * (2 / difference.shape[1]), _mean_square(difference)], 1)
        per_voxel = (found[:, 1:] @ (by_channel * self.weight)[:, :, None])[:, :, 0].T
        return per_voxel * inside / self._spacing


def _mean_square(x: Tensor) -> Tensor:
    return x.square().mean(1, keepdim=True)


def _smoothing(control: Grid, like: Tensor) -> list[Tensor]:
    """For every axis a moving average of three control points, (n, n), its own adjoint: about a quadratic B-spline."""
    return [averages(n, 1, like) for n in control.shape]
