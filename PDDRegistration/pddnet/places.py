"""Where the scans lie on each other, from what networks say of their places.

The shift that lays structures upon their fellows; from descriptors, the affine map that most places agree on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from .affine_fit import fit_affine
from .lattice import mesh
from .scan import Affine, Scan
from .tensors import to_array
from .work import ALONE, Work

if TYPE_CHECKING:
    from torch import Tensor

SPACING = 16.0  # mm between the places that are compared
MOST = 3000  # of the fixed scan
SHARPNESS = 10.0  # on squared differences of descriptors at most 1 long, in training, too
CELL, WIDTH = 10.0, 2.0  # mm, of the votes for a translation; cells, how far a vote reaches
NEAR = 45.0  # mm around the translation with most votes: displacements beyond take no part
FEWEST = 50  # places of either scan
TRIES = 6  # fits, each from the map before
SURE = 0.5  # of a structure's code, from which on a voxel is taken for it
SEEN = 40  # voxels of a structure in either scan, for its middle to count
COMMON = 3  # structures that both must show, at least
AGREED = 10.0  # mm: structures whose shifts differ by less from the common one count alike
ROUNDS = 20


def shift_of_structures(fixed: Scan, moving: Scan, channels: slice, strength: float) -> np.ndarray | None:
    """(3,) LPS mm, fixed to moving: the shift that lays most structures' middles upon each other; None with too few.

    It finds the place where the correlation of tissues does not, because posture or contrast differ too much. A
    structure that a view cuts has its middle elsewhere: it counts by the inverse of how far it is off the others.

    Args:
        fixed, moving: as `features.semantic.named` gives them. channels: of their codes, those in which a structure is
            `strength` or -`strength`.
    """
    (ours, here), (theirs, there) = (_middles(scan, channels, strength) for scan in (fixed, moving))
    smaller = np.minimum(ours, theirs)
    common = smaller >= SEEN
    if common.sum() < COMMON:
        return None
    shifts, weight = (there - here)[common], np.sqrt(smaller[common])
    found = np.median(shifts, 0)
    for _ in range(ROUNDS):
        w = weight / np.maximum(np.linalg.norm(shifts - found, axis=1), AGREED)
        found = w @ shifts / w.sum()
    return found


def _middles(scan: Scan, channels: slice, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """How many voxels either sign of every channel has (2 * channels), and their middles (2 * channels, 3), LPS mm."""
    codes, grid = to_array(scan.codes[channels]) / strength, scan.codes_grid
    counts, middles = [], []
    for sign in (1, -1):
        for code in sign * codes:
            index = np.argwhere(code > SURE)
            counts.append(len(index))
            middles.append(grid.index_to_point(index.mean(0)[::-1]) if len(index) else np.zeros(3))
    return np.array(counts), np.array(middles)


def align_by_places(fixed: Scan, moving: Scan, length: float, work: Work = ALONE) -> Affine | None:
    """The affine map (fixed to moving, LPS mm) that most places agree on; None where there are too few.

    Args:
        fixed, moving: as `features.semantic.named` gives them, with descriptors times `length`.
    """
    (ours, mine), (theirs, other) = (_places(scan, length) for scan in (fixed, moving))
    step = -(-len(ours) // MOST)
    ours, mine = ours[::step], mine[::step]
    if min(len(ours), len(theirs)) < FEWEST:
        return None
    work.tick()
    found, sure = fellows(mine, other)
    work.tick()
    moved = theirs[found]
    shift = _most_common(moved - ours, sure)
    affine = Affine(np.eye(3), shift)
    for _ in range(TRIES):
        reached = affine.points(ours)
        weight = sure * (np.linalg.norm(reached - moved, axis=1) < NEAR)
        affine = fit_affine(reached, moved, weight) @ affine
    return affine


def fellows(mine: Tensor, theirs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """For descriptors mine (N, E) the most alike of theirs (M, E), and how sure that is: p (N,) there and back."""
    cost = (mine.square().sum(1)[:, None] + theirs.square().sum(1) - 2 * mine @ theirs.T) * -SHARPNESS
    there, back = cost.softmax(1), cost.softmax(0)
    best, found = (there * back).max(1)
    return to_array(found).astype(int), to_array(best.sqrt()).astype(np.float64)


def _places(scan: Scan, length: float) -> tuple[np.ndarray, Tensor]:
    """LPS points (N, 3) within the body and the view, and their descriptors (N, DESCRIPTOR)."""
    from .features.semantic import DESCRIPTOR

    lattice = scan.box.isotropic(SPACING)
    values = scan.values_at(mesh(lattice, scan.values.device), lattice, Affine.identity())
    inside = ((values[1] * values[2]) > 0.5).flatten().nonzero()[:, 0]
    found = scan.codes_at(lattice, Affine.identity())[-DESCRIPTOR:].flatten(1).index_select(1, inside).T / length
    return lattice.points().reshape(-1, 3)[to_array(inside).astype(int)], found


def _most_common(displacements: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(3,) where displacements (N, 3) lie densest, by votes on a lattice of CELL mm."""
    low = displacements.min(0)
    cells = np.rint((displacements - low) / CELL).astype(int)
    votes = np.zeros(cells.max(0) + 1)
    np.add.at(votes, tuple(cells.T), weight)
    smooth = ndimage.gaussian_filter(votes, WIDTH, mode="constant")
    return low + CELL * np.array(np.unravel_index(smooth.argmax(), votes.shape))
