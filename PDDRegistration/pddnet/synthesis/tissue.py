"""Draw the HU of synthesised tissue: contrast phase, texture, bowel content, lesions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..tensor.convert import to_tensor
from .noise import Noise

# HU in a native, an arterial and a portal venous scan; how much patients differ; texture (standard deviations). Not
# the phantom's table (`phantom.painter.TISSUE_HU`): that has two phases and the tissues that the phantom paints.
MATERIAL_HU: dict[str, tuple[float, float, float, float, float]] = {
    "air": (-985, -985, -985, 10, 5),
    "lung": (-840, -840, -830, 50, 45),
    "fat": (-102, -101, -99, 8, 10),
    "skin": (0, 5, 10, 20, 15),
    "muscle": (50, 55, 62, 10, 14),
    "artery": (42, 290, 150, 30, 6),
    "vein": (42, 70, 130, 20, 8),
    "portal": (42, 90, 160, 25, 8),
    "heart": (42, 190, 130, 35, 15),
    "liver": (55, 72, 108, 14, 9),
    "spleen": (48, 115, 120, 14, 9),
    "kidney": (33, 160, 180, 25, 10),
    "medulla": (30, 75, 165, 25, 12),
    "pancreas": (38, 95, 92, 15, 20),
    "gland": (30, 65, 70, 15, 10),
    "bile": (8, 8, 9, 10, 4),
    "urine": (6, 6, 10, 8, 4),
    "wall": (40, 65, 85, 12, 10),
    "cartilage": (110, 110, 115, 35, 40),
    "disc": (80, 82, 85, 12, 10),
    "cord": (35, 38, 40, 8, 6),
    "bone": (480, 480, 490, 120, 80),
    "marrow": (170, 175, 185, 60, 45),
    "lumen": (20, 20, 22, 15, 15),
    "mesentery": (30, 45, 55, 20, 25),
}
MATERIAL_INDEX = {name: number for number, name in enumerate(MATERIAL_HU)}

PHASE_WEIGHTS = (0.35, 0.25, 0.4)  # Dirichlet: most scans are near one phase, some between two
TEXTURE_STRENGTH = (0.5, 1.6)
ANY_CONTRAST = 0.2  # share of scans in which soft tissues take any contrast to each other
SOFT_MATERIAL_HU = (-20.0, 130.0)  # native, which materials that concerns
ANY_CONTRAST_HU = (-20.0, 200.0)
CONTRAST_IN_URINE = 0.12  # share of scans
CONTRAST_IN_URINE_HU = (100.0, 600.0)

GAS_HU = -950.0  # in stomach and bowel
CONTRAST_IN_BOWEL = 0.3  # share of scans
CONTRAST_IN_BOWEL_HU = (120.0, 450.0)
BOWEL_CONTENT_HU = (-60.0, 80.0)
FRONT_TO_BACK_MM = 60.0  # over which gas gives way to fluid: gas rises in a patient who lies on the back
GAS_GRAIN_MM, CONTENT_GRAIN_MM = 20.0, 28.0  # over which gas and content change along the bowel
GAS_LEVEL, GAS_LEVEL_SHIFT = (-0.5, 3.0), 0.3  # from much gas to almost none, in standard deviations of the pattern
CONTENT_LEVEL = (-1.0, 2.0)
CONTENT_VARIATION, CONTENT_NOISE_HU = 0.15, 20.0  # share of the content's HU that follows the pattern

MOST_LESIONS = 3
LESION_RADIUS_MM = (5.0, 22.0)
LESION_HU = 45.0  # standard deviation
METAL = 0.05  # share of lesions
METAL_HU = 2500.0


def random_contrast(rng: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw mean HU and texture (HU) of every material (materials,) in one patient's scan."""
    table = np.array(list(MATERIAL_HU.values()))
    native, deviation, texture = table[:, 0], table[:, 3], table[:, 4]
    mean = table[:, :3] @ rng.dirichlet(PHASE_WEIGHTS) + rng.normal(0, 1, len(table)) * deviation
    kidney, medulla = MATERIAL_INDEX["kidney"], MATERIAL_INDEX["medulla"]
    mean[medulla] += (mean[kidney] - mean[medulla]) * rng.uniform(0, 1)
    if rng.random() < ANY_CONTRAST:
        soft = (native > SOFT_MATERIAL_HU[0]) & (native < SOFT_MATERIAL_HU[1])
        mean[soft] = rng.uniform(*ANY_CONTRAST_HU, soft.sum())
    if rng.random() < CONTRAST_IN_URINE:
        mean[MATERIAL_INDEX["urine"]] = rng.uniform(*CONTRAST_IN_URINE_HU)
    return to_tensor(mean, device), to_tensor(texture * rng.uniform(*TEXTURE_STRENGTH, len(table)), device)


def random_texture(shape: tuple[int, ...], noise: Noise) -> Tensor:
    """Draw texture (2D, 2H, 2W) of about unit variance on half voxels: fine, plus grains of 8 and 24 mm; shape (D, H,
    W)."""
    fine = 0.9 * noise.white(*(2 * n for n in shape))
    grains = 0.8 * noise.smooth(shape, cell_mm=8)[0] + 0.6 * noise.smooth(shape, cell_mm=24)[0]
    return fine + to_half_voxels(grains)


def random_content(rng: np.random.Generator) -> float:
    """Draw the HU of what fills stomach and bowel besides gas."""
    return rng.uniform(*CONTRAST_IN_BOWEL_HU) if rng.random() < CONTRAST_IN_BOWEL else rng.uniform(*BOWEL_CONTENT_HU)


def fill_lumen(
    hu: Tensor, lumen: Tensor, points: Tensor, rng: np.random.Generator, noise: Noise,
    content_value: Callable[[np.random.Generator], float] = random_content, gas_value: float = GAS_HU,
) -> Tensor:  # fmt: skip
    """Fill stomach and bowel in HU (2D, 2H, 2W): gas in front, fluid behind, stool or contrast medium between.

    Args:
        lumen: (2D, 2H, 2W) bool. points: (3, D, H, W) LPS mm.
        content_value, gas_value: what draws the value of the content, and the value of gas, in HU unless in MR.
    """
    shape = points.shape[1:]
    pattern = noise.smooth(shape, GAS_GRAIN_MM)[0]
    in_front = (points[1].mean() - points[1]) / FRONT_TO_BACK_MM
    gas = pattern + in_front + rng.normal(0, GAS_LEVEL_SHIFT) > rng.uniform(*GAS_LEVEL)
    content = noise.smooth(shape, CONTENT_GRAIN_MM)[0] > rng.uniform(*CONTENT_LEVEL)
    mean = content_value(rng)
    content_hu = mean + CONTENT_VARIATION * abs(mean) * pattern + CONTENT_NOISE_HU * noise.white(*shape)
    hu = torch.where(lumen & to_half_voxels(content), to_half_voxels(content_hu), hu)
    return torch.where(lumen & to_half_voxels(gas), gas_value, hu)


def random_lesions(points: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw lesions (D, H, W), HU to add: a few balls anywhere, as cysts, masses, metal; points (3, D, H, W) LPS mm."""
    hu = torch.zeros_like(points[0])
    for _ in range(rng.integers(0, MOST_LESIONS + 1)):
        k, j, i = (int(rng.integers(n)) for n in hu.shape)
        squared = (points - points[:, k, j, i].view(3, 1, 1, 1)).square().sum(0)
        radius = rng.uniform(*LESION_RADIUS_MM)
        added = METAL_HU if rng.random() < METAL else rng.normal(0, LESION_HU)
        hu += added * (squared < radius**2)
    return hu


def to_half_voxels(x: Tensor) -> Tensor:
    """Repeat every voxel eight times: (D, H, W) -> (2D, 2H, 2W)."""
    return x[:, None, :, None, :, None].expand(-1, 2, -1, 2, -1, 2).reshape([2 * n for n in x.shape])
