"""Compute the loss of the semantic network: cross-entropy and soft Dice, with partially annotated maps."""

from __future__ import annotations

import torch
from torch import Tensor

from ..features.label_table import STRUCTURES

FOREIGN = len(STRUCTURES)  # the number of pathology that is none of the structures: background, but rare
RARE_VOXELS = 200.0  # structures with fewer weigh no more than one with so many
DICE_SMOOTHING = 10.0  # voxels, added above and below in the Dice: it jumps less where a structure is small


def segmentation_loss(logits: Tensor, structures: Tensor, annotated: Tensor) -> tuple[Tensor, float]:
    """Compute cross-entropy, weighted by 1 / sqrt(frequency), plus 1 minus the mean soft Dice of present structures.

    A structure that the map does not distinguish counts as background (Fang and Yan 2020, target adaptive loss,
    doi:10.1109/TMI.2020.3001036): to predict it there is neither right nor wrong.

    Args:
        logits: (C, N) of N voxels and C structures.
        structures: (N,) int64; FOREIGN counts as background, but weighs as a structure of its own: what looks like an
            organ and is none is rare among all the background.
        annotated: (C,) bool, the structures that the map distinguishes, including the background.

    Returns:
        The loss (), and the mean Dice.
    """
    log_probability = logits.float().log_softmax(0)
    background = torch.cat([log_probability[:1], log_probability[~annotated]]).logsumexp(0, keepdim=True)
    log_probability = torch.cat([background, log_probability[1:]])
    target = torch.where(structures == FOREIGN, 0, structures)
    log_of_true = log_probability.gather(0, target[None])[0]
    frequency = torch.bincount(structures, minlength=FOREIGN + 1).float()
    weight = (frequency + RARE_VOXELS).rsqrt()[structures]
    entropy = -(weight * log_of_true).sum() / weight.sum()
    count = torch.bincount(target, minlength=len(annotated)).float()
    volume = log_probability.exp().sum(1)
    common = torch.zeros_like(count).index_add(0, target, log_of_true.exp())
    dice = (2 * common + DICE_SMOOTHING) / (volume + count + DICE_SMOOTHING)
    present = (count > 0) & annotated
    present[0] = False
    mean = dice[present].mean() if bool(present.any()) else dice.new_ones(())
    return entropy + 1 - mean, float(mean.detach())
