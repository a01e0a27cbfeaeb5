"""`register`: the only place that knows the order of the stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from . import tensor  # noqa: F401  says in one sentence that torch is missing
from .core.affine import Affine
from .core.grid import Grid
from .core.image import Image
from .core.presets import INVERSE_TEMPERATURE, Preset, find_preset
from .core.result import Progress, Registration
from .errors import InputError
from .features import semantic_codes
from .features.coarse import coarse_features
from .features.guide import code_book
from .io.validation import check_volume
from .io.weights_file import PDD, SEMANTIC, read_weights
from .matching import pdd_net
from .matching.affine_fit import refine
from .matching.affine_search import OVERLAP_POWER, PEAKS, Candidate, align, coarsen, distinct, judge_affine
from .matching.progress import Ticker
from .matching.refinement import refined
from .matching.similarity import Similarity, agreement
from .matching.stage import Step, deform
from .matching.structure_shift import shift_of_structures
from .matching.verdict import judge
from .tensor.affine_field import join, margin, split
from .tensor.convert import to_array
from .tensor.device import choose_device, free_memory
from .tensor.execution import Work
from .tensor.folding import determinant, remove_folding
from .tensor.lattice import compose, resample
from .tensor.scan import Scan, prepare

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SCORE_SLACK = 0.03  # the affine fit follows finer features than the score sees; more loss than this is a wrong fit
SAME = 12.0  # mm, up to which two candidates are one place
BORDER = 8.0  # mm around the body's box that the deformation covers
ELSEWHERE = 25.0  # mm, from which on two candidates are different places


def register(
    fixed: Image,
    moving: Image,
    preset: Preset | str = "default",
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    fixed_labels: Image | None = None,
    moving_labels: Image | None = None,
    initial_transform: sitk.Transform | None = None,
    align: bool = True,
    device: str = "auto",
    weights: Path | None = None,
    progress: Progress | None = None,
) -> Registration:
    """Find the transform that lays the moving scan over the fixed one.

    Args:
        fixed, moving: any geometry; Hounsfield units unless the preset says otherwise. Not changed.
        preset: a preset or its name.
        fixed_mask, moving_mask: where each scan may be trusted (nonzero), on any grid.
        fixed_labels, moving_labels: label maps that guide the matching: give them only if that is wanted.
        initial_transform: fixed to moving points (LPS mm); it replaces the alignment.
        align: whether to search for the alignment when no initial transform is given.
        device: auto, cpu or cuda. A GPU that runs out of memory is tried once more in smaller pieces, then the CPU.
        weights: of your own training. Those of the network that names structures stand in for the bundled ones, where
            the preset uses them; features that pdd-net learned stand beside all that the preset compares.
        progress: called with (fraction, stage) at least once a second of work; it may raise `Cancelled`.

    Raises:
        InputError: an input or setting cannot be used.
        Cancelled: the callback asked for it.
    """
    preset = find_preset(preset) if isinstance(preset, str) else preset
    smallest = max((stage.control_spacing_mm for stage in preset.stages), default=preset.field_spacing_mm)
    fixed, warnings = check_volume(fixed, "fixed volume", smallest=smallest)
    moving, more = check_volume(moving, "moving volume", smallest=smallest)
    where = choose_device(device)
    learned = None
    if weights is not None and read_weights(weights, SEMANTIC, PDD)[1]["kind"] == PDD:
        weights, learned = None, weights
        if not preset.hu:
            raise InputError(f"{learned}: its features are of CT, which the preset '{preset.name}' is not for")
    job = _Job(
        fixed, moving, preset, fixed_mask, moving_mask, fixed_labels, moving_labels, initial_transform, align, weights,
        learned,
    )  # fmt: skip
    attempts = [(where, Work())]
    if where.type == "cuda":
        attempts += [(where, Work(gpu_values=1 << 22)), (choose_device("cpu"), Work())]
    notes = warnings + more
    for number, (place, work) in enumerate(attempts):
        try:
            return job.run(place, work, progress, notes)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        # here, where the traceback no longer holds the tensors
        if number == len(attempts) - 1:
            break
        free_memory(place)
        then = ("tried again in smaller pieces", "went on with the CPU")[number]
        notes = [*notes, f"the GPU ran out of memory; {then}"]
    raise MemoryError("not enough memory for this registration; close other programs or use the preset 'fast'")


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return any(sign in text for sign in ("out of memory", "ALLOC_FAILED", "can't allocate memory"))


@dataclasses.dataclass(frozen=True)
class _Job:
    """One call of `register`: its inputs, and the stages in order."""

    fixed: Image
    moving: Image
    preset: Preset
    fixed_mask: Image | None
    moving_mask: Image | None
    fixed_labels: Image | None
    moving_labels: Image | None
    initial_transform: sitk.Transform | None
    align: bool
    weights: Path | None  # of the network that names structures
    learned: Path | None  # of pdd-net

    def run(self, device: torch.device, work: Work, progress: Progress | None, warnings: list[str]) -> Registration:
        """All stages on one device."""
        preset, warnings = self.preset, list(warnings)
        shares = {"prepare": 1.0} | ({"structures": 2.0} if preset.semantic else {})
        shares |= ({"features": 2.0} if self.learned else {}) | {"align": 2.0}
        shares |= {f"match {i + 1}": 4.0 for i in range(len(preset.stages))}
        shares |= {"refine": 3.0} if preset.refinement else {}
        ticker = Ticker(progress, shares | {"finish": 1.0})
        work = dataclasses.replace(work, tick=ticker.tick)
        ticker.stage("prepare")
        plain = fixed, moving = self._prepare(device, ticker)
        warnings += [
            f"{n} volume: no body found; the whole volume counts"
            for n, s in (("fixed", fixed), ("moving", moving))
            if s.body_not_found
        ]
        if preset.semantic:
            ticker.stage("structures")
            fixed, moving = self._with_semantic_codes(plain, device, work)
        named = fixed, moving
        if self.learned:
            ticker.stage("features")
            fixed, moving = self._with_pdd_features(named, self.learned, device, ticker.tick)
        ticker.stage("align")
        lattice = fixed.box.isotropic(preset.field_spacing_mm, BORDER)
        field = fixed.values.new_zeros((3, *lattice.shape))
        here = fixed.warped(lattice, Affine.identity())
        similarity = Similarity(here, plain[1], self._describe, local=preset.hu)
        affine, candidates = Affine.identity(), []
        if self.initial_transform is not None:
            affine, field = split(self.initial_transform, lattice, device)
        elif self.align:
            affine, candidates = self._aligned((fixed, moving), named, plain, similarity, work)
        before = similarity(affine, field)[0]
        steps = []
        for number, stage in enumerate(preset.stages):
            ticker.stage(f"match {number + 1}")
            step = deform(fixed, moving, fixed.box, affine, field, lattice, stage, preset, work)
            field = compose(field, resample(step.field, step.control, lattice), lattice)
            steps.append(step)
        folded = _share(determinant(field, lattice) <= 0, here)  # a sign of a wrong match; what descends folds anyway
        if preset.refinement:
            ticker.stage("refine")
            # without folds: a descent that begins within one ends within it
            field = remove_folding(field, lattice, work)
            field = refined(fixed, moving, affine, field, lattice, preset.refinement, preset, work)
        ticker.stage("finish")
        field = remove_folding(field, lattice, work)
        result = self._finish(here, similarity(affine, field), affine, field, steps, work.tick)
        measures = result.pop("measures") | {"similarity_before": before, "unfolded_percent": folded}
        if preset.semantic:
            measures["agreement"] = agreement(*named, affine, field, lattice)
        if candidates:
            measures["peak_ratio"] = _peak_ratio(candidates, fixed.box)
        ticker.close()
        return Registration(
            verdict=judge(measures, fitted=preset.fitted_risk and not self.learned), fixed_grid=self.fixed.grid,
            preset=preset.name, device=str(device), seconds=ticker.seconds, warnings=tuple(warnings), **result,
        )  # fmt: skip

    def _aligned(
        self, scans: tuple[Scan, Scan], named: tuple[Scan, Scan], plain: tuple[Scan, Scan], similarity: Similarity,
        work: Work,
    ) -> tuple[Affine, list[Candidate]]:  # fmt: skip
        """The affine map, and the places that were compared for it, best first.

        The search also starts from where the structures lie on each other.
        """
        coarse = [coarsen(scan, plain[0].grid.direction, self._describe) for scan in plain]
        found = align(*coarse, work, also=self._shifts(named, len(plain[0].codes)))
        candidates = _ranked(similarity, plain[0].box, found, work)
        if not candidates:
            return _centred(plain[0].box, plain[1].box), []
        if not self.preset.affine_fit:
            return candidates[0].affine, candidates
        fitted = judge_affine(*coarse, refine(*scans, candidates[0].affine, self.preset, work))
        good = fitted.score > candidates[0].coarse_score - SCORE_SLACK
        return (fitted if good else candidates[0]).affine, candidates

    def _shifts(self, named: tuple[Scan, Scan], before: int) -> list[np.ndarray]:
        """Where the structures that the network names lie on each other; before: channels of codes that are not its."""
        if not self.preset.semantic:
            return []
        channels = slice(before + semantic_codes.SIGNED.start, before + semantic_codes.SIGNED.stop)
        shift = shift_of_structures(*named, channels, self.preset.semantic)
        return [] if shift is None else [shift]

    def _prepare(self, device: torch.device, ticker: Ticker) -> tuple[Scan, Scan]:
        book = code_book(self.fixed_labels, self.moving_labels)
        sides = ((self.fixed, self.fixed_mask, self.fixed_labels), (self.moving, self.moving_mask, self.moving_labels))
        scans = []
        for image, mask, labels in sides:
            scans.append(
                prepare(
                    image,
                    self.preset.working_spacing_mm,
                    device,
                    hu=self.preset.hu,
                    mask=mask,
                    codes=labels,
                    code_book=book,
                    tick=ticker.tick,
                )
            )
        return scans[0], scans[1]

    def _with_semantic_codes(self, scans: tuple[Scan, Scan], device: torch.device, work: Work) -> tuple[Scan, Scan]:
        """The scans with what the network says is where."""
        net = semantic_codes.load(self.weights or semantic_codes.BUNDLED, device)
        named = []
        for scan in scans:
            named.append(semantic_codes.with_semantic_codes(scan, net, self.preset.semantic, self.preset.scales, work))
            work.tick()
        return named[0], named[1]

    def _with_pdd_features(
        self, scans: tuple[Scan, Scan], path: Path, device: torch.device, tick: Callable[[], None]
    ) -> tuple[Scan, Scan]:
        """The scans with pdd-net's features after what codes they have."""
        net = pdd_net.load(path, device)
        described = []
        for scan in scans:
            described.append(pdd_net.with_pdd_features(scan, net, INVERSE_TEMPERATURE))
            tick()
        return described[0], described[1]

    def _describe(self, values: Tensor) -> Tensor:
        return coarse_features(values, hu=self.preset.hu)

    def _finish(
        self, here: Scan, alike: tuple[float, float], affine: Affine, field: Tensor, steps: list[Step],
        tick: Callable[[], None],
    ) -> dict:  # fmt: skip
        """What the result holds besides the verdict. alike: similarity and overlap under the whole map."""
        lattice = here.grid
        body = to_array(here.body) > 0.5
        folding = _share(determinant(field, lattice) <= 0, here)
        tick()
        deviation = field.new_zeros(lattice.shape)
        if steps:
            deviation = resample(steps[-1].uncertainty[None], steps[-1].control, lattice)[0]
        uncertainty = to_array(deviation)
        gaps = [resample(s.inconsistency[None], s.control, lattice)[0] for s in steps if s.inconsistency is not None]
        gap = float(to_array(gaps[-1])[body].mean()) if gaps and body.any() else None
        measures = {"overlap": alike[1], "similarity": alike[0], "folding_percent": folding}
        measures["spread"] = float(uncertainty[body].mean() if body.any() else uncertainty.mean())
        if gap is not None:
            measures["inverse_consistency"] = gap
        tick()
        around = margin(field, lattice) + BORDER
        whole = join(
            affine, field, lattice, self.fixed.canonical().grid.isotropic(self.preset.field_spacing_mm, around)
        )
        uncertainty = Image(to_array(resample(deviation[None], lattice, whole.grid)[0]), whole.grid)
        return {"field": whole, "uncertainty": uncertainty, "inverse_consistency": gap, "measures": measures}


def _ranked(similarity: Similarity, box: Grid, candidates: list[Candidate], work: Work) -> list[Candidate]:
    """The distinct candidates by the mean of their coarse score and of the one at the working resolution.

    The coarse score compromises between diaphragm and spine; vertebrae are told apart only where they are resolved.
    """
    ranked = []
    for candidate in distinct(candidates, box, SAME)[:PEAKS]:
        work.tick()
        score = (candidate.score + similarity(candidate.affine)[0] * candidate.overlap**OVERLAP_POWER) / 2
        ranked.append(dataclasses.replace(candidate, score=score, coarse_score=candidate.score))
    return sorted(ranked, key=lambda candidate: -candidate.score)


def _share(mask: Tensor, here: Scan) -> float:
    """% of the body in which the mask holds."""
    body = here.body > 0.5
    return 100.0 * float((mask & body).sum()) / max(float(body.sum()), 1.0)


def _centred(fixed: Grid, moving: Grid) -> Affine:
    """Body on body, where no alignment was found."""
    return Affine(np.eye(3), moving.centre - fixed.centre)


def _peak_ratio(candidates: list[Candidate], box: Grid) -> float:
    """Score of the best place elsewhere over the score of the best place; 0 without any."""
    places = distinct(candidates, box, ELSEWHERE)
    return max(places[1].score, 0.0) / max(places[0].score, 1e-6) if len(places) > 1 else 0.0
