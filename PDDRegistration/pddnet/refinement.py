"""The displacement field refined by gradient descent on the features themselves, between the search's displacements.

As the last step of Siebert et al. 2021 (ConvexAdam, doi:10.1007/978-3-030-97281-3_2): Adam on a coarse grid of
displacements, averaged to be smooth, with a diffusion penalty.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from .adam import Adam
from .feature_maps import FeatureMaps
from .grid import Grid
from .lattice import along_axes, averages, compose, linear_weights, positions, resample
from .optimise import bending
from .presets import SHARPNESS, Preset, Refinement
from .scan import Affine, Scan
from .tensors import to_tensor
from .work import Work

if TYPE_CHECKING:
    from torch import Tensor

    from .matching import FeatureMap

STRIDE = 3  # voxels: each step of the descent looks at another one of every 3 x 3 x 3
REACH = 16.0  # mm around the body where the moving scan is described
RATE, LAST_RATE = 1.2, 0.15  # mm, the steps of Adam, the first and the last
SHOWN = 0.05  # voxels that count less are left out


def refined(
    fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid, settings: Refinement, preset: Preset,
    work: Work,
) -> Tensor:  # fmt: skip
    """The field (3, D, H, W) on `lattice`, mm along its array axes, followed to where the features differ less."""
    around = fixed.box.isotropic(preset.working, REACH)
    both = FeatureMaps.of(fixed, moving, around, affine, field, lattice, preset.working, work, similarity=preset.mind)
    control = fixed.box.isotropic(settings.control, settings.control)
    parts, there = _parts(both.near_body(0), control), _Rows(both.maps[1])
    u = field.new_zeros((3, *control.shape))
    adam = Adam(u)
    for step in range(settings.iterations if parts else 0):
        work.tick()
        part = parts[step % len(parts)]
        slope = part.slope(part.displacements(u), there)
        u.grad = SHARPNESS * part.on_control(slope) + settings.smoothness * bending(u)
        adam.step(RATE + (LAST_RATE - RATE) * step / settings.iterations)
    return compose(field, resample(along_axes(u, _smoothing(control, u)), control, lattice), lattice)


class _Rows:
    """A map with the channels of a voxel side by side, its weight last, so that one is read as fast as all."""

    def __init__(self, seen: FeatureMap) -> None:
        import torch

        self.shape = tuple(seen.weight.shape)
        self._rows = torch.empty(seen.weight.numel(), len(seen.features) + 1, device=seen.weight.device)
        self._rows[:, :-1], self._rows[:, -1] = seen.features.flatten(1).T, seen.weight.flatten()
        strides = self.shape[1] * self.shape[2], self.shape[2], 1
        steps = [int(n > 1) * stride for n, stride in zip(self.shape, strides, strict=True)]
        corners = [sum(chosen) for chosen in itertools.product(*((0, step) for step in steps))]
        self._corners = torch.tensor(corners, dtype=torch.int32, device=self._rows.device)

    def at(self, index: Tensor) -> Tensor:
        """(N, C + 1) at places (N) of the flat map."""
        return self._rows.index_select(0, index)

    def around(self, low: Tensor) -> Tensor:
        """(N, 8) places of the corners of the cells whose lowest corners are the voxels low (3, N), integers."""
        d, h, w = low
        return ((d * self.shape[1] + h) * self.shape[2] + w)[:, None] + self._corners

    def looked_up(self, corners: Tensor, d: Tensor, h: Tensor, w: Tensor) -> Tensor:
        """(N, 4, C + 1) interpolated between corners (N, 8): the values, and their slopes per voxel along D, H, W.

        An embedding bag reads, weighs and adds at once: the corners' channels would be eight times as much to write.

        Args:
            d, h, w: (2, N) shares of the lower and the upper side along each axis.
        """
        import torch
        import torch.nn.functional as functional

        step = d.new_tensor([[-1], [1]])
        triples = ((d, h, w), (step, h, w), (d, step, w), (d, h, step))
        products = [(a[:, None, None] * b[:, None] * c).expand(2, 2, 2, -1) for a, b, c in triples]
        weights = torch.stack(products).flatten(1, 3).permute(2, 0, 1)  # (N, 4, 8)
        bags = corners[:, None].expand(weights.shape).reshape(-1, 8)
        sums = functional.embedding_bag(bags, self._rows, mode="sum", per_sample_weights=weights.reshape(-1, 8))
        return sums.view(*weights.shape[:2], -1)


def _parts(here: FeatureMap, control: Grid) -> list[_Part]:
    """The fixed scan's voxels, those of every step of the descent together."""
    rows = _Rows(here)
    starts = itertools.product(range(STRIDE), repeat=3)
    windows = (tuple(slice(start, None, STRIDE) for start in along) for along in starts)
    parts = (_Part(here, rows, control, window) for window in windows)
    return [part for part in parts if len(part.weight)]


class _Part:
    """Every third voxel of the fixed scan along every axis, those that count: what they show and how they move."""

    def __init__(self, here: FeatureMap, rows: _Rows, control: Grid, window: tuple[slice, ...]) -> None:
        import torch

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

    def slope(self, displacement: Tensor, there: _Rows) -> Tensor:
        """(3, N) per mm: how the weighted mean squared difference of the features changes with displacements (3, N).

        Written out, as the whole descent is: autograd takes several times as long.
        """
        import torch

        place = self._voxels + displacement / self._spacing
        last = place.new_tensor(there.shape)[:, None] - 1
        inside = (place > 0) & (place < last)  # the border's value holds beyond it
        place = place.clamp(min=0).minimum(last)
        low = place.floor().minimum((last - 1).clamp(min=0))
        corners, shares = there.around(low.int()), torch.stack([1 - (place - low), place - low], 1)
        found = there.looked_up(corners, *shares)
        difference, shown = found[:, 0, :-1] - self._features, found[:, 0, -1:]
        by_channel = torch.cat([difference * shown * (2 / difference.shape[1]), _mean_square(difference)], 1)
        per_voxel = (found[:, 1:] @ (by_channel * self.weight)[:, :, None])[:, :, 0].T
        return per_voxel * inside / self._spacing


def _mean_square(x: Tensor) -> Tensor:
    return x.square().mean(1, keepdim=True)


def _smoothing(control: Grid, like: Tensor) -> list[Tensor]:
    """For every axis what averages three control points, (n, n), its own adjoint: about a quadratic B-spline."""
    return [averages(n, 1, like) for n in control.shape]
