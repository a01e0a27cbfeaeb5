"""What a network is trained on: scans drawn by number, synthesised or deformed, in processes beside the training."""

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

SIZES = ((32, 40, 48, 64, 80), (56, 64, 72), (72, 80, 96))  # voxels along D, H, W: slabs of 130 mm to the trunk
MOST_VOXELS = 330_000


class SampleSource(Protocol):
    """Something that patients can be drawn from."""

    annotated: frozenset[int]

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        """The scan of this seed."""
        ...


class ScanDataset(IterableDataset):
    """Endless (values, structures, annotated) from number `first` on: number n is the same whenever it is drawn.

    values (3, D, H, W) as `Scan.values`, structures (D, H, W) int64, annotated (structures,) bool.
    """

    def __init__(self, sources: list[SampleSource], shares: list[float], seed: int, first: int) -> None:
        self._sources, self._shares = sources, np.array(shares) / np.sum(shares)
        self._seed, self._first = seed, first

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """In a process of several every so many-th, from which the loader, taking turns, makes the same row again."""
        among_all = get_worker_info()
        skipped, step = (among_all.id, among_all.num_workers) if among_all else (0, 1)
        for number in itertools.count(self._first + skipped, step):
            yield self.item(np.random.default_rng([self._seed, number]))

    def item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """One item."""
        source = self.chosen(rng)
        sample = source.draw(drawn_shape(rng), int(rng.integers(2**62)))
        return sample.values, sample.structures, among(source.annotated)

    def chosen(self, rng: np.random.Generator) -> SampleSource:
        """A source, by the shares."""
        return self._sources[rng.choice(len(self._sources), p=self._shares)]


class CoupleDataset(ScanDataset):
    """Endless (values, structures, annotated) as of `ScanDataset`, of two scans of one shape: (2, 3, D, H, W)..."""

    def item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """One couple."""
        shape = drawn_shape(rng)
        sources = [self.chosen(rng) for _ in range(2)]
        samples = [source.draw(shape, int(rng.integers(2**62))) for source in sources]
        return (
            torch.stack([sample.values for sample in samples]),
            torch.stack([sample.structures for sample in samples]),
            torch.stack([among(source.annotated) for source in sources]),
        )


def among(annotated: frozenset[int]) -> Tensor:
    """(structures,) bool: what is told apart, the background among it."""
    result = torch.zeros(len(STRUCTURES), dtype=torch.bool)
    result[[0, *annotated]] = True
    return result


def drawn_shape(rng: np.random.Generator) -> tuple[int, int, int]:
    """Voxels along D, H, W of a view."""
    while True:
        shape = tuple(int(rng.choice(sizes)) for sizes in SIZES)
        if np.prod(shape) <= MOST_VOXELS:
            return shape
