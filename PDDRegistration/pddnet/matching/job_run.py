"""Run a job: align, deform or refine a linear map, measure what was found, and make the result of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image
from ..core.linear import DEFORMABLE, LinearTransform
from ..core.masks import masks_shift
from ..core.result import InverseParts, Registration
from ..tensor.affine_field import fade, join, margin, split
from ..tensor.convert import to_array
from ..tensor.execution import Work
from ..tensor.lattice import resample, to_lps
from ..tensor.scan import Scan
from ..tensor.velocity import both_ways, logarithm
from .alignment import Alignment, find_alignment
from .deformation import Deformation, Deformed
from .expected_error import expected_error
from .feature_types import FeatureScans, ScanPair, coarse_features
from .job import Job
from .linear_alignment import LinearSearch
from .measures import measure
from .progress import Ticker
from .similarity import Similarity, agreement
from .structure_report import compare_structures
from .verdict import judge

BORDER_MM = 8.0  # around the body's box, also covered by the deformation


@dataclass(frozen=True)
class Run:
    """One run: a job whose scans lie as people do, prepared on one device."""

    job: Job
    prepared: ScanPair
    features: FeatureScans
    device: torch.device
    work: Work
    ticker: Ticker
    warnings: tuple[str, ...]

    def run(self) -> Registration:
        """Align, deform and measure."""
        job = self.job
        self.ticker.stage("align")
        lattice = self.prepared[0].box.isotropic(job.preset.field_spacing_mm, BORDER_MM)
        fixed = self.prepared[0].warped(lattice, Affine.identity())
        similarity = Similarity(fixed, self.prepared[1], coarse_features(job.preset))
        alignment, start = self._align(similarity, lattice)
        affine = alignment.affine
        if job.transform_type == DEFORMABLE:
            deformed = self._deformed(fixed, similarity, affine, start)
            return self._finished(fixed, similarity, alignment, affine, deformed)
        self.ticker.stage("refine")
        linear, begin = self._find_linear(affine)
        measures = {"similarity_before": similarity(begin)[0], "unfolded_percent": 0.0}
        deformed = Deformed(start.new_zeros(start.shape), [], measures)
        return self._finished(fixed, similarity, alignment, linear.affine, deformed, linear)

    def _align(self, similarity: Similarity, lattice: Grid) -> tuple[Alignment, Tensor]:
        """Return the affine map and the u (3, D, H, W) before it: zero, or the remainder of an initial transform."""
        job, device = self.job, self.prepared[0].values.device
        if job.initial_transform is not None:
            affine, field = split(job.initial_transform, lattice, job.fixed.grid, device)
            return Alignment(affine, []), field
        field = self.prepared[0].values.new_zeros((3, *lattice.shape))
        if not job.align:
            return Alignment(Affine.identity(), []), field
        shift = masks_shift(job.fixed_mask, job.moving_mask)
        return find_alignment(self.prepared, self.features, similarity, job.preset, self.work, shift), field

    def _deformed(self, fixed: Scan, similarity: Similarity, affine: Affine, start: Tensor) -> Deformed:
        job = self.job
        deformation = Deformation(
            (job.fixed, job.moving), self.prepared, self.features, similarity, fixed, fixed.grid, job.preset,
            job.features.guided, self.ticker, self.work, job.network,
        )  # fmt: skip
        return deformation.run(affine, start)

    def _find_linear(self, affine: Affine) -> tuple[LinearTransform, Affine]:
        """Return the linear result, and the start of its kind; an initial transform's start is not doubted."""
        job = self.job
        masks = job.fixed_mask, job.moving_mask
        search = LinearSearch(job.fixed, job.moving, *masks, job.transform_type, job.preset, self.device, self.work)
        return search.run(affine, align=job.align and job.initial_transform is None)

    def _finished(
        self, fixed: Scan, similarity: Similarity, alignment: Alignment, affine: Affine, deformed: Deformed,
        linear: LinearTransform | None = None,
    ) -> Registration:  # fmt: skip
        """Measure what was found, and make the result of it."""
        self.ticker.stage("finish")
        job, work, field, lattice = self.job, self.work, deformed.field, fixed.grid
        measured = measure(fixed, similarity, affine, field, deformed.steps, work)
        measures = {
            **measured.measures,
            **deformed.measures,
            **self._agreement(affine, field, lattice),
            **({"peak_ratio": alignment.peak_ratio(self.prepared[0].box)} if alignment.candidates else {}),
        }
        joined, inverse = self._joined(affine, field, lattice, linear)
        uncertainty = resample(measured.uncertainty[None], lattice, joined.grid)[0]
        error, error_measures = self._expected_error(fixed, affine, deformed, joined.grid)
        structures = compare_structures(*self.features.scans, joined, affine, work, error, job.turns)
        self.ticker.close()
        return Registration(
            field=joined,
            uncertainty=Image(to_array(uncertainty), joined.grid),
            verdict=judge(
                measures | error_measures,
                one_patient=deformed.by_detail or linear is not None,
                structures=structures,
            ),
            fixed_grid=job.fixed.grid,
            preset=job.preset.name,
            device=str(self.device),
            seconds=self.ticker.seconds,
            inverse_consistency=measured.inverse_consistency,
            warnings=(*self.warnings, *_without_body(self.prepared), *deformed.warnings),
            linear=linear,
            inverse_parts=inverse,
            expected_error=error,
            structures=structures,
        )

    def _joined(
        self, affine: Affine, field: Tensor, lattice: Grid, linear: LinearTransform | None
    ) -> tuple[DisplacementField, InverseParts | None]:
        """Join the affine map and the deformation before it; with the parts of the inverse of a diffeomorphic one."""
        grid = self._field_grid(field)
        inner, inverse = fade(field, lattice, grid), None
        if self.job.diffeomorphic and linear is None:
            inner, back = both_ways(logarithm(inner, grid, self.work), grid, self.work)
            inverse = InverseParts(affine, DisplacementField(to_lps(back, grid), grid))
        return join(affine, inner, grid), inverse

    def _agreement(self, affine: Affine, field: Tensor, lattice: Grid) -> dict[str, float]:
        if self.features.structures is None:
            return {}
        return {"agreement": agreement(*self.features.structures, affine, field, lattice)}

    def _expected_error(
        self, fixed: Scan, affine: Affine, deformed: Deformed, grid: Grid
    ) -> tuple[Image | None, dict[str, float]]:
        """Return the map of the expected error (mm) on `grid`, and its measure; it was learned from CT only."""
        if not self.job.preset.hu:
            return None, {}
        found = expected_error(fixed, self.features.scans, affine, deformed.field, deformed.steps, self.work)
        values = resample(found.values[None], fixed.grid, grid)[0]
        measures = {} if found.median_mm is None else {"expected_error_mm": found.median_mm}
        return Image(to_array(values), grid), measures

    def _field_grid(self, field: Tensor) -> Grid:
        """Make the grid of the result: it covers the fixed volume, and the margin that the field needs to fade out."""
        around = margin(field) + BORDER_MM
        return self.job.fixed.canonical().grid.isotropic(self.job.preset.field_spacing_mm, around)


def _without_body(scans: ScanPair) -> list[str]:
    """Return a warning for each scan in which no body was found."""
    sides = zip(("fixed", "moving"), scans, strict=True)
    return [f"{name} volume: no body found; the whole volume counts" for name, scan in sides if scan.body_not_found]
