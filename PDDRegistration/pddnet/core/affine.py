"""Map points by a matrix and a shift: `Affine`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Affine:
    """Affine map of points: x -> matrix @ x + shift, fixed to moving, LPS mm; `a @ b` applies b first."""

    matrix: np.ndarray  # (3, 3)
    shift: np.ndarray  # (3,)

    @classmethod
    def identity(cls) -> Affine:
        """Make the identity map."""
        return cls(np.eye(3), np.zeros(3))

    def __matmul__(self, inner: Affine) -> Affine:
        return Affine(self.matrix @ inner.matrix, self.matrix @ inner.shift + self.shift)

    @property
    def inverse(self) -> Affine:
        """Return the map of moving to fixed points."""
        back = np.linalg.inv(self.matrix)
        return Affine(back, -back @ self.shift)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 3) in LPS mm."""
        return np.einsum("...j,ij->...i", points, self.matrix) + self.shift
