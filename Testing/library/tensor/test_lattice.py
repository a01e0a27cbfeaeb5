"""Tensors on grids along shared axes, judged by SimpleITK on oblique, flipped, anisotropic grids."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from helpers.geometry import grids, sitk_field, sitk_image, sitk_points
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.tensor.lattice import compose, from_lps, interpolate, mesh, nearest, positions, resample, sample, to_lps

KINDS = ["left-handed oblique", "permuted oblique", "coronal"]
OFFSET = np.array([3.7, 2.2, 5.9])  # mm along i, j, k


@pytest.fixture(params=KINDS)
def lattice(request: pytest.FixtureRequest) -> Grid:
    return grids((9, 12, 15))[request.param]


def _beside(lattice: Grid, shape: tuple[int, int, int], spacing: tuple, offset: np.ndarray = OFFSET) -> Grid:
    """Another grid along the same axes."""
    return Grid(shape, np.array(spacing), lattice.origin + lattice.direction @ offset, lattice.direction)


def _volume(lattice: Grid, seed: int = 1) -> torch.Tensor:
    return torch.rand(1, *lattice.shape, generator=torch.Generator().manual_seed(seed))


def _at(volume: torch.Tensor, lattice: Grid, points: np.ndarray) -> np.ndarray:
    """SimpleITK's linear interpolation at LPS points (N, 3)."""
    image = sitk_image(volume[0].numpy(), lattice)
    return np.array([image.EvaluateAtPhysicalPoint(p, sitk.sitkLinear) for p in points.tolist()])


def _smooth(lattice: Grid, seed: int, size: float = 4.0) -> torch.Tensor:
    """(3, D, H, W) displacements of a few mm, different along every axis, that change little between voxels."""
    place = mesh(lattice).double()
    angle = np.random.default_rng(seed).uniform(0, 6, 9).reshape(3, 3)
    waves = [torch.sin(place[a] / 17 + angle[a, 0]) + torch.cos(place[a - 1] / 23 + angle[a, 1]) for a in range(3)]
    return size * torch.stack(waves).float() + torch.tensor([2.0, -3.0, 1.0]).view(3, 1, 1, 1)


def test_resample_is_simpleitks_linear_interpolation(lattice: Grid) -> None:
    inner = _beside(lattice, (7, 6, 8), (1.7, 3.3, 2.9))
    assert lattice.contains(inner.corners()).all()
    volume = _volume(lattice)
    result = resample(volume, lattice, inner)
    assert result.shape == (1, 7, 6, 8)
    expected = _at(volume, lattice, inner.points().reshape(-1, 3))
    assert np.allclose(result.flatten().numpy(), expected, atol=1e-4)


def test_outside_the_border_value_holds(lattice: Grid) -> None:
    volume = _volume(lattice)
    around = _beside(lattice, (15, 18, 21), lattice.spacing, -3 * lattice.spacing)
    result = resample(volume, lattice, around)
    expected = torch.nn.functional.pad(volume[None], (3,) * 6, mode="replicate")[0]
    assert torch.allclose(result, expected, atol=1e-4)


def test_nearest_is_simpleitks_and_holds_the_border_outside(lattice: Grid) -> None:
    inner = _beside(lattice, (7, 6, 8), (1.7, 3.3, 2.9))
    volume = torch.cat([_volume(lattice), _volume(lattice, 2)])
    result = nearest(volume, lattice, inner)
    for channel, values in enumerate(volume):
        image = sitk_image(values.numpy(), lattice)
        expected = [image.EvaluateAtPhysicalPoint(p, sitk.sitkNearestNeighbor) for p in inner.points().reshape(-1, 3)]
        assert np.allclose(result[channel].flatten().numpy(), expected)
    around = _beside(lattice, (15, 18, 21), lattice.spacing, -3 * lattice.spacing)
    expected = torch.nn.functional.pad(volume[None], (3,) * 6, mode="replicate")[0]
    assert torch.equal(nearest(volume, lattice, around), expected)


def test_positions_are_itks_continuous_indices(lattice: Grid) -> None:
    other = _beside(lattice, (4, 3, 5), (6.1, 5.2, 7.7), OFFSET * [1, -1, 1])
    where = positions(other, lattice)
    assert [len(axis) for axis in where] == [4, 3, 5]
    image = sitk_image(np.zeros(lattice.shape, np.float32), lattice)
    for k, j, i in ((0, 0, 0), (3, 1, 4), (2, 2, 0)):
        index = image.TransformPhysicalPointToContinuousIndex(other.index_to_point([i, j, k]).tolist())
        assert [float(where[2][i]), float(where[1][j]), float(where[0][k])] == pytest.approx(index, abs=1e-4)


def test_interpolate_keeps_the_order_of_the_axes() -> None:
    d, h, w = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), torch.arange(6.0), indexing="ij")
    volume = torch.stack([100 * d + 10 * h + w, d - h + 0 * w])
    result = interpolate(volume, (torch.tensor([0.5, 2.0]), torch.tensor([3.25]), torch.tensor([-1.0, 4.75, 9.0])))
    assert result.shape == (2, 2, 1, 3)
    assert result[0].flatten().tolist() == pytest.approx([82.5, 87.25, 87.5, 232.5, 237.25, 237.5])
    assert result[1].flatten().tolist() == pytest.approx([-2.75] * 3 + [-1.25] * 3)


def test_interpolate_fades_to_zero_beyond_the_lattice_if_asked() -> None:
    volume = 10.0 + torch.arange(5.0).view(1, 5, 1, 1)
    at = torch.tensor([-1.5, -1.0, -0.25, 3.5, 4.5, 5.0]), torch.zeros(1), torch.zeros(1)
    assert interpolate(volume, at, zeros=True).flatten().tolist() == pytest.approx([0, 0, 7.5, 13.5, 7.0, 0])
    assert interpolate(volume, at).flatten().tolist() == pytest.approx([10, 10, 10, 13.5, 14, 14])


@pytest.mark.parametrize("zeros", [False, True])
def test_sample_is_simpleitks_linear_interpolation(lattice: Grid, zeros: bool) -> None:
    index = np.random.default_rng(2).uniform(0, np.array(lattice.shape) - 1, (50, 3))  # in the order D, H, W
    volume = _volume(lattice)
    result = sample(volume, torch.from_numpy(index.T).float().view(3, 5, 10), zeros=zeros)
    assert result.shape == (1, 5, 10)
    expected = _at(volume, lattice, lattice.index_to_point(index[:, ::-1]))
    assert np.allclose(result.flatten().numpy(), expected, atol=1e-4)


def test_sample_outside_the_lattice(lattice: Grid) -> None:
    volume = _volume(lattice) + 1
    far = torch.tensor([[-4.0, 4, 30], [3, 99, 5], [2, 2, -50]])
    borders = [volume[0, 0, 3, 2], volume[0, 4, 11, 2], volume[0, 8, 5, 0]]
    assert sample(volume, far)[0].tolist() == pytest.approx([float(value) for value in borders], abs=1e-4)
    assert sample(volume, far, zeros=True)[0].tolist() == [0, 0, 0]


def test_to_lps_means_what_itk_means(lattice: Grid) -> None:
    """A displacement of (a, b, c) mm along D, H, W moves a node to where that many voxels further lie."""
    voxels = np.array([1.0, -2.0, 3.0])  # along D, H, W
    along = torch.from_numpy(voxels * lattice.spacing[::-1]).float().view(3, 1, 1, 1).expand(3, *lattice.shape)
    image = sitk_image(np.zeros(lattice.shape, np.float32), lattice)
    transform = sitk_field(DisplacementField(to_lps(along, lattice), lattice))
    for index in ((2, 5, 4), (7, 4, 1), (10, 9, 5)):  # i, j, k
        there = [int(i + v) for i, v in zip(index, voxels[::-1], strict=True)]
        moved = sitk_points(transform, image.TransformIndexToPhysicalPoint(index))[0]
        assert np.allclose(moved, image.TransformIndexToPhysicalPoint(there), atol=1e-3)


def test_from_lps_undoes_to_lps(lattice: Grid) -> None:
    displacement = _smooth(lattice, 3)
    assert torch.allclose(from_lps(to_lps(displacement, lattice), lattice), displacement, atol=1e-4)


def test_compose_applies_the_inner_one_first(lattice: Grid) -> None:
    outer, inner = _smooth(lattice, 5), _smooth(lattice, 6, size=2.0)
    both = DisplacementField(to_lps(compose(outer, inner, lattice), lattice), lattice)
    first, second = (sitk_field(DisplacementField(to_lps(u, lattice), lattice)) for u in (inner, outer))
    nodes = lattice.points()[2:-2, 3:-3, 3:-3].reshape(-1, 3)
    moved = sitk_points(first, nodes)
    stays = np.array([np.abs(lattice.point_to_index(p) - (lattice.size - 1) / 2) for p in moved])
    stays = (stays < (lattice.size - 1) / 2 - 0.01).all(1)  # beyond its nodes ITK's field ends
    assert stays.sum() > 50
    expected = sitk_points(second, moved[stays])
    result = sitk_points(sitk_field(both), nodes[stays])
    assert np.abs(result - expected).max() < 1e-3
    swapped = sitk_points(first, sitk_points(second, nodes[stays]))
    assert np.abs(swapped - expected).max() > 0.3  # the order matters for these fields
