"""Define what a scanner measures of a painted patient: the values of tissues, and how they are scanned (`Modality`)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .noise import Noise
from .scanner import simulate_scanner
from .tissue import GAS_HU, random_content, random_contrast


class Modality(Protocol):
    """Kind of scan that is painted."""

    @property
    def gas(self) -> float:
        """Return the value of gas in stomach and bowel."""
        ...

    def contrast(self, rng: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw the mean value of every material and its texture, both (materials,)."""
        ...

    def content(self, rng: np.random.Generator) -> float:
        """Draw the value of what fills stomach and bowel besides gas."""
        ...

    def value(self, hu: float, mean: Tensor) -> float:
        """Return the value of a finding that is described in HU; mean: of every material, as drawn by `contrast`."""
        ...

    def scan(self, values: Tensor, body: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
        """Simulate the scanner on painted values (D, H, W); body (D, H, W) bool."""
        ...


class _ComputedTomography:
    gas = GAS_HU

    def contrast(self, rng: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
        return random_contrast(rng, device)

    def content(self, rng: np.random.Generator) -> float:
        return random_content(rng)

    def value(self, hu: float, mean: Tensor) -> float:
        return hu

    def scan(self, values: Tensor, body: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
        return simulate_scanner(values, rng, noise)


COMPUTED_TOMOGRAPHY: Modality = _ComputedTomography()
"""Values in HU."""
