"""Paint MR scans: a random signal of every tissue, the scanner's bias field, slices, ghosts and noise.

MR has no unit. Signals are painted in thousandths of the brightest tissue, 1000 below, so that a void lies at the HU
of air, and scaled by their own range at the end, as `tensor/scan.py` scales an MR scan.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..core.hounsfield import AIR_HU, FEATURE_RANGE_HU
from ..tensor.convert import to_tensor
from .noise import Noise
from .scanner import thick_slices
from .tissue import MATERIAL_INDEX

# Signal, as a share of the brightest tissue: T1, T1 after contrast agent with suppressed fat (arterial, portal
# venous), T2, T2 with suppressed fat. Rows as in `tissue.MATERIAL_HU`.
MATERIAL_SIGNAL: dict[str, tuple[float, float, float, float, float]] = {
    "air": (0.01, 0.01, 0.01, 0.01, 0.01),
    "lung": (0.06, 0.06, 0.08, 0.06, 0.06),
    "fat": (0.9, 0.18, 0.18, 0.75, 0.15),
    "skin": (0.4, 0.4, 0.45, 0.3, 0.3),
    "muscle": (0.38, 0.38, 0.42, 0.18, 0.2),
    "artery": (0.15, 0.95, 0.75, 0.08, 0.08),
    "vein": (0.25, 0.35, 0.75, 0.12, 0.12),
    "portal": (0.25, 0.4, 0.8, 0.15, 0.15),
    "heart": (0.35, 0.7, 0.65, 0.25, 0.3),
    "liver": (0.5, 0.5, 0.65, 0.25, 0.28),
    "spleen": (0.35, 0.7, 0.65, 0.45, 0.55),
    "kidney": (0.38, 0.85, 0.8, 0.5, 0.6),
    "medulla": (0.3, 0.5, 0.8, 0.65, 0.75),
    "pancreas": (0.5, 0.7, 0.6, 0.38, 0.4),
    "gland": (0.35, 0.55, 0.5, 0.4, 0.4),
    "bile": (0.3, 0.28, 0.28, 1.0, 1.0),
    "urine": (0.15, 0.12, 0.14, 1.0, 1.0),
    "wall": (0.35, 0.5, 0.55, 0.35, 0.4),
    "cartilage": (0.3, 0.2, 0.25, 0.3, 0.4),
    "disc": (0.3, 0.25, 0.28, 0.6, 0.6),
    "cord": (0.4, 0.35, 0.35, 0.4, 0.4),
    "bone": (0.1, 0.06, 0.06, 0.08, 0.08),
    "marrow": (0.65, 0.2, 0.25, 0.5, 0.2),
    "lumen": (0.25, 0.2, 0.22, 0.7, 0.75),
    "mesentery": (0.4, 0.5, 0.6, 0.4, 0.4),
}
assert list(MATERIAL_SIGNAL) == list(MATERIAL_INDEX)

WEIGHTINGS = 0.3  # of the Dirichlet distribution: most scans are near one weighting, some between two
SIGNAL_DEVIATION = 0.07
ANY_SIGNAL, ANY_SIGNAL_RANGE = 0.35, (0.03, 1.0)  # share of scans in which every tissue takes any signal
TEXTURE = (4.0, 40.0)  # standard deviation in thousandths
VOID = AIR_HU + 10.0  # gas, metal, cortical bone
CONTENT = (40.0, 950.0)  # thousandths, of stomach and bowel
FLUID_HU, DENSEST_HU = 25.0, 200.0  # of a finding that is described in HU: below the first it is fluid
VOID_HU = (-250.0, 700.0)  # a finding outside this range gives no signal
FAT_HU = -30.0

SLICE_THICKNESS_MM = (2.0, 10.0)
AXIAL_SLICES, CORONAL_SLICES = 0.7, 0.2  # shares of scans; the rest are sagittal
BIAS, BIAS_GRAIN_MM = (0.0, 0.35), (120.0, 400.0)  # standard deviation of its logarithm, and over which it changes
GHOSTED, GHOST, GHOST_SHIFT = 0.2, (0.03, 0.15), (0.1, 0.5)  # share of scans; strength; shift as a share of the view
NOISE = (3.0, 45.0)  # thousandths
BRIGHTEST = (0.97, 0.999)  # quantile of the body's signal that becomes the end of the range
UNEVEN = (0.7, 1.5)  # exponents of the signal, as windows of scanners differ


class MagneticResonance:
    """Modality of `synthesise`: magnetic resonance."""

    gas = VOID

    def contrast(self, rng: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw signal and texture of every material (materials,); see `tissue.random_contrast`."""
        table = np.array(list(MATERIAL_SIGNAL.values()))
        signal = table @ rng.dirichlet([WEIGHTINGS] * table.shape[1])
        signal = signal + rng.normal(0, SIGNAL_DEVIATION, len(table)) * (signal > 0.1)
        any_signal = rng.uniform(*ANY_SIGNAL_RANGE, len(table))
        if rng.random() < ANY_SIGNAL:
            signal = np.where(np.arange(len(table)) == MATERIAL_INDEX["air"], signal, any_signal)
        texture = rng.uniform(*TEXTURE, len(table)) * rng.uniform(0.2, 1)
        return to_tensor(AIR_HU + 1000.0 * signal.clip(0.01), device), to_tensor(texture, device)

    def content(self, rng: np.random.Generator) -> float:
        """Draw the value of what fills stomach and bowel."""
        return AIR_HU + float(rng.uniform(*CONTENT))

    def value(self, hu: float, mean: Tensor) -> float:
        """Translate the HU of a finding: fluid is as bright as urine, denser tissue between glands and arteries."""
        if not VOID_HU[0] < hu < VOID_HU[1]:
            return VOID
        if hu < FLUID_HU:
            return float(mean[MATERIAL_INDEX["fat" if hu < FAT_HU else "urine"]])
        dense = min((hu - FLUID_HU) / (DENSEST_HU - FLUID_HU), 1.0)
        return float(mean[MATERIAL_INDEX["gland"]] * (1 - dense) + mean[MATERIAL_INDEX["artery"]] * dense)

    def scan(self, values: Tensor, body: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
        """Simulate a scanner on values (D, H, W), and scale them by the range of the body (D, H, W; bool)."""
        return simulate_mr(values - AIR_HU, body, rng, noise)


def simulate_mr(signal: Tensor, body: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
    """Simulate an MR scanner on signals (D, H, W; 0 in air): bias field, slices, ghosts, noise; return -1000..0."""
    shape = tuple(signal.shape)
    bias = rng.uniform(*BIAS) * noise.smooth(shape, rng.uniform(*BIAS_GRAIN_MM))[0]
    signal = signal.clamp(min=0) * bias.exp()
    axis = int(rng.choice(3, p=[AXIAL_SLICES, CORONAL_SLICES, 1 - AXIAL_SLICES - CORONAL_SLICES]))
    along = thick_slices(signal.transpose(0, axis), rng.uniform(*SLICE_THICKNESS_MM), noise.spacing_mm)
    signal = along.transpose(0, axis)
    if rng.random() < GHOSTED:
        encoded = int(rng.integers(1, 3))
        shift = round(rng.uniform(*GHOST_SHIFT) * shape[encoded])
        signal = signal + rng.uniform(*GHOST) * signal.roll(shift, encoded)
    sigma = rng.uniform(*NOISE)
    signal = torch.hypot(signal + sigma * noise.white(*shape), sigma * noise.white(*shape))  # Rician noise
    return scaled(signal, body, rng)


def scaled(signal: Tensor, body: Tensor, rng: np.random.Generator) -> Tensor:
    """Scale signals (D, H, W) to -1000..0 by a bright quantile of the body (bool), with a random exponent."""
    inside = signal[body] if bool(body.any()) else signal.flatten()
    ordered = inside.sort().values
    brightest = ordered[min(int(rng.uniform(*BRIGHTEST) * len(ordered)), len(ordered) - 1)].clamp(min=1e-3)
    return AIR_HU + 1000.0 * (signal / brightest).clamp(0, 1) ** float(np.exp(rng.uniform(*np.log(UNEVEN))))


# Values in HU between which a CT is recoloured as MR: air, lung, fat, water, soft tissue, vessels, bone.
_NODES_HU = (FEATURE_RANGE_HU[0], -500.0, -150.0, -60.0, 0.0, 30.0, 60.0, 100.0, 160.0, 300.0, FEATURE_RANGE_HU[1])


def recoloured(hu: Tensor, structures: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Give a real CT (D, H, W; HU) signals as of MR: a random one for every HU, and another for every structure.

    Args:
        structures: (D, H, W) int64, -1 where unknown.
        count: of structures.

    Returns:
        Signals (D, H, W), 0 in air.
    """
    signals = rng.uniform(50, 1000, len(_NODES_HU))
    signals[:2] = 10.0, 60.0
    signals[-1] = rng.uniform(20, 150)
    nodes = to_tensor(np.array(_NODES_HU), hu.device)
    at = torch.bucketize(hu.contiguous(), nodes[1:-1])
    table = to_tensor(signals, hu.device)
    share = ((hu - nodes[at]) / (nodes[at + 1] - nodes[at])).clamp(0, 1)
    signal = table[at] * (1 - share) + table[at + 1] * share
    tints = np.append(rng.normal(0, 200, count), 0.0)  # the last, for -1
    tints[0] = 0.0
    return (signal + to_tensor(tints, hu.device)[structures] * (hu > -500)).clamp(min=0)
