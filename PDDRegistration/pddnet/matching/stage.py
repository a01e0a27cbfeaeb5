"""Run one stage of the deformable registration: warp, features, discrete matching both ways, inverse consistency.

Shapes: K = (nD, nH, nW) control points, L displacements per axis. Fields are in mm along the array axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
from .discrete import FeatureMap, match
from .feature_maps import FeatureMaps
from .feature_types import dense_features
from .inference import DisplacementDistribution
from .instance_optimisation import optimise

SYMMETRY_ROUNDS = 5
MOST_CELLS = 3e7  # of a cost tensor; a larger body gets a wider control spacing instead

# Variance by which `symmetrise` weighs a direction: (uncertainty^2 + LEAST_VARIANCE_MM2) / (share^2 + LEAST_SHARE).
LEAST_VARIANCE_MM2 = 1.0  # (1 mm)^2, the noise of the costs: smaller uncertainties count as equal
LEAST_SHARE = 0.02  # keeps the variance finite outside the views; it is fifty times as large there
# Weight of a displacement in the affine fit: share / (uncertainty^2 + FIT_VARIANCE_MM2).
FIT_VARIANCE_MM2 = 25.0  # (5 mm)^2: about what the 8 mm steps of the coarse matching leave uncertain


@dataclass(frozen=True)
class StageResult:
    """Displacements and uncertainty found by one stage, at its control points, in mm along the array axes."""

    control: Grid
    field: Tensor  # (3, nD, nH, nW)
    uncertainty: Tensor  # (nD, nH, nW)
    inconsistency: Tensor | None  # (nD, nH, nW) mm between both directions before `symmetrise`; None: only one


def control_grid(box: Grid, stage: Stage) -> Grid:
    """Make the grid of the stage's control points over the body's box."""
    count = stage.control_points_per_axis
    if count is None:
        least_spacing = (float(box.extent.prod()) * stage.displacements_per_axis**3 / MOST_CELLS) ** (1 / 3)
        return box.isotropic(max(stage.control_spacing_mm, least_spacing))
    spacing = box.extent / count
    origin = box.centre - box.direction @ ((count - 1) / 2 * spacing)
    return Grid((count,) * 3, spacing, origin, box.direction)


class FeaturePair(Protocol):
    """Features of both scans on one lattice."""

    @property
    def maps(self) -> tuple[FeatureMap, FeatureMap]:
        """Return the features of the fixed and the moving scan."""

    def near_body(self, side: int) -> FeatureMap:
        """Return those of one scan (0: fixed, 1: moving) with the weights that its control points have."""


@dataclass(frozen=True)
class Matching:
    """Features of both scans and the control points, which both directions of a stage share."""

    both: FeaturePair
    control: Grid
    stage: Stage
    regularised: bool

    @classmethod
    def of(
        cls, fixed: Scan, moving: Scan, box: Grid, affine: Affine, stage: Stage, preset: Preset, work: Work,
        field: Tensor | None = None, field_grid: Grid | None = None,
    ) -> Matching:  # fmt: skip
        """Compute the features under affine(x + u(x)); u is `field` on `field_grid`, or zero."""
        lattice = box.isotropic(preset.working_spacing_mm, stage.capture_range_mm + preset.working_spacing_mm)
        both = FeatureMaps.of(
            fixed, moving, lattice, affine, field, field_grid, stage.feature_spacing_mm, work,
            dense=dense_features(preset), extended=stage.extended,
        )  # fmt: skip
        return cls(both, control_grid(box, stage), stage, preset.regularised)

    def distribution(self, source: int, work: Work) -> tuple[DisplacementDistribution, Tensor]:
        """Estimate the displacements from one scan (source 0: fixed, 1: moving) to the other.

        Returns:
            the distribution, and (nD, nH, nW) the share of each point's surroundings within the source's body and both
            views.
        """
        stage = self.stage
        source_map, target_map = self.both.near_body(source), self.both.maps[1 - source]
        reach, count = stage.capture_range_mm, stage.displacements_per_axis
        steps = torch.linspace(-reach, reach, count, device=source_map.weight.device)
        weights = (1.0, 1.0) if self.regularised else None
        found = match(source_map, target_map, self.control, steps, stage.inverse_temperature, weights, work)
        work.tick()
        in_both_views = source_map.weight * target_map.weight
        return found, resample(in_both_views[None], source_map.lattice, self.control)[0]


def deform(
    fixed: Scan, moving: Scan, box: Grid, affine: Affine, field: Tensor, field_grid: Grid, stage: Stage, preset: Preset,
    work: Work,
) -> StageResult:  # fmt: skip
    """Match the scans, the moving one warped by affine(x + u(x)), and return the residual displacements.

    Args:
        affine: fixed to moving points, LPS mm.
        field: (3, D, H, W) u on `field_grid`, mm along the array axes.
        box: the fixed body's bounding box; control points cover it.
    """
    return matched(Matching.of(fixed, moving, box, affine, stage, preset, work, field, field_grid), work)


def matched(matching: Matching, work: Work) -> StageResult:
    """Match in one or both directions, optimise each, and make both inverse consistent."""
    stage, control = matching.stage, matching.control

    def one_way(source: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return displacements, uncertainty (mm) and variance for `symmetrise` (mm^2) from one scan to the other."""
        distribution, share = matching.distribution(source, work)
        mean, uncertainty = distribution.moments(work)
        work.tick()
        found = optimise(mean, distribution, smoothness=stage.smoothness, iterations=stage.iterations, work=work)
        return found, uncertainty, (uncertainty.square() + LEAST_VARIANCE_MM2) / (share.square() + LEAST_SHARE)

    forward, uncertainty, forward_variance = one_way(0)
    if not stage.both_ways:
        return StageResult(control, forward, uncertainty, None)
    backward, _, backward_variance = one_way(1)
    inconsistency = compose(backward, forward, control).norm(dim=0)
    both = symmetrise(forward, backward, forward_variance, backward_variance, control)
    return StageResult(control, both, uncertainty, inconsistency)


def coarse_displacements(
    fixed: Scan, moving: Scan, affine: Affine, stage: Stage, preset: Preset, work: Work
) -> tuple[Grid, np.ndarray, np.ndarray]:
    """Return the expected displacements from the fixed to the moving scan, and the weight of each in an affine fit.

    Returns:
        the control grid, displacements (D, H, W, 3) in LPS mm, and weights (D, H, W): certainty times the share of
        the point's surroundings within the body and both views.
    """
    matching = Matching.of(fixed, moving, fixed.box, affine, stage, preset, work)
    distribution, share = matching.distribution(0, work)
    mean, uncertainty = distribution.moments(work)
    weight = share / (uncertainty.square() + FIT_VARIANCE_MM2)
    return matching.control, to_lps(mean, matching.control), to_array(weight)


def symmetrise(
    forward: Tensor, backward: Tensor, forward_variance: Tensor, backward_variance: Tensor, control: Grid
) -> Tensor:
    """Make the forward field inverse consistent: move it towards the inverse of the backward field, by uncertainty.

    The fixed-point iteration of ConvexAdam (Siebert et al. 2021, doi:10.1007/978-3-030-97281-3_2), weighted by
    uncertainty: the less certain direction is moved more.

    Args:
        forward, backward: (3, nD, nH, nW) mm.
        forward_variance, backward_variance: (nD, nH, nW) mm^2, large outside the view of either scan.
    """
    f_var, b_var = forward_variance[None], backward_variance[None]
    for _ in range(SYMMETRY_ROUNDS):
        forward_gap = compose(backward, forward, control)
        backward_gap = compose(forward, backward, control)
        forward_share = f_var / (f_var + warped(b_var, forward, control))  # the less certain side moves more
        backward_share = b_var / (b_var + warped(f_var, backward, control))
        forward, backward = forward - forward_share * forward_gap, backward - backward_share * backward_gap
    return forward
