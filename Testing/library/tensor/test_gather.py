"""Values and slopes between voxels against grid_sample and its gradient."""

from __future__ import annotations

import pytest
import torch

from pddnet.tensor.gather import Lookup
from pddnet.tensor.lattice import sample


@pytest.mark.parametrize("shape", [(5, 6, 7), (4, 1, 3)])
def test_values_and_slopes_are_those_of_linear_interpolation(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(5)
    first, second = torch.randn(3, *shape), torch.randn(1, *shape)
    last = torch.tensor(shape)[:, None] - 1.0
    place = (torch.rand(3, 200) * (last + 4) - 2).requires_grad_(True)  # some of them beyond the border
    found, inside = Lookup(first, second).values_and_slopes(place.detach())
    expected = sample(torch.cat([first, second]), place)
    assert torch.allclose(found[:, 0].T, expected, atol=1e-5)
    for channel in range(4):
        (slope,) = torch.autograd.grad(expected[channel].sum(), place, retain_graph=True)
        assert torch.allclose(found[:, 1:, channel].T * inside, slope, atol=1e-4)
    assert torch.equal(inside, (place > 0) & (place < last))


def test_whole_voxels_are_read_as_they_are() -> None:
    maps = torch.arange(24.0).view(2, 3, 2, 2)
    assert Lookup(maps[:1], maps[1:]).at(torch.tensor([0, 11])).tolist() == [[0, 12], [11, 23]]
