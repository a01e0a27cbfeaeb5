"""Draw pairs for pdd-net: fixed and moving scan, aligned by their structures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..tensor.convert import to_tensor
from .datasets import LARGEST_SEED, SampleSource, ScanDataset, annotation_mask
from .labelled_scan import LabelledScan, centre_offset, content_similarity

MISALIGNMENT_MM = 8.0  # standard deviation along each axis, as an initial alignment leaves it
LEAST_CONTENT_SIMILARITY = 0.3  # share of their structures that both scans of a pair should show
MOST_TRIES = 3  # moving scans that are drawn for that; then the most similar one is taken


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
        fixed_source, moving_source = self.draw_source(rng), self.draw_source(rng)
        common = annotation_mask(fixed_source.annotated & moving_source.annotated)
        fixed = self._draw_scan(fixed_source, rng, common)
        tries: list[tuple[float, LabelledScan]] = []
        while len(tries) < MOST_TRIES and all(similarity < LEAST_CONTENT_SIMILARITY for similarity, _ in tries):
            moving = self._draw_scan(moving_source, rng, common)
            tries.append((content_similarity(fixed, moving), moving))
        moving = max(tries, key=lambda one: one[0])[1]
        shift = to_tensor(centre_offset(fixed, moving) + rng.normal(0, MISALIGNMENT_MM, 3))
        values = torch.stack([fixed.scan.values, moving.scan.values])
        return values, torch.stack([fixed.structures, moving.structures]), common, shift

    def _draw_scan(self, source: SampleSource, rng: np.random.Generator, common: Tensor) -> LabelledScan:
        sample = source.draw(self._view, int(rng.integers(LARGEST_SEED)))
        return LabelledScan.from_sample(sample.values, sample.structures).keep_structures(common)
