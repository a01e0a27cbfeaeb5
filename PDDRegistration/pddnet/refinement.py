"""The displacement field refined by gradient descent on the features themselves, between the search's displacements.

As the last step of Siebert et al. 2021 (ConvexAdam, doi:10.1007/978-3-030-97281-3_2): Adam on a coarse grid of
displacements, averaged to be smooth, with a diffusion penalty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .adam import Adam
from .feature_maps import FeatureMaps
from .grid import Grid
from .lattice import compose, positions, resample
from .presets import SHARPNESS, Preset, Refinement
from .scan import Affine, Scan
from .tensors import to_tensor
from .work import Work

if TYPE_CHECKING:
    from torch import Tensor

    from .matching import FeatureMap

PARTS = 16  # of the voxels; each step of the descent looks at another part
AVERAGES = 1  # of three control points along every axis: about a quadratic B-spline
REACH = 12.0  # mm around the body where the moving scan is described
RATE, LAST_RATE = 0.5, 0.15  # mm, the steps of Adam, the first and the last
SHOWN = 0.05  # voxels that count less are left out


def refined(
    fixed: Scan, moving: Scan, affine: Affine, field: Tensor, lattice: Grid, settings: Refinement, preset: Preset,
    work: Work,
) -> Tensor:  # fmt: skip
    """The field (3, D, H, W) on `lattice`, mm along its array axes, followed to where the features differ less."""
    around = fixed.box.isotropic(preset.working, REACH)
    both = FeatureMaps.of(fixed, moving, around, affine, field, lattice, preset.working, work, similarity=preset.mind)
    here, there = both.near_body(0), both.maps[1]
    control = fixed.box.isotropic(settings.control, settings.control)
    problem = _Problem(here, there, control)
    u = field.new_zeros((3, *control.shape), requires_grad=True)
    adam = Adam(u)
    for step in range(settings.iterations):
        work.tick()
        smooth = _smooth(u)
        cost = SHARPNESS * problem.cost(smooth, step)
        bending = sum(u.diff(dim=dim).square().sum() for dim in (1, 2, 3)) / u[0].numel()
        (cost + settings.smoothness * bending).backward()
        adam.step(RATE + (LAST_RATE - RATE) * step / settings.iterations)
    return compose(field, resample(_smooth(u.detach()), control, lattice), lattice)


class _Problem:
    """The mean squared difference of the features under a displacement."""

    def __init__(self, here: FeatureMap, there: FeatureMap, control: Grid) -> None:
        import torch

        device = here.weight.device
        index = (here.weight > SHOWN).nonzero()
        # every sixteenth: the same on every machine, and spread over the body
        self._parts = [index[part::PARTS].T for part in range(PARTS)]
        weights = [here.weight[tuple(at)] for at in self._parts]
        self._weights = [weight / weight.sum() for weight in weights]
        described = _Rows(here.features)
        self._features = [described.nearest(at) for at in self._parts]
        self._there = _Rows(torch.cat([there.features, there.weight[None]]))
        self._spacing = to_tensor(here.lattice.spacing[::-1], device)[:, None]
        first = torch.stack([axis[0] for axis in positions(here.lattice, control, device)])[:, None]
        step = to_tensor(here.lattice.spacing[::-1] / control.spacing[::-1], device)[:, None]
        self._on_control = [first + step * at for at in self._parts]

    def cost(self, u: Tensor, step: int) -> Tensor:
        """For u (3, ...) in mm on the control grid, over the part of the voxels that is looked at in this step."""
        part = step % PARTS
        displacement = _Rows(u).at(self._on_control[part]).T
        there = self._there.at(self._parts[part] + displacement / self._spacing)
        difference = (self._features[part] - there[:, :-1]).square().mean(1)
        return (self._weights[part] * there[:, -1] * difference).sum()


class _Rows:
    """A map (C, D, H, W) with the channels of a voxel side by side, so that one is read as fast as all."""

    def __init__(self, x: Tensor) -> None:
        self._rows = x.flatten(1).T.contiguous()
        self._shape = x.shape[1:]

    def nearest(self, index: Tensor) -> Tensor:
        """(N, C) values at voxels (3, N), integers."""
        d, h, w = index
        return self._rows.index_select(0, (d * self._shape[1] + h) * self._shape[2] + w)

    def at(self, index: Tensor) -> Tensor:
        """(N, C) linear values at voxel indices (3, N), differentiable in both; the border's outside."""
        low, places = [], []
        for axis, n in zip(index, self._shape, strict=True):
            place = axis.clamp(0, n - 1)
            first = place.detach().floor().clamp(max=max(n - 2, 0))
            low.append(first.long())
            places.append(place - first)
        d, h, w = low
        n_d, n_h, n_w = self._shape
        start = (d * n_h + h) * n_w + w
        steps = [n_h * n_w * (n_d > 1), n_w * (n_h > 1), int(n_w > 1)]
        return self._along(0, start, steps, places)

    def _along(self, axis: int, start: Tensor, steps: list[int], places: list[Tensor]) -> Tensor:
        if axis == len(steps):
            return self._rows.index_select(0, start)
        low, high = (self._along(axis + 1, start + step, steps, places) for step in (0, steps[axis]))
        return low + (high - low) * places[axis][:, None]


def _smooth(u: Tensor) -> Tensor:
    """AVERAGES moving averages of three along every axis, the border repeated."""
    import torch

    for dim in (1, 2, 3):
        for _ in range(AVERAGES):
            n = u.shape[dim] - 1
            ends = u.narrow(dim, 0, 1), u.narrow(dim, n, 1)
            before = torch.cat([ends[0], u.narrow(dim, 0, n)], dim)
            after = torch.cat([u.narrow(dim, 1, n), ends[1]], dim)
            u = (before + u + after) / 3
    return u
