"""Fuse warped atlases slab by slab, so that the memory is bounded whatever the number of atlases (`fuse`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .joint import dependencies, joint_weights, reach
from .similarity import similarity_weights
from .staple import staple
from .vote import disagreement, vote

METHODS = ("joint", "similarity", "majority", "staple")
SLAB_VALUES = 1 << 25  # float32 numbers that a slab may take
NOISE_HU = 15.0  # of both scans: smaller errors are none
_UNSEEN = 1e3  # error of an atlas where it shows nothing: as large as none within soft tissue


@dataclass(frozen=True)
class Warped:
    """One atlas on the grid of the target; the arrays may lie in files.

    Attributes:
        labels: (D, H, W) unsigned integers.
        values: (D, H, W) floating; intensities, NaN where the atlas shows nothing.
        difference: (D, H, W) floating; local squared difference of features to the target's, 0..1.
    """

    labels: np.ndarray
    values: np.ndarray
    difference: np.ndarray


@dataclass(frozen=True)
class Fused:
    """Result (D, H, W): labels; share of the votes that they have; share of the atlases that name something else."""

    labels: np.ndarray
    probability: np.ndarray
    disagreement: np.ndarray


def fuse(
    target: np.ndarray, atlases: Sequence[Warped], method: str, sigma: tuple[float, float, float],
    *, slab_values: int = SLAB_VALUES,
) -> Fused:  # fmt: skip
    """Fuse the labels of atlases.

    Args:
        target: (D, H, W) intensities, in the unit of the atlases'.
        atlases: at least one; where votes are even, the label of the first one is taken.
        method: one of METHODS.
        sigma: standard deviation of the patches that `joint` compares, in voxels along D, H, W.

    Raises:
        ValueError: there is no such method, or no atlas.
    """
    if method not in METHODS or not atlases:
        raise ValueError(f"cannot fuse {len(atlases)} atlases by '{method}'")
    shape = target.shape
    kind = atlases[0].labels.dtype
    found = Fused(np.zeros(shape, kind), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    whole = staple(np.stack([atlas.labels for atlas in atlases])) if method == "staple" else None
    for core, wide in _slabs(shape, len(atlases), reach(sigma[0]), slab_values):
        labels = np.stack([atlas.labels[core] for atlas in atlases])
        seen = np.stack([np.isfinite(atlas.values[core]) for atlas in atlases])
        if whole is not None:
            fused = whole[core]
            shares = 1 - disagreement(labels, seen, fused)
            shares[~seen.any(0)] = 0
        else:
            fused, shares = vote(labels, seen * _weights(target, atlases, method, sigma, core, wide, labels))
        found.labels[core], found.probability[core] = fused, shares
        found.disagreement[core] = disagreement(labels, seen, fused)
    return found


def _weights(
    target: np.ndarray, atlases: Sequence[Warped], method: str, sigma: tuple[float, float, float],
    core: slice, wide: slice, labels: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the weights of the atlases in a slab, (N, D, H, W) float32."""
    if method == "similarity":
        return similarity_weights(np.stack([atlas.difference[core].astype(np.float32) for atlas in atlases]))
    weights = np.ones(labels.shape, np.float32)
    open_to_vote = (labels != labels[0]).any(0)
    if method == "joint" and open_to_vote.any():
        inner = slice(core.start - wide.start, core.stop - wide.start)
        picked = np.zeros((wide.stop - wide.start, *open_to_vote.shape[1:]), bool)
        picked[inner] = open_to_vote
        aim = target[wide].astype(np.float32)
        errors = np.stack([atlas.values[wide].astype(np.float32) - aim for atlas in atlases])
        errors[~np.isfinite(errors)] = _UNSEEN
        weights[:, open_to_vote] = joint_weights(dependencies(errors, picked, sigma), noise=NOISE_HU**2)
    return weights


def _slabs(shape: tuple[int, ...], count: int, margin: int, values: int) -> Iterator[tuple[slice, slice]]:
    """Cut the first axis into slabs: (slab, slab with the margin that patches reach into)."""
    per_slice = shape[1] * shape[2] * (count * (count + 4) + 4)  # a matrix a voxel, and the arrays of the votes
    step = max(values // per_slice, 1)
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        yield slice(start, stop), slice(max(start - margin, 0), min(stop + margin, shape[0]))
