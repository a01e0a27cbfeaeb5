"""Pairs of scans in which it is known what lies where in the other: what descriptors of places are learned from."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from .structures import LEVELS, NUMBER
from .synthesis import SPACING, Sample
from .tensors import to_array
from .training_data import Drawn, among, drawn_shape
from .variation import PAIRED

SAME_SOURCE = 0.6  # share of pairs that show one anatomy twice, whose places correspond exactly
PLACES, ENOUGH = 512, 100  # matches of a pair at most; from which on they are enough
TRIES = 3  # second scans that are drawn at most until there are
NEAREST = 4.0  # mm within which two voxels show the same place of one anatomy
APART = (10.0, 20.0)  # mm from a match on which another place is a wrong one: of one anatomy, of two
FARTHEST = 44.0  # mm from a match to the wrong places that it is told from, as far as a displacement search reaches
WRONG = 64
FEWEST = 60  # voxels of a structure in either scan, for its places to be found by where they lie within it

# Structures of one shape in all people: a place within one has a fellow in another's
ALIKE = frozenset(
    NUMBER[name]
    for name in (
        "liver", "spleen", "kidney", "pancreas", "stomach", "gallbladder", "bladder", "heart", "lung", "adrenal_gland",
        "sternum", "sacrum", "hip", "femur", *(f"vertebra_{level}" for level in LEVELS),
    )
)  # fmt: skip


class DrawnMatches(Drawn):
    """Endless (values, structures, annotated, matches, apart, wrong): two scans, of one source or of two.

    values (2, 3, D, H, W), structures (2, D, H, W) and annotated (2, structures) as `Drawn` has them of one scan;
    matches (2, N, 3) int64, voxels (along D, H, W) of both that show the same place, N may be 0; apart () mm, within
    which of a match another place may be the right one, too; wrong (WRONG, 3) int64, voxels from matches to others.
    """

    def item(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """One pair."""
        one = self.chosen(rng)
        other = one if rng.random() < SAME_SOURCE else self.chosen(rng)
        apart, places = (APART[0], same_places) if one is other else (APART[1], like_places)
        shape = drawn_shape(rng)
        here = one.draw(shape, int(rng.integers(2**62)))
        for _ in range(TRIES):
            there = other.draw(shape, int(rng.integers(2**62)))
            matches = places(here, there, rng)
            if matches.shape[1] >= ENOUGH:
                break
        return (
            torch.stack([here.values, there.values]),
            torch.stack([here.structures, there.structures]),
            torch.stack([among(one.annotated), among(other.annotated)]),
            torch.from_numpy(matches),
            torch.tensor(apart),
            torch.from_numpy(_aside(apart, rng)),
        )


def same_places(here: Sample, there: Sample, rng: np.random.Generator) -> np.ndarray:
    """(2, N, 3) voxels of two scans of one anatomy that show the same point of it; half of them in structures."""
    inside = [np.argwhere(to_array(side.values[1]) > 0.5) for side in (here, there)]
    named = inside[0][to_array(here.structures)[tuple(inside[0].T)] > 0]
    picked = np.concatenate([_some(inside[0], PLACES, rng), _some(named, PLACES, rng)])
    if not len(picked) or not len(inside[1]):
        return np.zeros((2, 0, 3), np.int64)
    ours, theirs = (to_array(side.points) for side in (here, there))
    distance, nearest = cKDTree(_of(theirs, inside[1])).query(_of(ours, picked), distance_upper_bound=NEAREST)
    found = np.isfinite(distance)
    mine, fellow = picked[found], inside[1][nearest[found]]
    if here.codes is not None and there.codes is not None:  # an organ that is missing, or another's, has no fellow
        shown = [to_array(side.codes)[tuple(at.T)] for side, at in ((here, mine), (there, fellow))]
        mine, fellow = mine[shown[0] == shown[1]], fellow[shown[0] == shown[1]]
    return _some(np.stack([mine, fellow], 1), PLACES, rng).swapaxes(0, 1).astype(np.int64)


def like_places(here: Sample, there: Sample, rng: np.random.Generator) -> np.ndarray:
    """(2, N, 3) voxels of scans of two anatomies at like places of structures that both show whole.

    A place within a structure is told by how many standard deviations it lies from its middle, along every axis.
    """
    ours, theirs = (_whole(side) for side in (here, there))
    found = []
    for key in sorted(ours.keys() & theirs.keys()):
        mine = _some(ours[key], PLACES, rng)
        relative = (mine - ours[key].mean(0)) / ours[key].std(0).clip(min=0.3)
        middle, size = theirs[key].mean(0), theirs[key].std(0).clip(min=0.3)
        nearest = cKDTree(theirs[key]).query(middle + relative * size)[1]
        found.append(np.stack([mine, theirs[key][nearest]], 1))
    if not found:
        return np.zeros((2, 0, 3), np.int64)
    share = -(-PLACES // len(found))
    matches = np.concatenate([_some(some, share, rng) for some in found])
    return _some(matches, PLACES, rng).swapaxes(0, 1).astype(np.int64)


def _whole(side: Sample) -> dict[tuple[int, int], np.ndarray]:
    """The voxels (N, 3) of every structure in ALIKE that no end of the view cuts, by structure and side."""
    structures, view = to_array(side.structures), to_array(side.values[2]) > 0.5
    slices = np.flatnonzero(view.any((1, 2)))
    body = np.argwhere(to_array(side.values[1]) > 0.5)
    if not len(slices) or not len(body):
        return {}
    middle = np.median(body[:, 2])
    found = {}
    for number in np.intersect1d(np.unique(structures), list(ALIKE)).tolist():
        voxels = np.argwhere(structures == number)
        left = (voxels[:, 2] > middle).astype(int) if number in PAIRED else np.zeros(len(voxels), int)
        for half in np.unique(left).tolist():
            part = voxels[left == half]
            if len(part) >= FEWEST and part[:, 0].min() > slices[0] and part[:, 0].max() < slices[-1]:
                found[number, half] = part
    return found


def _of(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(N, 3) mm of points (3, D, H, W) at voxels (N, 3)."""
    return points[:, at[:, 0], at[:, 1], at[:, 2]].T


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else rows[rng.choice(len(rows), most, replace=False)]


def _aside(apart: float, rng: np.random.Generator) -> np.ndarray:
    """(WRONG, 3) whole voxels in all directions, `apart` to FARTHEST mm long."""
    way = rng.normal(size=(WRONG, 3))
    way *= rng.uniform(apart + SPACING, FARTHEST, (WRONG, 1)) / np.linalg.norm(way, axis=1, keepdims=True)
    return np.rint(way / SPACING).astype(np.int64)
