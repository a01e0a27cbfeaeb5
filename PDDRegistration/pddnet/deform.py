"""One stage of the deformation: warp, features, matching both ways, inverse consistency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .features.mind import mind
from .grid import Grid
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
MOST_CELLS = 6e7  # of a cost tensor; a longer body gets fewer control points per mm


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


def describe(scan: Scan, lattice: Grid, spacing: float) -> FeatureMap:
    """MIND (and what guides) of a scan on `lattice`, averaged within the view to about `spacing` mm."""
    import torch
    import torch.nn.functional as functional

    features = torch.cat([mind(scan.values[0], noise=NOISE), scan.codes])
    factor = max(round(spacing / float(lattice.spacing[0])), 1)
    weight = scan.values[2]
    if factor > 1:
        features = functional.avg_pool3d((features * weight)[None], factor)[0]
        weight = functional.avg_pool3d(weight[None, None], factor)[0, 0]
        features = features / weight.clamp(min=0.05)
        start = lattice.index_to_point(np.full(3, (factor - 1) / 2))
        lattice = Grid(weight.shape, lattice.spacing * factor, start, lattice.direction)
    return FeatureMap(features, weight, lattice)


def near_body(scan: Scan, lattice: Grid, target: Grid) -> Tensor:
    """(D, H, W) on `target`: 1 within the body and about one voxel around it."""
    import torch.nn.functional as functional

    body = resample(scan.values[1:2], lattice, target)
    return functional.max_pool3d(body[None], 3, 1, 1)[0, 0]


def deform(
    fixed: Scan, moving: Scan, box: Grid, affine: Affine, field: Tensor, field_grid: Grid, stage: Stage, preset: Preset,
    work: Work,
) -> Step:  # fmt: skip
    """Match the scans under affine(x + u(x)) and return what that leaves to be moved.

    Args:
        field: (3, D, H, W) u on `field_grid`, mm along the array axes.
        box: the fixed body's bounding box; control points cover it.
    """
    import torch

    lattice = box.isotropic(preset.working, stage.reach + preset.working)
    here = fixed.warped(lattice, Affine.identity())
    work.tick()
    there = moving.warped(lattice, affine, resample(field, field_grid, lattice))
    work.tick()
    maps = [describe(scan, lattice, stage.features) for scan in (here, there)]
    work.tick()
    control = control_grid(box, stage)
    steps = torch.linspace(-stage.reach, stage.reach, stage.steps, device=field.device)

    def one_way(source: int, target: int) -> tuple[Tensor, Tensor, Tensor]:
        """Displacements and spread (mm) from one scan to the other, and the variance to weigh them by (mm^2)."""
        weight = maps[source].weight * near_body((here, there)[source], lattice, maps[source].lattice)
        seen = FeatureMap(maps[source].features, weight, maps[source].lattice)
        distribution = match(seen, maps[target], control, steps, stage.sharpness, work=work)
        work.tick()
        mean, spread = distribution.moments(work)
        work.tick()
        field = optimise(mean, distribution, smoothness=stage.smoothness, iterations=stage.iterations, work=work)
        shown = resample((weight * maps[target].weight)[None], seen.lattice, control)[0]
        return field, spread, (spread.square() + 1.0) / (shown.square() + 0.02)

    forward, spread, ours = one_way(0, 1)
    if not stage.both_ways:
        return Step(control, forward, spread, None)
    backward, _, theirs = one_way(1, 0)
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
    import torch

    box = fixed.box
    lattice = box.isotropic(preset.working, stage.reach + preset.working)
    here, there = fixed.warped(lattice, Affine.identity()), moving.warped(lattice, affine)
    work.tick()
    source, target = (describe(scan, lattice, stage.features) for scan in (here, there))
    weight = source.weight * near_body(here, lattice, source.lattice)
    control = control_grid(box, stage)
    steps = torch.linspace(-stage.reach, stage.reach, stage.steps, device=weight.device)
    matched = match(
        FeatureMap(source.features, weight, source.lattice), target, control, steps, stage.sharpness, work=work
    )
    mean, spread = matched.moments(work)
    seen = resample((weight * target.weight)[None], source.lattice, control)[0]
    certainty = seen / (spread.square() + 25.0)
    return control, to_lps(mean, control), to_array(certainty)


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
