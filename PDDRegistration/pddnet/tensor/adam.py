"""Adam (Kingma and Ba 2015, doi:10.48550/arXiv.1412.6980, algorithm 1) for one tensor.

torch.optim does the same, but loads torch's compiler when first used: a second of every run of the command.
"""

from __future__ import annotations

import torch
from torch import Tensor

DECAY = (0.9, 0.999)
TINY = 1e-8


class Adam:
    """Steps of one tensor along the gradient in its `grad`, which `backward` left there or whoever works it out."""

    def __init__(self, parameter: Tensor) -> None:

        self.parameter = parameter
        self.mean, self.square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self.steps = 0

    def step(self, rate: float) -> None:
        """One step of at most about `rate` per element; the gradient is cleared."""
        gradient = self.parameter.grad
        self.steps += 1
        self.mean.mul_(DECAY[0]).add_(gradient, alpha=1 - DECAY[0])
        self.square.mul_(DECAY[1]).addcmul_(gradient, gradient, value=1 - DECAY[1])
        size = (self.square / (1 - DECAY[1] ** self.steps)).sqrt_().add_(TINY)
        self.parameter.data.addcdiv_(self.mean, size, value=-rate / (1 - DECAY[0] ** self.steps))
        self.parameter.grad = None
