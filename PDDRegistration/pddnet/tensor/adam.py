"""Implement Adam (Kingma and Ba 2015, doi:10.48550/arXiv.1412.6980, algorithm 1) for one tensor.

torch.optim does the same, but loads torch's compiler when first used, which takes a second of every run of the command.
"""

from __future__ import annotations

import torch
from torch import Tensor

MEAN_DECAY, SQUARE_DECAY = 0.9, 0.999  # beta_1 and beta_2 of the algorithm
EPSILON = 1e-8


class Adam:
    """Adam optimiser of one tensor; its gradient is in `grad`, set by `backward` or by the caller."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.mean, self.square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self.steps = 0

    def step(self, rate: float) -> None:
        """Take one step, of at most about `rate` per element, and clear the gradient.

        Raises:
            ValueError: there is no gradient.
        """
        gradient = self.parameter.grad
        if gradient is None:
            raise ValueError("the parameter has no gradient; compute it before the step")
        self.steps += 1
        self.mean.mul_(MEAN_DECAY).add_(gradient, alpha=1 - MEAN_DECAY)
        self.square.mul_(SQUARE_DECAY).addcmul_(gradient, gradient, value=1 - SQUARE_DECAY)
        size = (self.square / (1 - SQUARE_DECAY**self.steps)).sqrt_().add_(EPSILON)
        self.parameter.data.addcdiv_(self.mean, size, value=-rate / (1 - MEAN_DECAY**self.steps))
        self.parameter.grad = None
