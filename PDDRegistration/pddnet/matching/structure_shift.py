"""Find the shift between the structures of two scans: an extra start of the affine search."""

from __future__ import annotations

import numpy as np
import torch

from ..tensor.convert import to_array
from ..tensor.scan import Scan

CERTAIN = 0.5  # a voxel belongs to a structure if its feature exceeds this share of the structure's embedding
LEAST_VOXELS = 40  # of a structure in either scan, for its centroid to count
LEAST_STRUCTURES = 3  # structures that both scans must show
SHIFT_TOLERANCE_MM = 10.0  # structures whose shifts differ by less from the common one have equal weight
ROUNDS = 20  # of Weiszfeld's iteration


def shift_of_structures(fixed: Scan, moving: Scan, channels: slice, strength: float) -> np.ndarray | None:
    """Return the robust mean of the shifts between structures' centroids, (3,) LPS mm, fixed to moving.

    None with fewer than LEAST_STRUCTURES. This shift is right even where the correlation of tissues fails, because
    posture or contrast differ too much. A structure cut by the border of a view has a wrong centroid: each structure is
    weighted by the inverse of its distance from the mean (the geometric median, by Weiszfeld's iteration).

    Args:
        fixed, moving: with the features of `features.semantic_codes.with_semantic_codes`.
        channels: the features in which a structure has the value `strength` or -`strength`.
    """
    fixed_voxels, fixed_centroids = _centroids(fixed, channels, strength)
    moving_voxels, moving_centroids = _centroids(moving, channels, strength)
    voxels = np.minimum(fixed_voxels, moving_voxels)
    common = voxels >= LEAST_VOXELS
    if common.sum() < LEAST_STRUCTURES:
        return None
    shifts, weight = (moving_centroids - fixed_centroids)[common], np.sqrt(voxels[common])
    found = np.median(shifts, 0)
    for _ in range(ROUNDS):
        w = weight / np.maximum(np.linalg.norm(shifts - found, axis=1), SHIFT_TOLERANCE_MM)
        found = w @ shifts / w.sum()
    return found


def _centroids(scan: Scan, channels: slice, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Count the voxels of each sign and channel (2 * channels,), and find their centroids (2 * channels, 3), LPS mm."""
    features = scan.features[channels]
    structures = torch.cat([features > CERTAIN * strength, features < -CERTAIN * strength]).float()
    per_slice = [to_array(structures.sum(others)) for others in ((1, 2), (1, 3), (2, 3))]  # along W, H, D
    voxels = per_slice[0].sum(1)
    sums = np.stack([counts @ np.arange(counts.shape[1]) for counts in per_slice], -1)
    return voxels, scan.features_grid.index_to_point(sums / np.maximum(voxels, 1)[:, None])
