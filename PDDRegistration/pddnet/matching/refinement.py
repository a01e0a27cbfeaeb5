"""The displacement field refined by gradient descent on the features themselves, between the search's displacements.

As the last step of Siebert et al. 2021 (ConvexAdam, doi:10.1007/978-3-030-97281-3_2): Adam on a coarse grid of
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
from .instance_optimisation import diffusion_gradient

STRIDE = 3  # voxels: each step of the descent looks at another one of every 3 x 3 x 3
REACH = 16.0  # mm around the body where the moving scan is described
RATE, LAST_RATE = 1.2, 0.15  # mm, the steps of Adam, the first and the last
SHOWN = 0.05  # voxels that count less are left out


def refined(
    fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid, settings: Refinement, preset: Preset,
    work: Work,
) -> Tensor:  # fmt: skip
    """The field (3, D, H, W) on `lattice`, mm along its array axes, followed to where the features differ less."""
    spacing = preset.working_spacing_mm
    around = fixed.box.isotropic(spacing, REACH)
    both = FeatureMaps.of(fixed, moving, around, affine, field, lattice, spacing, work, similarity=preset.mind)
    control = fixed.box.isotropic(settings.control_spacing_mm, settings.control_spacing_mm)
    parts, there = _parts(both.near_body(0), control), _lookup(both.maps[1])
    u = field.new_zeros((3, *control.shape))
    adam = Adam(u)
    for step in range(settings.iterations if parts else 0):
        work.tick()
        part = parts[step % len(parts)]
        slope = part.slope(part.displacements(u), there)
        u.grad = INVERSE_TEMPERATURE * part.on_control(slope) + settings.smoothness * diffusion_gradient(u)
        adam.step(RATE + (LAST_RATE - RATE) * step / settings.iterations)
    return compose(field, resample(along_axes(u, _smoothing(control, u)), control, lattice), lattice)


def _lookup(seen: FeatureMap) -> Lookup:
    """A map to be read, its weight after its features."""
    return Lookup(seen.features, seen.weight[None])


def _parts(here: FeatureMap, control: Grid) -> list[VoxelSubset]:
    """The fixed scan's voxels, those of every step of the descent together."""
    rows = _lookup(here)
    starts = itertools.product(range(STRIDE), repeat=3)
    windows = (tuple(slice(start, None, STRIDE) for start in along) for along in starts)
    parts = (VoxelSubset(here, rows, control, window) for window in windows)
    return [part for part in parts if len(part.weight)]


class VoxelSubset:
    """Every third voxel of the fixed scan along every axis, those that count: what they show and how they move."""

    def __init__(self, here: FeatureMap, rows: Lookup, control: Grid, window: tuple[slice, ...]) -> None:

        device = here.weight.device
        self._nodes = (here.weight[window] > SHOWN).flatten().nonzero()[:, 0]
        voxels = torch.arange(here.weight.numel(), device=device).view(here.weight.shape)[window].flatten()
        voxels = voxels.index_select(0, self._nodes)
        seen = rows.at(voxels)
        self._features, weight = seen[:, :-1], seen[:, -1:]
        self.weight = weight / weight.sum()
        _, height, width = rows.shape
        self._voxels = torch.stack([voxels // (height * width), voxels // width % height, voxels % width]).float()
        self._spacing = to_tensor(here.lattice.spacing[::-1], device)[:, None]
        on_control = positions(here.lattice, control, device)
        smoothing = _smoothing(control, weight)
        self._hats = [linear_weights(at[w], len(s)) @ s for at, w, s in zip(on_control, window, smoothing, strict=True)]

    def displacements(self, u: Tensor) -> Tensor:
        """(3, N) at the voxels, from u (3, ...) on the control grid, smoothed."""
        d, h, w = self._hats
        across = h @ (u @ w.T)
        return (d @ across.flatten(2)).flatten(1).index_select(1, self._nodes)

    def on_control(self, slope: Tensor) -> Tensor:
        """(3, ...) on the control grid, from (3, N) at the voxels: how a cost changes with what moves them."""
        d, h, w = self._hats
        everywhere = slope.new_zeros(3, len(d) * len(h) * len(w)).index_copy_(1, self._nodes, slope)
        across = (d.T @ everywhere.view(3, len(d), -1)).unflatten(2, (len(h), len(w)))
        return (h.T @ across) @ w

    def slope(self, displacement: Tensor, there: Lookup) -> Tensor:
        """(3, N) per mm: how the weighted mean squared difference of the features changes with displacements (3, N).

        Written out, as the whole descent is: autograd takes several times as long.
        """

        found, inside = there.values_and_slopes(self._voxels + displacement / self._spacing)
        difference, shown = found[:, 0, :-1] - self._features, found[:, 0, -1:]
        by_channel = torch.cat([difference * shown * (2 / difference.shape[1]), _mean_square(difference)], 1)
        per_voxel = (found[:, 1:] @ (by_channel * self.weight)[:, :, None])[:, :, 0].T
        return per_voxel * inside / self._spacing


def _mean_square(x: Tensor) -> Tensor:
    return x.square().mean(1, keepdim=True)


def _smoothing(control: Grid, like: Tensor) -> list[Tensor]:
    """For every axis what averages three control points, (n, n), its own adjoint: about a quadratic B-spline."""
    return [averages(n, 1, like) for n in control.shape]
