"""One stage of the deformation: warp, features, matching both ways, inverse consistency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .features.mind import CHANNELS, mind
from .grid import Grid
from .inference import DisplacementDistribution
from .lattice import carried, compose, resample, to_lps
from .matching import FeatureMap, match
from .optimise import optimise
from .presets import Preset, Stage
from .scan import Affine, Scan
from .tensors import to_array
from .work import Work

if TYPE_CHECKING:
    from torch import Tensor

NOISE = 20.0  # HU: differences below it mean nothing
SYMMETRISE = 5
MOST_CELLS = 3e7  # of a cost tensor; a longer body gets fewer control points per mm


@dataclass(frozen=True)
class Step:
    """What one stage adds: displacements and spread at the control points, in mm along the array axes."""

    control: Grid
    field: Tensor  # (3, nD, nH, nW)
    spread: Tensor  # (nD, nH, nW)
    inconsistency: Tensor | None  # (nD, nH, nW) mm between forward and backward, before they are averaged


def control_grid(box: Grid, stage: Stage) -> Grid:
    """The stage's control points over the body's box."""
    if stage.points is None:
        least = (float(box.extent.prod()) * stage.steps**3 / MOST_CELLS) ** (1 / 3)
        return box.isotropic(max(stage.control, least))
    spacing = box.extent / stage.points
    origin = box.centre - box.direction @ ((stage.points - 1) / 2 * spacing)
    return Grid((stage.points,) * 3, spacing, origin, box.direction)


def matched_lattice(lattice: Grid, spacing: float) -> tuple[int, Grid]:
    """How many voxels of `lattice` along each axis make one of about `spacing` mm, and the lattice of those."""
    factor = max(round(spacing / float(lattice.spacing[0])), 1)
    start = lattice.index_to_point(np.full(3, (factor - 1) / 2))
    shape = tuple(n // factor for n in lattice.shape)
    return factor, Grid(shape, lattice.spacing * factor, start, lattice.direction)


def describe(scan: Scan, codes: Tensor, spacing: float, *, similarity: bool = True) -> FeatureMap:
    """MIND of a scan, averaged within the view to about `spacing` mm, beside the codes on the `matched_lattice`.

    similarity: whether MIND takes part where there are codes.
    """
    import torch
    import torch.nn.functional as functional

    factor, lattice = matched_lattice(scan.grid, spacing)
    features, weight = mind(scan.values[0], noise=NOISE), scan.values[2]
    if factor > 1:
        features = functional.avg_pool3d((features * weight)[None], factor)[0]
        weight = functional.avg_pool3d(weight[None, None], factor)[0, 0]
        features = features / weight.clamp(min=0.05)
    if len(codes):
        features = torch.cat([features, codes] if similarity else [codes])
        features *= (len(features) / CHANNELS) ** 0.5  # costs are means: MIND weighs the same beside others
    return FeatureMap(features, weight, lattice)


def near_body(scan: Scan, lattice: Grid, target: Grid) -> Tensor:
    """(D, H, W) on `target`: 1 within the body and about one voxel around it."""
    import torch.nn.functional as functional

    body = resample(scan.values[1:2], lattice, target)
    return functional.max_pool3d(body[None], 3, 1, 1)[0, 0]


@dataclass(frozen=True)
class _Match:
    """What both directions of one matching step have in common."""

    lattice: Grid
    scans: tuple[Scan, Scan]  # fixed and moving, under the map so far
    maps: tuple[FeatureMap, FeatureMap]
    control: Grid
    stage: Stage
    regularised: bool

    @classmethod
    def of(
        cls, fixed: Scan, moving: Scan, box: Grid, affine: Affine, stage: Stage, preset: Preset, work: Work,
        field: Tensor | None = None, field_grid: Grid | None = None,
    ) -> _Match:  # fmt: skip
        """The scans under affine(x + u(x)); u is `field` on `field_grid`, or zero."""
        lattice = box.isotropic(preset.working, stage.reach + preset.working)
        coarse = matched_lattice(lattice, stage.features)[1]

        def moved(target: Grid) -> Tensor | None:
            return None if field is None else resample(field, field_grid, target)

        work.tick()
        here, there = fixed.warped(lattice, Affine.identity()), moving.warped(lattice, affine, moved(lattice))
        work.tick()
        codes = fixed.codes_at(coarse, Affine.identity()), moving.codes_at(coarse, affine, moved(coarse))
        work.tick()
        maps = tuple(
            describe(scan, code, stage.features, similarity=preset.mind)
            for scan, code in zip((here, there), codes, strict=True)
        )
        return cls(lattice, (here, there), maps, control_grid(box, stage), stage, preset.regularised)

    def distribution(self, source: int, work: Work) -> tuple[DisplacementDistribution, Tensor]:
        """Displacements from one scan (0: fixed, 1: moving) to the other, and the share of what both show around."""
        import torch

        seen, target = self.maps[source], self.maps[1 - source]
        weight = seen.weight * near_body(self.scans[source], self.lattice, seen.lattice)
        steps = torch.linspace(-self.stage.reach, self.stage.reach, self.stage.steps, device=weight.device)
        seen = FeatureMap(seen.features, weight, seen.lattice)
        weights = (1.0, 1.0) if self.regularised else None
        matched = match(seen, target, self.control, steps, self.stage.sharpness, weights, work)
        work.tick()
        return matched, resample((weight * target.weight)[None], seen.lattice, self.control)[0]


def deform(
    fixed: Scan, moving: Scan, box: Grid, affine: Affine, field: Tensor, field_grid: Grid, stage: Stage, preset: Preset,
    work: Work,
) -> Step:  # fmt: skip
    """Match the scans under affine(x + u(x)) and return what that leaves to be moved.

    Args:
        field: (3, D, H, W) u on `field_grid`, mm along the array axes.
        box: the fixed body's bounding box; control points cover it.
    """
    both = _Match.of(fixed, moving, box, affine, stage, preset, work, field, field_grid)
    control = both.control

    def one_way(source: int) -> tuple[Tensor, Tensor, Tensor]:
        """Displacements and spread (mm) from one scan to the other, and the variance to weigh them by (mm^2)."""
        distribution, shown = both.distribution(source, work)
        mean, spread = distribution.moments(work)
        work.tick()
        field = optimise(mean, distribution, smoothness=stage.smoothness, iterations=stage.iterations, work=work)
        return field, spread, (spread.square() + 1.0) / (shown.square() + 0.02)

    forward, spread, ours = one_way(0)
    if not stage.both_ways:
        return Step(control, forward, spread, None)
    backward, _, theirs = one_way(1)
    gap = compose(backward, forward, control).norm(dim=0)
    return Step(control, symmetrise(forward, backward, ours, theirs, control), spread, gap)


def coarse_displacements(
    fixed: Scan, moving: Scan, affine: Affine, stage: Stage, preset: Preset, work: Work
) -> tuple[Grid, np.ndarray, np.ndarray]:
    """Expected displacements of one direction and how far each can be relied on.

    Returns:
        the control grid, displacements (D, H, W, 3) in LPS mm, and weights (D, H, W): certainty times the share of
        the body and of both views around the point.
    """
    both = _Match.of(fixed, moving, fixed.box, affine, stage, preset, work)
    distribution, shown = both.distribution(0, work)
    mean, spread = distribution.moments(work)
    return both.control, to_lps(mean, both.control), to_array(shown / (spread.square() + 25.0))


def symmetrise(forward: Tensor, backward: Tensor, ours: Tensor, theirs: Tensor, control: Grid) -> Tensor:
    """The forward field, led towards the inverse of the backward one where that is the surer of the two.

    Args:
        forward, backward: (3, nD, nH, nW) mm; ours, theirs: (nD, nH, nW), their variances in mm^2, large where one of
            the scans shows nothing.
    """
    ours, theirs = ours[None], theirs[None]
    for _ in range(SYMMETRISE):
        ahead, back = compose(backward, forward, control), compose(forward, backward, control)
        forward_share = ours / (ours + carried(theirs, forward, control))  # the less sure side moves more
        backward_share = theirs / (theirs + carried(ours, backward, control))
        forward, backward = forward - forward_share * ahead, backward - backward_share * back
    return forward
