"""Deform: run the stages of a preset, or those for two scans of one patient, and keep them only if they helped."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field

from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.image import Image
from ..core.presets import OnePatient, Preset, Stage
from ..tensor.execution import Work
from ..tensor.folding import MOST_DETERMINANT, remove_folding
from ..tensor.lattice import compose, resample
from ..tensor.scan import Scan, prepare_finer
from .contrast_refinement import refine_by_contrast
from .feature_types import FeatureScans, ScanPair
from .measures import folding_percent
from .predicted import FieldNetwork, predict
from .progress import Ticker
from .refinement import refine_field
from .resemblance import resemblance
from .similarity import Similarity
from .stage import StageResult, deform

NOT_BETTER = "the deformation made the scans less alike and was left out; what stands is the alignment alone"
HARDLY_BETTER = (
    "the deformation fits hardly better than the alignment alone; the transform type 'affine' gives a simpler one that "
    "fits as well"
)
LEAST_GAIN = 0.01  # of similarity or resemblance, which both end at 1


@dataclass(frozen=True)
class Deformed:
    """Field u (3, D, H, W) after all stages, in mm along the lattice's axes, and what was measured on the way."""

    field: Tensor
    steps: list[StageResult]
    measures: dict[str, float]
    warnings: list[str] = dataclass_field(default_factory=list)
    by_detail: bool = False  # whether the pair was taken for one patient's


@dataclass(frozen=True)
class Deformation:
    """Scans and settings of the deformable part of a run."""

    images: tuple[Image, Image]  # fixed, moving: read once more for voxels finer than those of the prepared scans
    prepared: ScanPair
    features: FeatureScans
    similarity: Similarity
    fixed_view: Scan  # the fixed scan on the lattice
    lattice: Grid
    preset: Preset
    guided: bool  # by label maps: they, not the resemblance, then say what lies where
    ticker: Ticker
    work: Work
    network: FieldNetwork | None = None  # predicts the displacements, in place of the preset's stages

    def run(self, affine: Affine, start: Tensor) -> Deformed:
        """Deform from x -> affine(x + start(x)); return the start itself if the scans look less alike afterwards.

        Where they look hardly more alike, a warning names the simpler transform. A guided run keeps what the labels ask
        for, whatever the scans look like, and a network's field is kept for what it is.
        """
        before, (similarity_before, _) = self._resemblance(affine, start), self.similarity(affine, start)
        settings = self.preset.one_patient
        by_detail = settings is not None and self.network is None and self._is_one_patient(settings, before)
        if settings is not None and by_detail:
            steps, u = self._match(self.prepared, settings.stages, affine, start)
            unfolded = folding_percent(u, self.fixed_view)  # before it is smoothed: folding shows a wrong match
            u = self._follow_contrast(settings, affine, u)
        else:
            steps, u = self._match(self.features.scans, self.preset.stages, affine, start)
            if self.network is not None:
                self.ticker.stage("predict")
                u = predict(self.network, *self.prepared, affine, u, self.lattice)
            unfolded = folding_percent(u, self.fixed_view)
            u = self._refine(affine, u)
        u = remove_folding(u, self.lattice, self.work, most=MOST_DETERMINANT)
        after = self._resemblance(affine, u)
        measures = {"similarity_before": similarity_before, "unfolded_percent": unfolded}
        measures |= {"resemblance_before": before, "resemblance": after}
        similarity_after, overlap = self.similarity(affine, u)
        gains = after - before, similarity_after - similarity_before
        if max(gains) < 0 and not self.guided and self.network is None:
            kept = {"unfolded_percent": 0.0, "resemblance": before}
            return Deformed(start, [], measures | kept, [NOT_BETTER], by_detail)
        compared = overlap > 0 and not self.guided
        said = [HARDLY_BETTER] if compared and max(gains) < LEAST_GAIN else []
        return Deformed(u, steps, measures, said, by_detail)

    def _resemblance(self, affine: Affine, u: Tensor) -> float:
        return resemblance(*self.prepared, affine, u, self.lattice)

    def _is_one_patient(self, settings: OnePatient, found: float) -> bool:
        if settings.least_resemblance is None:
            return True
        return not self.guided and found >= settings.least_resemblance

    def _match(
        self, scans: ScanPair, stages: tuple[Stage, ...], affine: Affine, start: Tensor
    ) -> tuple[list[StageResult], Tensor]:
        """Run stages of discrete matching; return their results, and the field composed of all of them."""
        steps, u = [], start
        for number, stage in enumerate(stages):
            self.ticker.stage(f"match {number + 1}")
            step = deform(*scans, scans[0].box, affine, u, self.lattice, stage, self.preset, self.work)
            u = compose(u, resample(step.field, step.control, self.lattice), self.lattice)
            steps.append(step)
        return steps, u

    def _refine(self, affine: Affine, u: Tensor) -> Tensor:
        """Refine the field, after removing its folds: a descent that begins within a fold ends within it."""
        if self.preset.refinement is None:
            return u
        self.ticker.stage("refine")
        u = remove_folding(u, self.lattice, self.work, most=MOST_DETERMINANT)
        return refine_field(
            *self.features.scans, affine, u, self.lattice, self.preset.refinement, self.preset, self.work
        )

    def _follow_contrast(self, settings: OnePatient, affine: Affine, u: Tensor) -> Tensor:
        self.ticker.stage("detail")
        u = remove_folding(u, self.lattice, self.work)
        for level in settings.levels:
            scans = self._with_voxels_of(level.spacing_mm)
            u = refine_by_contrast(*scans, affine, u, self.lattice, level, self.work)
        return u

    def _with_voxels_of(self, spacing_mm: float) -> ScanPair:
        if spacing_mm >= self.preset.working_spacing_mm:
            return self.prepared
        fixed, moving = (
            prepare_finer(image, spacing_mm, scan) for image, scan in zip(self.images, self.prepared, strict=True)
        )
        return fixed, moving
