"""Refine the field by gradient descent on the feature difference, to below the displacement step.

Not `instance_optimisation.py`, which descends on the cost volume of one stage. ConvexAdam calls this refinement its
instance optimisation (Siebert et al. 2021, doi:10.1007/978-3-030-97281-3_2): Adam on a coarse grid of displacements,
which are smoothed by moving averages, with a diffusion penalty. A penalty on the volume change of the whole
displacement keeps two matches that do not fit together from tearing what lies between them.
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
from ..tensor.volume_change import volume_gradient
from .discrete import FeatureMap
from .feature_maps import FeatureMaps
from .feature_types import dense_features
from .instance_optimisation import diffusion_gradient

STRIDE = 3  # voxels: each step of the descent uses one voxel of every 3 x 3 x 3, another one in each step
MARGIN_MM = 16.0  # around the body's box, within which features are computed
FIRST_STEP_MM, LAST_STEP_MM = 1.2, 0.15  # learning rate of Adam, falling linearly
LEAST_WEIGHT = 0.05  # voxels of less weight are left out


def refine_field(
    fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid, settings: Refinement, preset: Preset,
    work: Work,
) -> Tensor:  # fmt: skip
    """Refine a field by gradient descent on the mean squared difference of the features.

    Args:
        affine: fixed to moving points, LPS mm; applied after the field.
        field: (3, D, H, W) on `lattice`, mm along its array axes, as is the result.
    """
    spacing = preset.working_spacing_mm
    around = fixed.box.isotropic(spacing, MARGIN_MM)
    dense = dense_features(preset)
    both = FeatureMaps.of(fixed, moving, around, affine, field, lattice, spacing, work, dense=dense)
    control = fixed.box.isotropic(settings.control_spacing_mm, settings.control_spacing_mm)
    before = resample(field, lattice, control)
    added = descend(both.near_body(0), both.maps[1], control, before, settings, work)
    return compose(field, resample(added, control, lattice), lattice)


def descend(
    fixed: FeatureMap, moving: FeatureMap, control: Grid, before: Tensor, settings: Refinement, work: Work
) -> Tensor:
    """Find, by gradient descent, displacements that reduce the mean squared difference of two feature maps.

    Args:
        fixed, moving: on one lattice, the moving one warped by the field so far; of a plane, one voxel deep.
        before: (3, nD, nH, nW) the field so far on `control`, mm along the array axes, as is the result.
    """
    subsets, moving_map = _subsets(fixed, control), _lookup(moving)
    u = torch.zeros_like(before)
    smoothing = _smoothing(control, u)
    adam = Adam(u)
    for step in range(settings.iterations if subsets else 0):
        work.tick()
        voxels = subsets[step % len(subsets)]
        gradient = voxels.gradient(voxels.displacements(u), moving_map)
        u.grad = INVERSE_TEMPERATURE * voxels.on_control(gradient) + settings.smoothness * diffusion_gradient(u)
        if settings.volume:
            change = volume_gradient(before + along_axes(u, smoothing), control)
            u.grad += settings.volume * along_axes(change, smoothing)
        adam.step(FIRST_STEP_MM + (LAST_STEP_MM - FIRST_STEP_MM) * step / settings.iterations)
    return along_axes(u, smoothing)


def _lookup(feature_map: FeatureMap) -> Lookup:
    """Prepare a feature map for interpolation, its weight as the last channel."""
    return Lookup(feature_map.features, feature_map.weight[None])


def _subsets(fixed: FeatureMap, control: Grid) -> list[VoxelSubset]:
    """Divide the fixed scan's voxels into STRIDE^3 subsets, which the steps use in turn; without empty ones."""
    rows = _lookup(fixed)
    starts = itertools.product(range(STRIDE), repeat=3)
    windows = (tuple(slice(start, None, STRIDE) for start in along) for along in starts)
    subsets = (VoxelSubset(fixed, rows, control, window) for window in windows)
    return [subset for subset in subsets if len(subset.weight)]


class VoxelSubset:
    """Subset of the fixed scan: the N voxels with enough weight in every STRIDE-th place, and their features."""

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
        """Smooth u (3, ...) on the control grid, and interpolate it at the voxels: (3, N)."""
        d, h, w = self._interpolation
        across = h @ (u @ w.T)
        return (d @ across.flatten(2)).flatten(1).index_select(1, self._nodes)

    def on_control(self, gradient: Tensor) -> Tensor:
        """Map gradients at the voxels (3, N) to the control grid (3, ...): the adjoint of `displacements`."""
        d, h, w = self._interpolation
        everywhere = gradient.new_zeros(3, len(d) * len(h) * len(w)).index_copy_(1, self._nodes, gradient)
        across = (d.T @ everywhere.view(3, len(d), -1)).unflatten(2, (len(h), len(w)))
        return (h.T @ across) @ w

    def gradient(self, displacement: Tensor, moving: Lookup) -> Tensor:
        """Differentiate the weighted mean squared feature difference by the displacements (3, N): (3, N) per mm.

        Derived by hand, as in the whole descent: autograd takes several times as long.
        """
        found, inside = moving.values_and_slopes(self._voxels + displacement / self._spacing)
        difference, in_view = found[:, 0, :-1] - self._features, found[:, 0, -1:]
        by_channel = torch.cat([difference * in_view * (2 / difference.shape[1]), _mean_square(difference)], 1)
        per_voxel = (found[:, 1:] @ (by_channel * self.weight)[:, :, None])[:, :, 0].T
        return per_voxel * inside / self._spacing


def _mean_square(x: Tensor) -> Tensor:
    return x.square().mean(1, keepdim=True)


def _smoothing(control: Grid, like: Tensor) -> list[Tensor]:
    """Return a moving average of three control points per axis, (n, n), self-adjoint: about a quadratic B-spline."""
    return [averages(n, 1, like) for n in control.shape]
