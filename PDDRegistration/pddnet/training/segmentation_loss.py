"""How well a network names structures, where every map tells only some of them apart."""

from __future__ import annotations

import torch
from torch import Tensor

RARE = 200.0  # voxels: structures with fewer weigh no more than this
SMOOTH = 10.0  # voxels, added above and below in the Dice


def segmentation_loss(logits: Tensor, structures: Tensor, annotated: Tensor) -> tuple[Tensor, float]:
    """Cross-entropy, weighted by 1 / sqrt(frequency), plus one minus the mean soft Dice of the structures present.

    A structure that the map does not tell apart counts as background (Fang and Yan 2020, target adaptive loss,
    doi:10.1109/TMI.2020.3001036): naming it there is neither right nor wrong.

    Args:
        logits: (C, N) of N voxels; structures: (N,) int64; annotated: (C,) bool, the background among them.

    Returns:
        the loss, and the mean Dice.
    """
    log = logits.float().log_softmax(0)
    background = torch.cat([log[:1], log[~annotated]]).logsumexp(0, keepdim=True)
    log = torch.cat([background, log[1:]])
    count = torch.bincount(structures, minlength=len(annotated)).float()
    weight = (count + RARE).rsqrt()[structures]
    right = log.gather(0, structures[None])[0]
    entropy = -(weight * right).sum() / weight.sum()
    probability = log.exp()
    common = torch.zeros_like(count).index_add(0, structures, right.exp())
    dice = (2 * common + SMOOTH) / (probability.sum(1) + count + SMOOTH)
    present = (count > 0) & annotated
    present[0] = False
    mean = dice[present].mean() if bool(present.any()) else dice.new_ones(())
    return entropy + 1 - mean, float(mean.detach())
