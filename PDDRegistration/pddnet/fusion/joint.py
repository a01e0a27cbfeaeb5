"""Joint label fusion: weigh atlases so that those that err alike share one vote.

Wang, Suh, Das, Pluta, Craige, Yushkevich 2013, doi:10.1109/TPAMI.2012.143. The expected products of the atlases' label
errors are estimated by the products of their intensity errors within a patch (section 3.2, equation 15), and the
weights minimise the expected error of the vote (section 3.1, equation 8).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

BETA = 2.0  # power of the products, as in the paper
ALPHA = 0.05  # of the mean of the diagonal, added to it; the paper adds 0.1 where patches have the norm 1
_TRUNCATE = 2.0  # standard deviations after which a patch ends
_AT_ONCE = 1 << 16  # systems that are solved at a time


def reach(sigma: float) -> int:
    """Return how many voxels a patch with this standard deviation (voxels) reaches to either side."""
    return int(_TRUNCATE * sigma + 0.5)


def dependencies(errors: np.ndarray, picked: np.ndarray, sigma: tuple[float, float, float]) -> np.ndarray:
    """Estimate at the picked voxels how likely each two atlases err together: (M, N, N) float32.

    Args:
        errors: (N, D, H, W), differences of the atlases' intensities to the target's; their sign does not count.
        picked: (D, H, W) bool, with M voxels.
        sigma: standard deviation of the Gaussian patch, in voxels along D, H, W.
    """
    count = len(errors)
    size = np.abs(errors)
    found = np.empty((np.count_nonzero(picked), count, count), np.float32)
    for i in range(count):
        for j in range(i, count):
            product = ndimage.gaussian_filter(size[i] * size[j], sigma, truncate=_TRUNCATE)[picked]
            found[:, i, j] = found[:, j, i] = product
    return found


def joint_weights(
    dependency: np.ndarray, *, noise: float = 0.0, alpha: float = ALPHA, beta: float = BETA
) -> np.ndarray:
    """Solve for the weights that make the expected error of the vote smallest: (N, M) float32, 0..1, their sum is 1.

    Negative weights become 0, so that the votes are shares.

    Args:
        dependency: (M, N, N), see `dependencies`.
        noise: mean square of errors that are none, in the same unit: they count for no atlas and against none.
        alpha: how much is added to the diagonal, as a share of its mean: more makes the weights more alike.
        beta: power of the products.
    """
    systems, count, _ = dependency.shape
    weights = np.empty((count, systems), np.float32)
    for start in range(0, systems, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        weights[:, part] = _solved(dependency[part].astype(np.float64) ** beta, noise**beta, alpha).T
    return weights


def _solved(matrix: np.ndarray, noise: float, alpha: float) -> np.ndarray:
    count = matrix.shape[-1]
    mean = np.trace(matrix, axis1=-2, axis2=-1)[:, None, None] / count
    regular = matrix / (mean + noise + 1e-12) + (alpha + noise / (mean + noise + 1e-12)) * np.eye(count)
    weights = np.linalg.solve(regular, np.ones((len(matrix), count, 1)))[..., 0].clip(min=0)
    solved: np.ndarray = weights / weights.sum(-1, keepdims=True)
    return solved
