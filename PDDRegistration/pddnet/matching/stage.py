"""One stage of the deformation: warp, features, matching both ways, inverse consistency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.presets import Preset, Stage
from ..tensor.convert import to_array
from ..tensor.execution import Work
from ..tensor.lattice import compose, resample, to_lps, warped
from ..tensor.scan import Scan
from .discrete import match
from .feature_maps import FeatureMaps
from .inference import DisplacementDistribution
from .instance_optimisation import optimise

SYMMETRISE = 5
MOST_CELLS = 3e7  # of a cost tensor; a longer body gets fewer control points per mm


@dataclass(frozen=True)
class Step:
    """What one stage adds: displacements and uncertainty at the control points, in mm along the array axes."""

    control: Grid
    field: Tensor  # (3, nD, nH, nW)
    uncertainty: Tensor  # (nD, nH, nW)
    inconsistency: Tensor | None  # (nD, nH, nW) mm between forward and backward, before they are averaged


def control_grid(box: Grid, stage: Stage) -> Grid:
    """The stage's control points over the body's box."""
    if stage.control_points_per_axis is None:
        least = (float(box.extent.prod()) * stage.displacements_per_axis**3 / MOST_CELLS) ** (1 / 3)
        return box.isotropic(max(stage.control_spacing_mm, least))
    spacing = box.extent / stage.control_points_per_axis
    origin = box.centre - box.direction @ ((stage.control_points_per_axis - 1) / 2 * spacing)
    return Grid((stage.control_points_per_axis,) * 3, spacing, origin, box.direction)


@dataclass(frozen=True)
class _Match:
    """What both directions of one matching step have in common."""

    both: FeatureMaps
    control: Grid
    stage: Stage
    regularised: bool

    @classmethod
    def of(
        cls, fixed: Scan, moving: Scan, box: Grid, affine: Affine, stage: Stage, preset: Preset, work: Work,
        field: Tensor | None = None, field_grid: Grid | None = None,
    ) -> _Match:  # fmt: skip
        """The scans under affine(x + u(x)); u is `field` on `field_grid`, or zero."""
        lattice = box.isotropic(preset.working_spacing_mm, stage.capture_range_mm + preset.working_spacing_mm)
        spacing, mind = stage.feature_spacing_mm, preset.mind
        both = FeatureMaps.of(fixed, moving, lattice, affine, field, field_grid, spacing, work, similarity=mind)
        return cls(both, control_grid(box, stage), stage, preset.regularised)

    def distribution(self, source: int, work: Work) -> tuple[DisplacementDistribution, Tensor]:
        """Displacements from one scan (0: fixed, 1: moving) to the other, and the share of what both show around."""

        seen, target = self.both.near_body(source), self.both.maps[1 - source]
        steps = torch.linspace(
            -self.stage.capture_range_mm,
            self.stage.capture_range_mm,
            self.stage.displacements_per_axis,
            device=seen.weight.device,
        )
        weights = (1.0, 1.0) if self.regularised else None
        matched = match(seen, target, self.control, steps, self.stage.inverse_temperature, weights, work)
        work.tick()
        return matched, resample((seen.weight * target.weight)[None], seen.lattice, self.control)[0]


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
        """Displacements and uncertainty (mm) from one scan to the other, and the variance to weigh them by (mm^2)."""
        distribution, shown = both.distribution(source, work)
        mean, uncertainty = distribution.moments(work)
        work.tick()
        field = optimise(mean, distribution, smoothness=stage.smoothness, iterations=stage.iterations, work=work)
        return field, uncertainty, (uncertainty.square() + 1.0) / (shown.square() + 0.02)

    forward, uncertainty, ours = one_way(0)
    if not stage.both_ways:
        return Step(control, forward, uncertainty, None)
    backward, _, theirs = one_way(1)
    gap = compose(backward, forward, control).norm(dim=0)
    return Step(control, symmetrise(forward, backward, ours, theirs, control), uncertainty, gap)


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
    mean, uncertainty = distribution.moments(work)
    return both.control, to_lps(mean, both.control), to_array(shown / (uncertainty.square() + 25.0))


def symmetrise(forward: Tensor, backward: Tensor, ours: Tensor, theirs: Tensor, control: Grid) -> Tensor:
    """The forward field, led towards the inverse of the backward one where that is the surer of the two.

    Args:
        forward, backward: (3, nD, nH, nW) mm; ours, theirs: (nD, nH, nW), their variances in mm^2, large where one of
            the scans shows nothing.
    """
    ours, theirs = ours[None], theirs[None]
    for _ in range(SYMMETRISE):
        ahead, back = compose(backward, forward, control), compose(forward, backward, control)
        forward_share = ours / (ours + warped(theirs, forward, control))  # the less sure side moves more
        backward_share = theirs / (theirs + warped(ours, backward, control))
        forward, backward = forward - forward_share * ahead, backward - backward_share * back
    return forward
