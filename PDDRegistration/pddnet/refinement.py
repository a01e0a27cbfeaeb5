"""The displacement field refined by gradient descent on the features themselves, between the search's displacements.

As the last step of Siebert et al. 2021 (ConvexAdam, doi:10.1007/978-3-030-97281-3_2): Adam on a coarse grid of
displacements, averaged to be smooth, with a diffusion penalty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .adam import Adam
from .feature_maps import FeatureMaps
from .grid import Grid
from .lattice import compose, positions, resample, sample
from .presets import SHARPNESS, Preset, Refinement
from .scan import Affine, Scan
from .tensors import to_tensor
from .work import Work

if TYPE_CHECKING:
    from torch import Tensor

    from .matching import FeatureMap

PARTS = 8  # of the voxels; each step of the descent looks at another part
AVERAGES = 2  # of three control points along every axis: about a cubic B-spline
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
        cost = SHARPNESS * problem.cost(_smooth(u), step)
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
        # evenly mixed without random numbers: the same on every machine
        self._parts = [index[part::PARTS].T for part in range(PARTS)]
        self._here, self._control, self._lattice = here, control, here.lattice
        self._spacing = to_tensor(here.lattice.spacing[::-1], device)[:, None]
        self._source = torch.cat([there.features, there.weight[None]])
        first = [axis[:2] for axis in positions(here.lattice, control, device)]
        self._first = torch.stack([f[0] for f in first])[:, None]
        self._step = torch.stack([f[1] - f[0] for f in first])[:, None]

    def cost(self, u: Tensor, step: int) -> Tensor:
        """For u (3, ...) in mm on the control grid, over the part of the voxels that is looked at in this step."""
        at = self._parts[step % PARTS]
        d, h, w = at
        moved = at + sample(u, self._first + self._step * at) / self._spacing
        there = sample(self._source, moved)
        weight = self._here.weight[d, h, w]
        difference = (self._here.features[:, d, h, w] - there[:-1]).square().mean(0)
        return (weight * there[-1] * difference).sum() / weight.sum()


def _smooth(u: Tensor) -> Tensor:
    import torch.nn.functional as functional

    for _ in range(AVERAGES):
        u = functional.avg_pool3d(functional.pad(u[None], (1,) * 6, mode="replicate"), 3, 1)[0]
    return u
