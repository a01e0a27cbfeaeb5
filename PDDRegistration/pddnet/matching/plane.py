"""Register two 2-D images: the start, two stages of discrete matching, the descent on the features, the verdict.

The same matching as of volumes (`discrete.py`, `stage.py`, `refinement.py`) on lattices one voxel deep. Source of the
kind of method: the learn2reg tutorial on discrete registration (Heinrich), and ConvexAdam (Siebert et al. 2021,
doi:10.1007/978-3-030-97281-3_2) for the descent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image
from ..core.plane import Plane, sampled, to_transform
from ..core.presets import Refinement, Stage
from ..core.result import Progress, Verdict
from ..features.plane_net import PlaneNet
from ..tensor.affine_field import fade, join, margin
from ..tensor.convert import to_array
from ..tensor.execution import Work
from ..tensor.folding import determinant, remove_folding
from ..tensor.lattice import compose, from_lps, resample
from .plane_likeness import compared, likeness
from .plane_scan import COARSEST, FINEST, UNITS_ACROSS, PlanePair, PlaneScan, lattice_over, scaled
from .plane_start import find_start, fitted
from .plane_verdict import judge
from .progress import Ticker
from .refinement import descend
from .stage import Matching, StageResult, matched

STAGES = (  # lengths in units
    Stage(16.0, 40.0, 11, 3 * FINEST, smoothness=0.005, both_ways=True),
    Stage(8.0, 12.0, 7, FINEST, smoothness=0.01, both_ways=True),
)
FACTORS = (3, 1)  # fine nodes per node of the features, of each stage
REFINEMENT = Refinement(control_spacing_mm=8.0, smoothness=0.03, iterations=100)
FIELD_SPACING = 4.0  # units between the nodes of the result
BORDER = 8.0  # units around the fixed image at least, so that its outermost pixels lie within the result's grid
SHARES = {"align": 4.0, "match 1": 2.0, "match 2": 2.0, "refine": 2.0, "finish": 1.0}  # of the time


@dataclass(frozen=True)
class PlaneRegistration:
    """Result for two 2-D images."""

    field: DisplacementField  # fixed to moving points, mm, on a grid at z = 0
    determinant: Image  # Jacobian determinants, on the field's grid
    spread: Image  # standard deviation of the displacement, mm, on the field's grid
    verdict: Verdict
    start: str  # identity, rigid, affine or given
    deformed: bool  # False: a deformation made the images no more alike, so the start is the result
    seconds: dict[str, float]

    def to_sitk(self) -> sitk.DisplacementFieldTransform:
        """Convert to ITK's 2-D transform, fixed to moving points, mm."""
        return to_transform(self.field)

    def warp(self, moving: Plane, fixed: Plane, *, labels: bool = False) -> Plane:
        """Warp an image or label map of the moving side onto the grid of the fixed one, in its own scalar type."""
        fill = 0.0 if labels else float(moving.image.array.min())
        return moving.resample(fixed, self.to_sitk(), fill=fill, labels=labels)


def register_planes(
    fixed: Plane,
    moving: Plane,
    *,
    initial_transform: sitk.Transform | None = None,
    align: bool = True,
    deform: bool = True,
    net: PlaneNet | None = None,
    progress: Progress | None = None,
) -> PlaneRegistration:
    """Register two 2-D images of any modality.

    Args:
        initial_transform: 2-D, fixed to moving points in mm, in place of the search for the start.
        align: whether to search for the start where no transform is given.
        deform: False: the start alone.
        net: names structures in both, so that they are compared besides.

    Raises:
        Cancelled: the progress callback stopped the run.
    """
    with torch.inference_mode():
        return _Run(fixed, moving, net, progress).result(initial_transform, align=align, deform=deform)


class _Run:
    """One registration, with lengths in units of the matching."""

    def __init__(self, fixed: Plane, moving: Plane, net: PlaneNet | None, progress: Progress | None) -> None:
        self._ticker = Ticker(progress, SHARES)
        self._work = Work(tick=self._ticker.tick)
        self._units = UNITS_ACROSS / float(fixed.grid.extent[:2].max())
        self._grid = scaled(fixed.grid, self._units)
        self._scans = PlaneScan.of(fixed.image, self._units, net), PlaneScan.of(moving.image, self._units, net)
        self._lattice = lattice_over(self._grid, FIELD_SPACING)

    def result(self, initial: sitk.Transform | None, *, align: bool, deform: bool) -> PlaneRegistration:
        """Run all steps."""
        self._ticker.stage("align")
        affine, start, kind = self._start(initial, align)
        found, steps = self._deformed(affine, start) if deform else (start, [])
        self._ticker.stage("finish")
        field = self._joined(affine, found)
        measures = compared(self._pair(Affine.identity(), None), "_before")
        measures |= compared(self._pair(affine, start), "_start") | compared(self._pair(affine, found))
        measures["folding_percent"] = 100 * float((determinant(found, self._lattice) <= 0).float().mean())
        measures |= self._uncertain(steps)
        self._ticker.close()
        return PlaneRegistration(
            field,
            Image(field.jacobian_determinant(), field.grid),
            self._spread(steps, field.grid),
            judge(measures, UNITS_ACROSS / self._units),
            kind,
            found is not start,
            dict(self._ticker.seconds),
        )

    def _start(self, initial: sitk.Transform | None, align: bool) -> tuple[Affine, Tensor, str]:
        """Return the map and the displacement before it, (3, 1, H, W), from which the matching starts."""
        zero = torch.zeros(3, *self._lattice.shape)
        if initial is not None:
            return *self._given(initial), "given"
        if not align:
            return Affine.identity(), zero, "none"
        affine, kind = find_start(self._scans, self._work)
        return affine, zero, kind

    def _given(self, initial: sitk.Transform) -> tuple[Affine, Tensor]:
        """Split a transform, in mm, into its best affine map and the displacement before it."""
        points = self._lattice.points()
        moved = points + self._units * sampled(initial, scaled(self._lattice, 1 / self._units)).array
        affine = fitted(points[0, ..., :2], moved[0, ..., :2], np.ones(points.shape[1:3]), rigid=False)
        return affine, from_lps(affine.inverse.points(moved) - points, self._lattice)

    def _pair(self, affine: Affine, u: Tensor | None, margin: float = 0.0, factor: int = 2) -> PlanePair:
        lattice = lattice_over(self._grid, self._scans[0].spacing, margin, whole=factor)
        return PlanePair.of(self._scans, lattice, affine, factor, u, self._lattice)

    def _deformed(self, affine: Affine, u: Tensor) -> tuple[Tensor, list[StageResult]]:
        """Match twice, descend, and keep each step that makes the images more alike; return u and the stages.

        Where nothing was kept there are no stages either: what they doubted is not in the result.
        """
        steps: list[StageResult] = []
        start = u
        best = self._likeness(affine, u)
        for number, (stage, factor) in enumerate(zip(STAGES, FACTORS, strict=True), 1):
            self._ticker.stage(f"match {number}")
            pair = self._pair(affine, u, stage.capture_range_mm + COARSEST * factor, factor)
            control = lattice_over(self._grid, stage.control_spacing_mm)
            steps.append(matched(Matching(pair, control, stage, regularised=True), self._work))
            u, best = self._better(affine, u, best, self._composed(u, steps[-1].field, control))
        self._ticker.stage("refine")
        control = lattice_over(self._grid, REFINEMENT.control_spacing_mm, REFINEMENT.control_spacing_mm)
        maps = self._pair(affine, u, 2 * FIELD_SPACING, 1).maps
        added = descend(*maps, control, resample(u, self._lattice, control), REFINEMENT, self._work)
        u, _ = self._better(affine, u, best, self._composed(u, added, control))
        return u, [] if u is start else steps

    def _likeness(self, affine: Affine, u: Tensor) -> float:
        return likeness(self._pair(affine, u, factor=1)).value

    def _better(self, affine: Affine, u: Tensor, best: float, found: Tensor) -> tuple[Tensor, float]:
        """Return what a step found, and its likeness, or what was there where the images are not more alike by it."""
        value = self._likeness(affine, found)
        return (found, value) if value > best else (u, best)

    def _composed(self, u: Tensor, added: Tensor, control: Grid) -> Tensor:
        """Apply `added`, on the control points, before u; without folds."""
        joined = compose(u, resample(added, control, self._lattice), self._lattice)
        return remove_folding(joined, self._lattice, self._work)

    def _joined(self, affine: Affine, u: Tensor) -> DisplacementField:
        """Join map and displacement to a field in mm, over the fixed image and a margin where u fades to zero."""
        grid = lattice_over(self._grid, FIELD_SPACING, margin(u) + BORDER)
        field = join(affine, fade(u, self._lattice, grid), grid)
        return DisplacementField(field.array / np.float32(self._units), scaled(grid, 1 / self._units))

    def _spread(self, steps: Sequence[StageResult], grid: Grid) -> Image:
        """Return the uncertainty of the last stage on a grid in mm; zero without any stage."""
        if not steps:
            return Image(np.zeros(grid.shape, np.float32), grid)
        last = steps[-1]
        values = resample(last.uncertainty[None], last.control, scaled(grid, self._units))[0]
        return Image(to_array(values) / np.float32(self._units), grid)

    def _uncertain(self, steps: Sequence[StageResult]) -> dict[str, float]:
        """Return the mean uncertainty, and the mean difference between both directions, of the last stage in mm."""
        if not steps or steps[-1].inconsistency is None:
            return {"spread": 0.0, "inverse_consistency": 0.0}
        uncertainty, inconsistency = float(steps[-1].uncertainty.mean()), float(steps[-1].inconsistency.mean())
        return {"spread": uncertainty / self._units, "inverse_consistency": inconsistency / self._units}
