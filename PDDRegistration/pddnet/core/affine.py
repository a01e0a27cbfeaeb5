"""`Affine`: an affine map of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Affine:
    """x -> matrix @ x + shift, fixed to moving points, LPS mm."""

    matrix: np.ndarray  # (3, 3)
    shift: np.ndarray  # (3,)

    @classmethod
    def identity(cls) -> Affine:
        """The map that moves nothing."""
        return cls(np.eye(3), np.zeros(3))

    def __matmul__(self, inner: Affine) -> Affine:
        return Affine(self.matrix @ inner.matrix, self.matrix @ inner.shift + self.shift)

    def points(self, points: np.ndarray) -> np.ndarray:
        """LPS points (..., 3) mapped."""
        return np.einsum("...j,ij->...i", points, self.matrix) + self.shift
