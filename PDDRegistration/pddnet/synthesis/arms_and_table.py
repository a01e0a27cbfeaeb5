"""Synthesise what a scan shows beside the trunk: arms at its sides, and the scanner's table under its back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.hounsfield import AIR_HU
from ..phantom.table import (
    BEVEL_START_MM,
    BEVEL_WIDTH_MM,
    CURVATURE_PER_MM,
    DEPTH_MM,
    FOAM_HU,
    HALF_SHELL_MM,
    HALF_WIDTH_MM,
    SHELL_HU,
)

HeightFunction = Callable[[Tensor], Tensor]
"""LPS points (3, ...) in mm -> height (...) in mm above the trunk's wall."""

SKIN_MM = 2.5
ARM_RADIUS_MM = (34.0, 52.0)
ARM_FAT_MM = (2.0, 10.0)
ARM_BONE_RADIUS_MM, ARM_MARROW_RADIUS_MM = 11.0, 6.0
ARM_GAP_MM = (-4.0, 25.0)  # between an arm and the trunk
ARM_SLOPE = (0.05, 0.15)  # standard deviations: mm to the side and backwards per mm along the body
ARM_BEHIND_MM = 25.0  # standard deviation of how far behind the trunk's centre
WIDEST_TRUNK_MM = 320.0  # from the trunk's middle to its side, at most
NARROWEST_TRUNK_MM, WIDTH_STEP_MM = 40.0, 4.0  # where the search for the trunk's side begins, and its steps


def arms(
    points: Tensor, height_above_wall: HeightFunction, centre: np.ndarray, fat_mm: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Draw masks of two hanging arms (D, H, W) by material (see `tissue.MATERIAL_HU`), the outermost first.

    Args:
        points: (3, D, H, W) LPS mm.
        height_above_wall: function of such points, mm above the trunk's wall.
        centre: (3,) LPS mm, the centre of the trunk.
        fat_mm: thickness of the fat on the trunk's wall.
    """
    radius = rng.uniform(*ARM_RADIUS_MM)
    arm_fat = rng.uniform(*ARM_FAT_MM)
    x, y, z = points
    distance = torch.full_like(x, torch.inf)  # from the nearer arm's axis
    for side in (-1.0, 1.0):
        aside = _half_width(height_above_wall, centre, side, fat_mm) + radius + rng.uniform(*ARM_GAP_MM)
        slope, behind = rng.normal(0, ARM_SLOPE), rng.normal(0, ARM_BEHIND_MM)
        along = z - float(centre[2])
        across = x - float(centre[0] + side * aside) - float(slope[0]) * along
        deep = y - float(centre[1] + behind) - float(slope[1]) * along
        distance = torch.minimum(distance, (across.square() + deep.square()).sqrt())
    radii = {
        "skin": radius,
        "fat": radius - SKIN_MM,
        "muscle": radius - SKIN_MM - arm_fat,
        "bone": ARM_BONE_RADIUS_MM,
        "marrow": ARM_MARROW_RADIUS_MM,
    }
    return {material: distance < edge for material, edge in radii.items()}


def _half_width(height_above_wall: HeightFunction, centre: np.ndarray, side: float, fat_mm: float) -> float:
    """Return the distance in mm from the trunk's middle to its skin, to one side (-1 right, 1 left)."""
    steps = torch.arange(NARROWEST_TRUNK_MM, WIDEST_TRUNK_MM, WIDTH_STEP_MM)
    line = torch.stack([float(centre[0]) + side * steps, *(torch.full_like(steps, float(c)) for c in centre[1:])])
    outside = height_above_wall(line.view(3, -1, 1, 1)).flatten().cpu() > fat_mm
    return float(steps[outside][0]) if bool(outside.any()) else WIDEST_TRUNK_MM


def add_table(hu: Tensor, body: Tensor, spacing_mm: float) -> Tensor:
    """Paint the scanner's table under a patient: HU (D, H, W), changed where there is no body (D, H, W) bool.

    The table touches the body's lowest voxel. The HU are unchanged where there is no body at all.

    Args:
        spacing_mm: spacing of the voxels; axes along LPS z, y, x.
    """
    deepest_row = torch.where(body, torch.arange(hu.shape[1], device=hu.device)[:, None], -1).amax((0, 1))
    if not bool((deepest_row >= 0).any()):
        return hu
    columns = torch.arange(hu.shape[2], device=hu.device)
    middle_column = float(columns[deepest_row >= 0].float().mean())
    top_mm = (float(deepest_row.max()) + 1.5) * spacing_mm
    across = (_half_voxels(hu.shape[2], hu.device) - middle_column) * spacing_mm
    depth = _half_voxels(hu.shape[1], hu.device)[:, None] * spacing_mm - top_mm
    table = _table_hu(across, depth)
    painted = torch.where(table.isnan(), hu.min().clamp(max=AIR_HU), table)
    painted = functional.interpolate(painted[None, None], scale_factor=0.5, mode="area")[0]
    return torch.where(body, hu, torch.maximum(hu, painted.expand_as(hu)))


def _half_voxels(count: int, device: torch.device) -> Tensor:
    """Return (2 * count,) indices of half voxels: shells are thinner than voxels, and halves mix by volume."""
    return torch.arange(2 * count, device=device) / 2 - 0.25


def _table_hu(across: Tensor, depth: Tensor) -> Tensor:
    """Compute HU (H, W) of the table, NaN beside it; across (W,) and depth (H, 1) mm from its upper shell's middle."""
    upper = depth + CURVATURE_PER_MM * across.square()
    lower = depth - DEPTH_MM * (1 - ((across.abs() - BEVEL_START_MM) / BEVEL_WIDTH_MM).clamp(0, 1))
    board = (across.abs() < HALF_WIDTH_MM) & (upper > -1.0)
    table = torch.full_like(upper, torch.nan)
    table[board & (lower < 0)] = FOAM_HU
    table[board & ((upper.abs() < HALF_SHELL_MM) | (lower.abs() < HALF_SHELL_MM))] = SHELL_HU
    return table
