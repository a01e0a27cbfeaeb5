"""Where the scans lie on each other, from descriptors: every place's fellow, and the affine map that most agree on."""

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
