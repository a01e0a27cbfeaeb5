"""Estimate how far off a result may be at every voxel, in mm: a small network that learned from known errors.

It takes the features of `error_features.py` and their means over the body, and returns the logarithm of the error; a
factor, found on pairs that it did not learn from, makes that the value below which QUANTILE of the errors lie
(conformal prediction: Vovk et al. 2005, doi:10.1007/b106715; as split into two parts by Papadopoulos et al. 2002,
doi:10.1007/3-540-36755-1_29). `training.error_map`, in Testing, fits it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..io.weights_file import ERROR, FOLDER, read_weights
from ..tensor.convert import to_tensor
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import HALF
from ..tensor.pools import dilated
from ..tensor.scan import Scan
from .error_features import NAMES, error_features
from .feature_types import ScanPair
from .stage import StageResult

BUNDLED_WEIGHTS = FOLDER / "expected_error.npz"
QUANTILE = 0.8  # share of the errors that lie below the expected error
OFFSET_MM = 0.1  # the network's output is log(error + OFFSET_MM): shorter errors count as equal
MOST_MM = 150.0
MOST_DEVIATIONS = 3.0  # features farther from their mean, in standard deviations, count as that far


@dataclass(frozen=True)
class ErrorModel:
    """Multilayer perceptron with its standardisation; features F = len(NAMES), whose order is that of NAMES.

    Attributes:
        means, scales: (2 F,) of the features, then of their means over the body.
        layers: weights (out, in) and biases (out,); the last has one output. Their nonlinearity is SiLU.
        factor: on the predicted error, so that it is the QUANTILE.
    """

    means: np.ndarray
    scales: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    factor: float

    def __call__(self, features: Tensor, context: Tensor) -> Tensor:
        """Return the expected error (N,) in mm of features (F, N) whose means over the body are `context` (F,)."""
        count = len(NAMES)
        local, whole = (
            self._standardised(features, slice(count)),
            self._standardised(context[:, None], slice(count, None)),
        )
        (weight, bias), *rest = ((to_tensor(w, features.device), to_tensor(b, features.device)) for w, b in self.layers)
        x = weight[:, :count] @ local + (weight[:, count:] @ whole + bias[:, None])  # `whole` is the same everywhere
        for weight, bias in rest:
            x = weight @ torch.nn.functional.silu(x) + bias[:, None]
        return (self.factor * (x[0].exp() - OFFSET_MM)).clamp(0.0, MOST_MM)

    def _standardised(self, x: Tensor, part: slice) -> Tensor:
        """Centre and scale x (F, N); a feature that was not measured counts as typical."""
        means, scales = (to_tensor(each[part], x.device)[:, None] for each in (self.means, self.scales))
        return ((x - means) / scales).nan_to_num(0.0).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)


@lru_cache(maxsize=2)
def load(path: Path = BUNDLED_WEIGHTS) -> ErrorModel:
    """Read a model.

    Raises:
        InputError: the file is missing or damaged, or holds something else.
    """
    arrays, metadata = read_weights(path, ERROR)
    layers = tuple((arrays[f"weight_{n}"], arrays[f"bias_{n}"]) for n in range(metadata["layers"]))
    return ErrorModel(arrays["means"], arrays["scales"], layers, float(metadata["factor"]))


@dataclass(frozen=True)
class ExpectedError:
    """Expected error (D, H, W) in mm on the field's lattice, 0 outside the fixed body; and its median, in mm."""

    values: Tensor
    median_mm: float | None  # over the fixed body that both scans show; None where they show nothing in common


def expected_error(
    fixed: Scan, scans: ScanPair, affine: Affine, field: Tensor, steps: Sequence[StageResult], work: Work = ALONE
) -> ExpectedError:
    """Estimate the error of x -> affine(x + u(x)); see `error_features`."""
    moving = scans[1].warped(fixed.grid, affine, field)
    features = error_features(fixed, moving, scans, affine, field, steps, work)
    found = predicted(load(), features, fixed, moving)
    work.tick()
    return found


def predicted(model: ErrorModel, features: Tensor, fixed: Scan, moving: Scan) -> ExpectedError:
    """Apply a model to features (F, D, H, W) of two scans on one lattice, the moving one warped."""
    near = dilated(fixed.body * (fixed.view > HALF)) > HALF
    both = in_both(fixed, moving)
    values = fixed.body.new_zeros(fixed.grid.shape)
    if bool(both.any()):
        values[near] = model(features[:, near], features[:, both].nanmean(1))
    elif bool(near.any()):
        values[near] = MOST_MM
    return ExpectedError(values, float(values[both].median()) if bool(both.any()) else None)


def in_both(fixed: Scan, moving: Scan) -> Tensor:
    """Mark the fixed body that both scans show, (D, H, W) bool; the moving scan warped to the lattice of `fixed`."""
    return (fixed.body > HALF) & (fixed.view > HALF) & (moving.view > HALF)
