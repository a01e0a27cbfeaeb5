"""Weigh atlases at each voxel by how much their features look like the target's there: local weighted voting.

After Artaechevarria, Munoz-Barrutia, Ortiz-de-Solorzano 2009, doi:10.1109/TMI.2009.2014372, section II: the weight is
a power of the difference within a neighbourhood.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

POWER = 4.0  # on squared differences
LEAST = 1e-4  # squared differences below it are noise


def local_mean(differences: np.ndarray, sigma: tuple[float, float, float]) -> np.ndarray:
    """Average differences (D, H, W) over a Gaussian window; sigma: its standard deviation in voxels along D, H, W."""
    smoothed: np.ndarray = ndimage.gaussian_filter(differences, sigma, truncate=2.0)
    return smoothed


def similarity_weights(differences: np.ndarray, power: float = POWER, least: float = LEAST) -> np.ndarray:
    """Weigh atlases by 1 / difference^power: (N, ...), 0..1, the best atlas has 1.

    differences: (N, ...), squared, 0 or more. least: smaller ones count as equal.
    """
    bounded = np.maximum(differences, least)
    weights: np.ndarray = (bounded.min(0) / bounded) ** power
    return weights
