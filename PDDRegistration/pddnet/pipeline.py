"""Run the stages of a registration in order: `register`. The stages themselves are in other modules."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk

from . import tensor  # noqa: F401  raises `TorchMissing` where torch cannot be loaded
from .core.affine import Affine
from .core.field import DisplacementField
from .core.grid import Grid
from .core.image import Image
from .core.intensity import AUTO, check_intensity, to_hu
from .core.linear import DEFORMABLE, LinearTransform, check_transform_type
from .core.masks import masks_shift
from .core.presets import Preset, find_preset
from .core.result import InverseParts, Progress, Registration
from .errors import InputError
from .io.validation import check_volume
from .io.weights_file import PDD, SEMANTIC, read_weights
from .matching.alignment import Alignment, find_alignment
from .matching.deformation import Deformation, Deformed
from .matching.expected_error import expected_error
from .matching.feature_types import (
    FeatureScans,
    FeatureSettings,
    ScanPair,
    append_features,
    carried_features,
    coarse_features,
)
from .matching.linear_alignment import LinearSearch
from .matching.measures import measure
from .matching.progress import Ticker, expected_shares
from .matching.similarity import Similarity, agreement
from .matching.structure_report import compare_structures
from .matching.verdict import judge
from .tensor.affine_field import fade, join, margin, split
from .tensor.convert import to_array
from .tensor.device import choose_device, free_memory
from .tensor.execution import Work
from .tensor.lattice import resample, to_lps
from .tensor.scan import Scan, inside, prepare
from .tensor.velocity import both_ways, logarithm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BORDER_MM = 8.0  # around the body's box, also covered by the deformation
SMALLER_PIECES = 1 << 22  # values to compute at once on a GPU that ran out of memory


def register(
    fixed: Image,
    moving: Image,
    preset: Preset | str = "default",
    *,
    transform_type: str = DEFORMABLE,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    fixed_labels: Image | None = None,
    moving_labels: Image | None = None,
    initial_transform: sitk.Transform | None = None,
    align: bool = True,
    diffeomorphic: bool = False,
    intensity: str = AUTO,
    device: str = "auto",
    weights: Path | None = None,
    progress: Progress | None = None,
) -> Registration:
    """Find the transform that aligns the moving scan with the fixed one.

    Args:
        fixed, moving: any geometry; Hounsfield units unless the preset says otherwise. Not changed.
        preset: a preset or its name.
        transform_type: deformable, rigid, similarity or affine; all but the first are linear, without the stages.
        fixed_mask, moving_mask: where each scan may be trusted (nonzero), on any grid.
        fixed_labels, moving_labels: label maps that guide the matching; pass them only for that purpose.
        initial_transform: fixed to moving points (LPS mm); it replaces the alignment.
        align: whether to search for the alignment when no initial transform is given.
        diffeomorphic: whether the deformation before the affine map is to be the exponential of a stationary velocity
            field (Arsigny et al. 2006), whose negative gives the inverse; without effect on a linear transform.
        intensity: what the values of the scans are, for a preset for CT: auto, hu or offset-1024; see
            `core.intensity.to_hu`.
        device: auto, cpu or cuda. A GPU that runs out of memory is tried once more in smaller pieces, then the CPU.
        weights: file with weights of your own training. Those of the segmentation network replace the bundled ones, if
            the preset uses it; those of pdd-net add its features to the ones that the preset compares.
        progress: called with (fraction, stage) at least once a second of work; it may raise `Cancelled`.

    Raises:
        InputError: an input or setting cannot be used.
        Cancelled: the callback asked for it.
        MemoryError: neither the GPU nor the CPU has enough memory.
    """
    preset = find_preset(preset) if isinstance(preset, str) else preset
    if check_transform_type(transform_type) != DEFORMABLE:
        preset = dataclasses.replace(preset, stages=(), refinement=None, one_patient=None, fitted_risk=False)
    smallest = max((stage.control_spacing_mm for stage in preset.usual_stages), default=preset.field_spacing_mm)
    fixed, fixed_warnings = check_volume(fixed, "fixed volume", smallest=smallest)
    moving, moving_warnings = check_volume(moving, "moving volume", smallest=smallest)
    if preset.hu:
        fixed, fixed_scale = to_hu(fixed, "fixed volume", intensity)
        moving, moving_scale = to_hu(moving, "moving volume", intensity)
        fixed_warnings, moving_warnings = fixed_warnings + fixed_scale, moving_warnings + moving_scale
    check_intensity(intensity)
    _check_mask(fixed_mask, fixed, "fixed mask")
    _check_mask(moving_mask, moving, "moving mask")
    chosen = choose_device(device)
    semantic_weights, pdd_weights = _by_kind(weights, preset)
    features = FeatureSettings(preset, fixed_labels, moving_labels, semantic_weights, pdd_weights)
    masks = fixed_mask, moving_mask
    job = _Job(fixed, moving, preset, transform_type, *masks, initial_transform, align, diffeomorphic, features)
    return _run_in_memory(job, chosen, progress, fixed_warnings + moving_warnings)


def _check_mask(mask: Image | None, scan: Image, name: str) -> None:
    """Raise InputError if a mask trusts nothing of its scan."""
    if mask is not None and not inside(mask, scan.grid).any():
        raise InputError(f"{name}: the mask is empty inside the scan; draw it again or leave it out")


def _by_kind(weights: Path | None, preset: Preset) -> tuple[Path | None, Path | None]:
    """Return the weights file as (segmentation network, pdd-net), with None for the network it is not for."""
    if weights is None or read_weights(weights, SEMANTIC, PDD)[1]["kind"] != PDD:
        return weights, None
    if not preset.hu:
        raise InputError(f"{weights}: its features are of CT, which the preset '{preset.name}' is not for")
    return None, weights


def _run_in_memory(job: _Job, device: torch.device, progress: Progress | None, warnings: list[str]) -> Registration:
    """Run the job; on a GPU without enough memory once more in smaller pieces, then on the CPU."""
    attempts = [(device, Work(), "")]
    if device.type == "cuda":
        attempts.append((device, Work(gpu_values=SMALLER_PIECES), "tried again in smaller pieces"))
        attempts.append((choose_device("cpu"), Work(), "went on with the CPU"))
    for place, work, retry in attempts:
        if retry:
            # not in the `except` block, where the traceback of the failed attempt still holds its tensors
            free_memory(device)
            warnings = [*warnings, f"the GPU ran out of memory; {retry}"]
        try:
            return job.run(place, work, progress, warnings)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
    raise MemoryError("not enough memory for this registration; close other programs or use the preset 'fast'")


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return any(sign in text for sign in ("out of memory", "ALLOC_FAILED", "can't allocate memory"))


@dataclass(frozen=True)
class _Job:
    """Inputs of one call of `register`, and the stages in order."""

    fixed: Image
    moving: Image
    preset: Preset
    transform_type: str
    fixed_mask: Image | None
    moving_mask: Image | None
    initial_transform: sitk.Transform | None
    align: bool
    diffeomorphic: bool
    features: FeatureSettings

    def run(self, device: torch.device, work: Work, progress: Progress | None, warnings: list[str]) -> Registration:
        """Run all stages on one device."""
        ticker = Ticker(progress, self._expected_shares())
        work = dataclasses.replace(work, tick=ticker.tick)
        ticker.stage("prepare")
        prepared = self._prepare(device, work)
        features = append_features(prepared, self.features, work, ticker.stage)
        ticker.stage("align")
        lattice = prepared[0].box.isotropic(self.preset.field_spacing_mm, BORDER_MM)
        fixed = prepared[0].warped(lattice, Affine.identity())
        similarity = Similarity(fixed, prepared[1], coarse_features(self.preset))
        alignment, field = self._align(prepared, features, similarity, lattice, work)
        if self.transform_type == DEFORMABLE:
            affine, linear = alignment.affine, None
            deformation = Deformation(
                (self.fixed, self.moving), prepared, features, similarity, fixed, lattice, self.preset,
                self.features.guided, ticker, work,
            )  # fmt: skip
            deformed = deformation.run(affine, field)
        else:
            ticker.stage("refine")
            linear, start = self._find_linear(alignment.affine, device, work)
            affine = linear.affine
            measures = {"similarity_before": similarity(start)[0], "unfolded_percent": 0.0}
            deformed = Deformed(field.new_zeros(field.shape), [], measures)
        field = deformed.field
        ticker.stage("finish")
        measured = measure(fixed, similarity, affine, field, deformed.steps, work)
        measures = {
            **measured.measures,
            **deformed.measures,
            **self._agreement(features, affine, field, lattice),
            **({"peak_ratio": alignment.peak_ratio(prepared[0].box)} if alignment.candidates else {}),
        }
        grid = self._field_grid(field, lattice)
        inner, inverse = fade(field, lattice, grid), None
        if self.diffeomorphic and linear is None:
            inner, back = both_ways(logarithm(inner, grid, work), grid, work)
            inverse = InverseParts(affine, DisplacementField(to_lps(back, grid), grid))
        joined = join(affine, inner, grid)
        uncertainty = resample(measured.uncertainty[None], lattice, joined.grid)[0]
        error, error_measures = self._expected_error(fixed, features, affine, deformed, lattice, joined.grid, work)
        structures = compare_structures(*features.scans, joined, affine, work, error)
        ticker.close()
        return Registration(
            field=joined,
            uncertainty=Image(to_array(uncertainty), joined.grid),
            verdict=judge(
                measures | error_measures,
                fitted=self.preset.fitted_risk and self.features.pdd_weights is None,
                by_error=deformed.by_detail or linear is not None,
                structures=structures,
            ),
            fixed_grid=self.fixed.grid,
            preset=self.preset.name,
            device=str(device),
            seconds=ticker.seconds,
            inverse_consistency=measured.inverse_consistency,
            warnings=(*warnings, *_without_body(prepared), *deformed.warnings),
            linear=linear,
            inverse_parts=inverse,
            expected_error=error,
            structures=structures,
        )

    def _expected_shares(self) -> dict[str, float]:
        features = {each.stage: each.share for each in carried_features(self.features) if each.stage}
        preset, linear = self.preset, self.transform_type != DEFORMABLE
        detail = preset.one_patient.stages if preset.one_patient else ()
        return expected_shares(
            features,
            max(len(preset.stages), len(detail)),
            refined=preset.refinement is not None or linear,
            detailed=preset.one_patient is not None,
        )

    def _prepare(self, device: torch.device, work: Work) -> ScanPair:
        def prepared(image: Image, mask: Image | None) -> Scan:
            preset = self.preset
            return prepare(image, preset.working_spacing_mm, device, hu=preset.hu, mask=mask, tick=work.tick)

        return prepared(self.fixed, self.fixed_mask), prepared(self.moving, self.moving_mask)

    def _align(
        self, prepared: ScanPair, features: FeatureScans, similarity: Similarity, lattice: Grid, work: Work
    ) -> tuple[Alignment, Tensor]:
        """Return the affine map and the u (3, D, H, W) before it: zero, or the remainder of an initial transform."""
        if self.initial_transform is not None:
            affine, field = split(self.initial_transform, lattice, prepared[0].values.device)
            return Alignment(affine, []), field
        field = prepared[0].values.new_zeros((3, *lattice.shape))
        if not self.align:
            return Alignment(Affine.identity(), []), field
        shift = masks_shift(self.fixed_mask, self.moving_mask)
        return find_alignment(prepared, features, similarity, self.preset, work, shift), field

    def _find_linear(self, affine: Affine, device: torch.device, work: Work) -> tuple[LinearTransform, Affine]:
        """Return the linear result, and the start of its kind; an initial transform's start is not doubted."""
        masks = self.fixed_mask, self.moving_mask
        search = LinearSearch(self.fixed, self.moving, *masks, self.transform_type, self.preset, device, work)
        return search.run(affine, align=self.align and self.initial_transform is None)

    def _agreement(self, features: FeatureScans, affine: Affine, field: Tensor, lattice: Grid) -> dict[str, float]:
        if features.structures is None:
            return {}
        return {"agreement": agreement(*features.structures, affine, field, lattice)}

    def _expected_error(
        self, fixed: Scan, features: FeatureScans, affine: Affine, deformed: Deformed, lattice: Grid, grid: Grid,
        work: Work,
    ) -> tuple[Image | None, dict[str, float]]:  # fmt: skip
        """Return the map of the expected error (mm) on `grid`, and its measure; it was learned from CT only."""
        if not self.preset.hu:
            return None, {}
        found = expected_error(fixed, features.scans, affine, deformed.field, deformed.steps, work)
        values = resample(found.values[None], lattice, grid)[0]
        return Image(to_array(values), grid), {"expected_error_mm": found.median_mm}

    def _field_grid(self, field: Tensor, lattice: Grid) -> Grid:
        """Make the grid of the result: it covers the fixed volume, and the margin that the field needs to fade out."""
        around = margin(field) + BORDER_MM
        return self.fixed.canonical().grid.isotropic(self.preset.field_spacing_mm, around)


def _without_body(scans: ScanPair) -> list[str]:
    """Return a warning for each scan in which no body was found."""
    sides = zip(("fixed", "moving"), scans, strict=True)
    return [f"{name} volume: no body found; the whole volume counts" for name, scan in sides if scan.body_not_found]
