"""Draw single scans and couples of scans by number, synthesised or augmented, in worker processes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ..features.label_table import STRUCTURES
from ..synthesis.patient import Sample
from .segmentation_loss import FOREIGN

VIEW_SIZES = ((32, 40, 48, 64, 80), (40, 56, 64, 72), (48, 72, 80, 96))  # voxels along D, H, W: boxes to the trunk
MOST_VOXELS = 330_000  # of a view, which bounds the memory of a step
LARGEST_SEED = 2**62


class SampleSource(Protocol):
    """Sampler of scans with their labels, from a label map (`PatientSource`) or from a real scan (`ScanSource`)."""

    annotated: frozenset[int]
    """The structures (numbers of the common table) that its labels tell apart."""

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        """Draw the scan of this seed, of `shape` (D, H, W)."""
        ...


class ScanDataset(IterableDataset[tuple[Tensor, ...]]):
    """Endless batches (values, structures, annotated) from number `first` on: number n is always the same.

    values (3, D, H, W) as `Scan.values`, structures (D, H, W) int64, annotated (structures,) bool.
    """

    def __init__(self, sources: list[SampleSource], shares: list[float], seed: int, first: int) -> None:
        self._sources = sources
        self._shares = np.array(shares) / np.sum(shares)
        self._seed = seed
        self._first = first

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Draw, in one of n worker processes, every n-th item; the loader restores the order."""
        worker = get_worker_info()
        skipped, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in itertools.count(self._first + skipped, step):
            yield self.draw_item(np.random.default_rng([self._seed, number]))

    def draw_item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Draw one item."""
        source = self.draw_source(rng)
        sample = source.draw(draw_view_size(rng), int(rng.integers(LARGEST_SEED)))
        return sample.values, sample.structures, annotation_mask(source.annotated)

    def draw_source(self, rng: np.random.Generator) -> SampleSource:
        """Draw a source, with the shares as probabilities."""
        return self._sources[rng.choice(len(self._sources), p=self._shares)]


class TwoScanDataset(ScanDataset):
    """Endless batches of two independent scans of one shape; registration pairs are in `pair_datasets.py`.

    values (2, 3, D, H, W), structures (2, D, H, W) and annotated (2, structures), as of `ScanDataset`; painted
    pathology that is none of the structures has the number `segmentation_loss.FOREIGN`.
    """

    def draw_item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Draw one couple of scans."""
        shape = draw_view_size(rng)
        sources = [self.draw_source(rng) for _ in range(2)]
        samples = [source.draw(shape, int(rng.integers(LARGEST_SEED))) for source in sources]
        return (
            torch.stack([sample.values for sample in samples]),
            torch.stack([with_foreign(sample) for sample in samples]),
            torch.stack([annotation_mask(source.annotated) for source in sources]),
        )


def with_foreign(sample: Sample) -> Tensor:
    """Return the structures (D, H, W) of a sample, FOREIGN where there is pathology that is none of them."""
    if sample.foreign is None:
        return sample.structures
    return torch.where(sample.foreign, FOREIGN, sample.structures)


def annotation_mask(annotated: frozenset[int]) -> Tensor:
    """Return a mask (structures,) bool: true for the distinguished structures, including the background."""
    mask = torch.zeros(len(STRUCTURES), dtype=torch.bool)
    mask[[0, *annotated]] = True
    return mask


def draw_view_size(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw the number of voxels of a view along D, H, W, at most MOST_VOXELS in all."""
    while True:
        depth, height, width = (int(rng.choice(sizes)) for sizes in VIEW_SIZES)
        if depth * height * width <= MOST_VOXELS:
            return depth, height, width
