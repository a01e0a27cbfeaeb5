"""Penalise differences of neighbouring control points, and solve for the field that balances them with other forces."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LEAST_DIAGONAL = 1e-6  # where neither data nor neighbours hold a control point

# A symmetric 3 x 3 matrix per control point is stored as its entries dd, dh, dw, hh, hw, ww: (6, nD, nH, nW).
SYMMETRIC = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


class Diffusion:
    """Penalty on the strain between neighbours, weaker where they move apart: tissues may slide along each other.

    The energy of an edge between neighbours is quadratic in its strain (difference / spacing) while that is small, and
    grows linearly from `yield_strain` on (Charbonnier et al. 1997, doi:10.1109/83.551699). Its gradient is taken at
    fixed edge weights, which a caller renews between the steps (iteratively reweighted least squares).
    """

    def __init__(self, u: Tensor, spacing_mm: float, smoothness: float, yield_strain: float) -> None:
        """Weight the edges of a field u (3, nD, nH, nW) in mm on a lattice of equal spacing."""
        self._factors = []
        for dim in (1, 2, 3):
            strain = u.diff(dim=dim).square_().sum(0).div_((spacing_mm * yield_strain) ** 2)
            self._factors.append(strain.add_(1).rsqrt_().mul_(smoothness / spacing_mm**2))

    def gradient(self, u: Tensor) -> Tensor:
        """Differentiate half the energy by u, at the fixed edge weights: (3, nD, nH, nW)."""
        slope = torch.zeros_like(u)
        for dim, factor in zip((1, 2, 3), self._factors, strict=True):
            n, step = u.shape[dim] - 1, u.diff(dim=dim).mul_(factor)
            slope.narrow(dim, 0, n).sub_(step)
            slope.narrow(dim, 1, n).add_(step)
        return slope

    def diagonal(self, like: Tensor) -> Tensor:
        """Return the diagonal of `gradient` as a matrix: (nD, nH, nW)."""
        sums = torch.zeros_like(like)
        for dim, factor in enumerate(self._factors):
            n = sums.shape[dim] - 1
            sums.narrow(dim, 0, n).add_(factor)
            sums.narrow(dim, 1, n).add_(factor)
        return sums

    def solve(self, stiffness: Tensor, force: Tensor, iterations: int) -> Tensor:
        """Solve stiffness @ x + gradient(x) = force by preconditioned conjugate gradients: x (3, nD, nH, nW).

        Args:
            stiffness: (6, nD, nH, nW), a symmetric positive matrix per control point, in the order of SYMMETRIC.
            force: (3, nD, nH, nW).
            iterations: each carries information to the next neighbours.
        """
        diagonal = (stiffness[[0, 3, 5]] + self.diagonal(stiffness[0])).add_(LEAST_DIAGONAL)
        x, residual = torch.zeros_like(force), force.clone()
        direction = residual / diagonal
        product = (residual * direction).sum()
        for _ in range(iterations):
            image = _times(stiffness, direction) + self.gradient(direction)
            step = product / (direction * image).sum().clamp(min=1e-30)
            x += step * direction
            residual -= step * image
            scaled = residual / diagonal
            previous, product = product, (residual * scaled).sum()
            direction = scaled + product / previous.clamp(min=1e-30) * direction
        return x


def _times(matrices: Tensor, x: Tensor) -> Tensor:
    """Multiply symmetric matrices (6, ...) by vectors (3, ...)."""
    rows: Sequence[tuple[int, int, int]] = ((0, 1, 2), (1, 3, 4), (2, 4, 5))
    return torch.stack([sum((matrices[k] * x[j] for j, k in enumerate(row)), torch.zeros_like(x[0])) for row in rows])
