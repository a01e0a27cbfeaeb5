"""The pools from slices against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional

from pddnet.tensor.pools import block_means, dilated, halved, pool_three

SHAPES = [(2, 7, 8, 9), (1, 1, 2, 5), (3, 6, 4, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_extremes_are_those_of_torch(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(dilated(x), functional.max_pool3d(x, 3, 1, 1))
    assert torch.equal(halved(x), functional.max_pool3d(x, 2, ceil_mode=True))
    assert torch.equal(dilated(x[0]), dilated(x)[0])


def test_block_means_are_those_of_torch_along_each_axis() -> None:
    x = torch.randn(2, 7, 8, 9, generator=torch.Generator().manual_seed(2))
    for factors in ((2, 2, 2), (3, 1, 2), (1, 1, 1)):
        assert torch.allclose(block_means(x, factors), functional.avg_pool3d(x, factors), atol=1e-6)


def test_the_least_of_three_repeats_the_ends_beyond_them() -> None:
    assert pool_three(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), 1, torch.minimum).tolist() == [[3, 1, 1, 1, 2, 5]]
    assert pool_three(torch.tensor([[4.0]]), 1, torch.minimum).tolist() == [[4, 4, 4]]
    assert pool_three(torch.tensor([[4.0, 6.0]]), 1, torch.maximum).tolist() == [[4, 6, 6, 6]]
