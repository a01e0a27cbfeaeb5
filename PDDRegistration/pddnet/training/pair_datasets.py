"""Draw pairs for networks that register: fixed and moving scan, aligned by their structures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..synthesis.patient import Sample
from ..tensor.convert import to_array, to_tensor
from .datasets import LARGEST_SEED, SampleSource, ScanDataset, annotation_mask
from .known_deformation import known_displacement
from .labelled_scan import LabelledScan, centre_offset, content_similarity, view_grid

MISALIGNMENT_MM = 8.0  # standard deviation along each axis, as an initial alignment leaves it
LEAST_CONTENT_SIMILARITY = 0.3  # share of their structures that both scans of a pair should show
MOST_TRIES = 3  # moving scans that are drawn for that; then the most similar one is taken
COARSE_MM = 16.0  # between the points whose true displacements are averaged


class PairDataset(ScanDataset):
    """Endless (values, structures, common, shift): two scans of one source or two, fixed and moving.

    values (2, 3, D, H, W) and structures (2, D, H, W); common (structures,) bool, the structures distinguished in both;
    shift (3,) LPS mm of the moving view from the fixed one, which aligns their structures approximately.
    """

    def __init__(
        self, sources: list[SampleSource], shares: list[float], seed: int, first: int, view: tuple[int, int, int]
    ) -> None:
        super().__init__(sources, shares, seed, first)
        self._view = view

    def draw_item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Draw one pair."""
        return self._draw_pair(rng, self.draw_source(rng), self.draw_source(rng))[0]

    def _draw_pair(
        self, rng: np.random.Generator, fixed_source: SampleSource, moving_source: SampleSource
    ) -> tuple[tuple[Tensor, ...], tuple[Sample, Sample]]:
        """Draw one pair of two sources: the item, and the samples that it was made of."""
        common = annotation_mask(fixed_source.annotated & moving_source.annotated)
        fixed, fixed_sample = self._draw_scan(fixed_source, rng, common)
        tries: list[tuple[float, LabelledScan, Sample]] = []
        while len(tries) < MOST_TRIES and all(one[0] < LEAST_CONTENT_SIMILARITY for one in tries):
            moving, moving_sample = self._draw_scan(moving_source, rng, common)
            tries.append((content_similarity(fixed, moving), moving, moving_sample))
        _, moving, moving_sample = max(tries, key=lambda one: one[0])
        shift = to_tensor(centre_offset(fixed, moving) + rng.normal(0, MISALIGNMENT_MM, 3))
        values = torch.stack([fixed.scan.values, moving.scan.values])
        item = values, torch.stack([fixed.structures, moving.structures]), common, shift
        return item, (fixed_sample, moving_sample)

    def _draw_scan(self, source: SampleSource, rng: np.random.Generator, common: Tensor) -> tuple[LabelledScan, Sample]:
        sample = source.draw(self._view, int(rng.integers(LARGEST_SEED)))
        return LabelledScan.from_sample(sample.values, sample.structures).keep_structures(common), sample


class KnownPairDataset(PairDataset):
    """Endless (values, structures, common, shift, points): two views of one anatomy each, in two poses.

    As of `PairDataset`, and points (2, 3, D, H, W) LPS mm, the `Sample.points` of both: they show where each view's
    voxels lie in the other, and the shift aligns them. An organ that one of them borrowed from another anatomy has no
    exact counterpart.
    """

    def draw_item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Draw one pair."""
        source = self.draw_source(rng)
        (values, structures, common, shift), samples = self._draw_pair(rng, source, source)
        points = torch.stack([sample.points for sample in samples if sample.points is not None])
        return values, structures, common, _in_the_middle(shift, structures, points, rng), points


def _in_the_middle(shift: Tensor, structures: Tensor, points: Tensor, rng: np.random.Generator) -> Tensor:
    """Correct a shift (3,) LPS mm so that the true displacements of the pair are zero on average, but for an error."""
    fixed, moving = (view_grid(one, by) for one, by in zip(structures, (np.zeros(3), to_array(shift)), strict=True))
    displacement, known = known_displacement(fixed, moving, points, fixed.isotropic(COARSE_MM))
    found = displacement[to_array(known) > 0]
    return shift - to_tensor(found.mean(0) - rng.normal(0, MISALIGNMENT_MM, 3)) if len(found) else shift
