"""The penalty on strain: its gradient is its energy's, and its solver solves what a dense matrix solves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pddnet.tensor.diffusion import LEAST_DIAGONAL, SYMMETRIC, Diffusion

SHAPE = (3, 4, 5)
SPACING_MM, SMOOTHNESS, YIELD = 6.0, 0.3, 0.05
EDGES = [(axis, at) for axis in range(3) for at in np.ndindex(SHAPE) if at[axis] + 1 < SHAPE[axis]]


def _field(seed: int, size: float = 0.4) -> torch.Tensor:
    return (torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(seed)) * size).double()


def _next(axis: int, at: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(i + (n == axis) for n, i in enumerate(at))


def _energy(u: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """Half the weighted sum of squared strains, edge by edge."""
    total = u.new_zeros(())
    for (axis, at), weight in zip(EDGES, weights, strict=True):
        strain = (u[(slice(None), *_next(axis, at))] - u[(slice(None), *at)]) / SPACING_MM
        total = total + 0.5 * weight * strain.square().sum()
    return total


def _edge_weights(u: torch.Tensor) -> list[torch.Tensor]:
    """1 for a small strain; falls as the strain grows past YIELD."""
    strains = [((u[(slice(None), *_next(*edge))] - u[(slice(None), *edge[1])]) / SPACING_MM) for edge in EDGES]
    return [SMOOTHNESS / torch.sqrt(1 + strain.square().sum() / YIELD**2) for strain in strains]


def test_the_gradient_is_that_of_the_energy_at_the_edges_weights() -> None:
    start, u = _field(1), _field(2).requires_grad_(True)
    weights = _edge_weights(start)
    spread = torch.stack(weights)
    assert spread.max() > 2 * spread.min()  # the strain of some edges yields
    (expected,) = torch.autograd.grad(_energy(u, weights), u)
    found = Diffusion(start, SPACING_MM, SMOOTHNESS, YIELD).gradient(u.detach())
    assert torch.allclose(found, expected, atol=1e-10)
    assert expected.abs().max() > 1e-3


def test_at_the_field_itself_it_is_the_slope_of_the_charbonnier_penalty() -> None:
    """Which is quadratic for small strains and linear for large ones."""
    u = _field(3).requires_grad_(True)
    total = u.new_zeros(())
    for axis, at in EDGES:
        strain = (u[(slice(None), *_next(axis, at))] - u[(slice(None), *at)]) / SPACING_MM
        total = total + SMOOTHNESS * YIELD**2 * (torch.sqrt(1 + strain.square().sum() / YIELD**2) - 1)
    (expected,) = torch.autograd.grad(total, u)
    found = Diffusion(u.detach(), SPACING_MM, SMOOTHNESS, YIELD).gradient(u.detach())
    assert torch.allclose(found, expected, atol=1e-10)


def _dense(penalty: Diffusion) -> np.ndarray:
    """The penalty's gradient as a matrix, column by column."""
    n = 3 * int(np.prod(SHAPE))
    columns = []
    for unit in torch.eye(n, dtype=torch.float64):
        columns.append(penalty.gradient(unit.view(3, *SHAPE)).flatten().numpy())
    return np.stack(columns, 1)


def test_the_diagonal_is_the_matrixs() -> None:
    penalty = Diffusion(_field(4), SPACING_MM, SMOOTHNESS, YIELD)
    matrix = _dense(penalty)
    expected = np.diag(matrix).reshape(3, *SHAPE)
    found = penalty.diagonal(torch.zeros(SHAPE, dtype=torch.float64)).numpy()
    for component in expected:
        assert found == pytest.approx(component, abs=1e-12)
    assert np.abs(matrix - matrix.T).max() < 1e-12
    assert np.abs(matrix @ np.ones(len(matrix))).max() < 1e-12  # a shift costs nothing


def test_the_solver_solves_what_a_dense_matrix_solves() -> None:
    rng = np.random.default_rng(6)
    roots = rng.normal(size=(*SHAPE, 3, 3)) * 0.1
    matrices = roots @ np.swapaxes(roots, -1, -2)
    matrices[0] = 0  # no data there: the neighbours carry those points
    stiffness = torch.tensor(np.stack([matrices[..., i, j] for i, j in SYMMETRIC]))
    penalty, force = Diffusion(_field(4), SPACING_MM, SMOOTHNESS, YIELD), _field(7)
    whole = _dense(penalty)
    n = int(np.prod(SHAPE))
    for i in range(3):
        for j in range(3):
            whole[i * n : (i + 1) * n, j * n : (j + 1) * n] += np.diag(matrices[..., i, j].ravel())
    expected = np.linalg.solve(whole, force.flatten().numpy()).reshape(3, *SHAPE)
    found = penalty.solve(stiffness, force, 400).numpy()
    assert found == pytest.approx(expected, abs=1e-6 * np.abs(expected).max())
    few = penalty.solve(stiffness, force, 8).numpy()
    assert np.linalg.norm(few - expected) < np.linalg.norm(expected)


def test_where_nothing_pulls_nothing_moves_and_a_lone_point_divides_by_no_zero() -> None:
    penalty = Diffusion(torch.zeros(3, 1, 1, 1), SPACING_MM, SMOOTHNESS, YIELD)
    still = penalty.solve(torch.zeros(6, 1, 1, 1), torch.zeros(3, 1, 1, 1), 5)
    assert still.tolist() == [[[[0.0]]]] * 3
    pulled = penalty.solve(torch.tensor([2.0, 0, 0, 4, 0, 8]).view(6, 1, 1, 1), torch.ones(3, 1, 1, 1), 5)
    assert pulled.flatten().tolist() == pytest.approx([0.5, 0.25, 0.125], rel=1e-3)
    assert LEAST_DIAGONAL > 0
