"""Our Adam is torch's."""

from __future__ import annotations

import torch

from pddnet.tensor.adam import Adam


def test_it_walks_as_torch_does() -> None:
    start = torch.tensor([[3.0, -2.0], [0.5, 1e-4]])
    ours, theirs = start.clone().requires_grad_(True), start.clone().requires_grad_(True)
    adam, judge = Adam(ours), torch.optim.Adam([theirs], lr=0.05)
    for i in range(30):
        rate = 0.05 / (1 + i)
        judge.param_groups[0]["lr"] = rate
        judge.zero_grad()
        for x in (ours, theirs):
            ((x - torch.tensor([[1.0, 7.0], [0.5, 2.0]])).pow(2) * torch.tensor([1.0, 300.0])).sum().backward()
        adam.step(rate)
        judge.step()
    assert (ours - theirs).abs().max() < 1e-6
    assert (ours - start).abs().max() > 0.05
