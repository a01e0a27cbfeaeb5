"""Where the scans lie on each other, from what the network says of them."""

from __future__ import annotations

import numpy as np
import torch

from ..tensor.convert import to_array
from ..tensor.scan import Scan

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

    codes = scan.codes[channels]
    shown = torch.cat([codes > SURE * strength, codes < -SURE * strength]).float()
    along = [to_array(shown.sum(others)) for others in ((1, 2), (1, 3), (2, 3))]  # voxels of each slice along W, H, D
    counts = along[0].sum(1)
    index = np.stack([part @ np.arange(part.shape[1]) for part in along], -1) / np.maximum(counts, 1)[:, None]
    return counts, scan.codes_grid.index_to_point(index)
