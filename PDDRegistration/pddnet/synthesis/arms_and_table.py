"""What a scan shows beside the trunk: arms at its sides, and the scanner's table under its back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

RADII = (34.0, 52.0)  # mm of an arm
BONE, MARROW, SKIN = 11.0, 6.0, 2.5  # mm: radii of an arm's bone and what it holds; its skin
GAPS = (-4.0, 25.0)  # mm between an arm and the trunk
FARTHEST = 320.0  # mm from the trunk's middle to its side, at most
BOARD = 215.0  # mm from the table's middle to its edge
SHELL, FOAM, DEPTH = 90.0, -965.0, 30.0  # HU of the table's two shells and of what is between, mm from one to the other


def arms(
    points: Tensor, above: Callable[[Tensor], Tensor], centre: np.ndarray, fat: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Where two hanging arms show what, by material (see `synthesis.MATERIALS`), the outermost first.

    Args:
        points: (3, D, H, W) LPS mm. above: mm above the trunk's wall at such points. centre: (3,) of the trunk.
        fat: mm of it on the trunk's wall.
    """
    radius, own_fat = rng.uniform(*RADII), rng.uniform(2, 10)
    away = torch.full_like(points[0], torch.inf)
    for side in (-1.0, 1.0):
        reach = _half_width(above, centre, side, fat) + radius + rng.uniform(*GAPS)
        slope, back = rng.normal(0, (0.05, 0.15)), rng.normal(0, 25)
        along = points[2] - float(centre[2])
        across = points[0] - float(centre[0] + side * reach) - float(slope[0]) * along
        deep = points[1] - float(centre[1] + back) - float(slope[1]) * along
        away = torch.minimum(away, (across.square() + deep.square()).sqrt())
    edges = {
        "skin": radius, "fat": radius - SKIN, "muscle": radius - SKIN - own_fat, "bone": BONE, "marrow": MARROW
    }  # fmt: skip
    return {material: away < edge for material, edge in edges.items()}


def _half_width(above: Callable[[Tensor], Tensor], centre: np.ndarray, side: float, fat: float) -> float:
    """mm from the trunk's middle to its skin, to one side."""
    steps = torch.arange(40.0, FARTHEST, 4.0)
    line = torch.stack([float(centre[0]) + side * steps, *(torch.full_like(steps, float(c)) for c in centre[1:])])
    outside = above(line.view(3, -1, 1, 1)).flatten().cpu() > fat
    return float(steps[outside][0]) if bool(outside.any()) else FARTHEST


def on_table(hu: Tensor, body: Tensor, spacing: float) -> Tensor:
    """HU (D, H, W) of a patient who lies on a table: its shells and foam where there is no body (D, H, W) bool.

    Args:
        spacing: mm; axes along LPS z, y, x.
    """
    deepest = torch.where(body, torch.arange(hu.shape[1], device=hu.device)[:, None], -1).amax((0, 1))
    if not bool((deepest >= 0).any()):
        return hu
    columns = torch.arange(hu.shape[2], device=hu.device)
    middle = float(columns[deepest >= 0].float().mean())
    top = (float(deepest.max()) + 1.5) * spacing
    fine = functional.interpolate  # a shell is thinner than a voxel: painted on halves, as the body is
    across = (torch.arange(2 * hu.shape[2], device=hu.device) / 2 - 0.25 - middle) * spacing
    depth = (torch.arange(2 * hu.shape[1], device=hu.device) / 2 - 0.25)[:, None] * spacing - top
    upper = depth + 0.0005 * across.square()
    lower = depth - DEPTH * (1 - ((across.abs() - 110) / 100).clamp(0, 1))
    board = (across.abs() < BOARD) & (upper > -1.0)
    table = torch.full_like(upper, torch.nan)
    table[board & (lower < 0)] = FOAM
    table[board & ((upper.abs() < 1.8) | (lower.abs() < 1.8))] = SHELL
    painted = torch.where(table.isnan(), hu.min().clamp(max=-1000.0), table)
    painted = fine(painted[None, None], scale_factor=0.5, mode="area")[0]
    return torch.where(body, hu, torch.maximum(hu, painted.expand_as(hu)))
