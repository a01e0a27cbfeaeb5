"""Estimate the affine alignment from correlation and structures, and measure its ambiguity (peak ratio)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.presets import Preset
from ..tensor.execution import Work
from ..tensor.scan import Scan
from .affine_fit import refit_affine
from .affine_search import OVERLAP_POWER, Candidate, align, distinct, score_affine
from .coarse_scan import coarsen
from .feature_types import FeatureScans, ScanPair, coarse_features
from .similarity import Similarity

SCORE_SLACK = 0.03  # the affine fit uses finer features than the score; if the score falls by more, the fit is wrong
SAME_PLACE_MM = 12.0  # candidates that lie closer together count as one
ELSEWHERE_MM = 25.0  # candidates farther apart count as different places: about the height of a vertebra
MOST_CANDIDATES = 5  # candidates that are compared at the working resolution
MOST_SHOWN = 0.5  # share of a body: masks that show more are of a region, and their centres need not correspond
LEAST_SEEN_IN_MASKS = 0.35  # fine score: with less, two masks hide too much, and chance decides between the places


@dataclass(frozen=True)
class Alignment:
    """Affine alignment (fixed to moving points, LPS mm), and the candidates that it was chosen from, best first."""

    affine: Affine
    candidates: list[Candidate]  # empty where no overlap was large enough

    def peak_ratio(self, box: Grid) -> float:
        """Return the ambiguity: score of the best candidate elsewhere / score of the best one; 0 without a second."""
        places = distinct(self.candidates, box, ELSEWHERE_MM)
        if len(places) < 2:
            return 0.0
        return max(places[1].score, 0.0) / max(places[0].score, 1e-6)


def find_alignment(
    prepared: ScanPair, features: FeatureScans, similarity: Similarity, preset: Preset, work: Work,
    masks_shift: np.ndarray | None = None,
) -> Alignment:  # fmt: skip
    """Find the affine map; where no overlap is large enough, align the centres of the two bodies instead.

    Two masks, such as those of one organ, may show too little for a search: then their centres are aligned.

    Args:
        prepared: fixed and moving scan, whose coarse features are compared.
        features: the same scans with the features they carry, for the extra starts and the affine fit.
        similarity: compares the two scans at the working resolution, to rank the candidates.
        masks_shift: (3,) LPS mm from the centre of the fixed mask to that of the moving one, where both are masked.
    """
    fixed, moving = prepared
    axes, describe = fixed.grid.direction, coarse_features(preset).describe
    fixed_coarse, moving_coarse = coarsen(fixed, axes, describe), coarsen(moving, axes, describe)
    shifts = [shift for find in features.find_shifts if (shift := find()) is not None]
    shifts += [] if masks_shift is None else [masks_shift]
    found = align(fixed_coarse, moving_coarse, work, extra_shifts=shifts)
    candidates = ranked(found, similarity, fixed.box, work)
    if not candidates:
        return Alignment(_centre_on_centre(fixed.box, moving.box), [])
    best = candidates[0]
    if masks_shift is not None and _hidden(fixed, moving) and best.fine_score < LEAST_SEEN_IN_MASKS:
        return Alignment(Affine(np.eye(3), masks_shift), candidates)
    if not preset.affine_fit:
        return Alignment(best.affine, candidates)
    fitted = score_affine(fixed_coarse, moving_coarse, refit_affine(*features.scans, best.affine, preset, work))
    fits = fitted.score > best.coarse_score - SCORE_SLACK
    return Alignment(fitted.affine if fits else best.affine, candidates)


def ranked(candidates: list[Candidate], similarity: Similarity, box: Grid, work: Work) -> list[Candidate]:
    """Rank the distinct candidates by the mean of their coarse score and their score at the working resolution.

    The coarse score is a compromise between aligning diaphragm and spine; only the finer one resolves vertebrae.
    """
    result = []
    for candidate in distinct(candidates, box, SAME_PLACE_MM)[:MOST_CANDIDATES]:
        work.tick()
        fine_score = similarity(candidate.affine)[0] * candidate.overlap**OVERLAP_POWER
        score = (candidate.score + fine_score) / 2
        result.append(dataclasses.replace(candidate, score=score, coarse_score=candidate.score, fine_score=fine_score))
    return sorted(result, key=lambda candidate: -candidate.score)


def _hidden(*scans: Scan) -> bool:
    """Return whether masks hide most of every body."""
    return all(float((scan.body * scan.view).sum()) < MOST_SHOWN * float(scan.body.sum()) for scan in scans)


def _centre_on_centre(fixed: Grid, moving: Grid) -> Affine:
    return Affine(np.eye(3), moving.centre - fixed.centre)
