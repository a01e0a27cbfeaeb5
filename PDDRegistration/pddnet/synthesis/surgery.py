"""Paint what surgery leaves: organs of which a part is gone, metal with its streaks, stents."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..features.label_table import LEVELS, NUMBER
from .scene import Finding, Scene

PARTLY_REMOVED = tuple(
    NUMBER[name] for name in ("liver", "spleen", "kidney", "pancreas", "stomach", "colon", "bladder", "lung")
)
REMOVED_SHARE = (0.15, 0.85)
LEFT_BEHIND = 0.3  # share of cavities that fluid fills; fat fills the others
CAVITY_FLUID_HU = (0.0, 35.0)

METAL_HU = 3000.0
ROD_RADIUS_MM, ROD_ASIDE_MM, ROD_BEHIND_MM = 4.0, 20.0, 6.0
FEWEST_LEVELS_MM = 60.0  # that rods are long, at least
STREAK_HU, STREAK_RAYS, STREAK_REACH_MM = (60.0, 350.0), (5, 15), 90.0
STENT_HU = (300.0, 900.0)
STENT_LENGTH_MM = (40.0, 160.0)
STENTED = tuple(NUMBER[name] for name in ("aorta", "oesophagus", "vena_cava"))
FEMUR = NUMBER["femur"]
VERTEBRAE = tuple(NUMBER[f"vertebra_{level}"] for level in LEVELS)


def resection(scene: Scene) -> Scene:
    """Remove the part of an organ on one side of a plane: fat or fluid fills its place, as none of the structures."""
    structures = scene.structures()
    shown = [number for number in PARTLY_REMOVED if bool((structures == number).any())]
    if not shown:
        return scene
    organ = structures == shown[scene.rng.integers(len(shown))]
    direction = scene.rng.normal(size=3)
    normal = torch.tensor(direction / np.linalg.norm(direction), dtype=torch.float32, device=organ.device)
    along = torch.einsum("c,c...->...", normal, scene.places())
    cut = along - along[organ].quantile(1 - scene.rng.uniform(*REMOVED_SHARE))
    level = torch.minimum(cut, (organ.float() * 2 - 1) * scene.spacing_mm)
    fluid = scene.rng.random() < LEFT_BEHIND
    hu = scene.rng.uniform(*CAVITY_FLUID_HU) if fluid else "fat"
    return scene.with_finding(Finding(level, hu, 10.0, 0))


def rods(scene: Scene) -> Scene:
    """Screw two rods of metal behind the spine, over a part of its length in view."""
    x, y = scene.places()[:2]
    spine = torch.isin(scene.structures(), torch.tensor(VERTEBRAE, device=x.device))
    if not bool(spine.any()):
        return scene
    slices = spine.flatten(1).any(1).nonzero()[:, 0].cpu().numpy()
    length = max(1, round(FEWEST_LEVELS_MM / scene.spacing_mm))
    first = int(scene.rng.choice(slices))
    level = torch.full_like(x, -torch.inf)
    for k in range(first, min(first + length + int(scene.rng.integers(length)), int(slices[-1]) + 1)):
        if not bool(spine[k].any()):
            continue
        middle, back = x[k][spine[k]].mean(), y[k][spine[k]].quantile(0.7) + ROD_BEHIND_MM
        for side in (-1.0, 1.0):
            away = ((x[k] - middle - side * ROD_ASIDE_MM).square() + (y[k] - back).square()).sqrt()
            level[k] = torch.maximum(level[k], ROD_RADIUS_MM - away)
    return _metal(scene, level.clamp(min=-100.0))


def hip_prosthesis(scene: Scene) -> Scene:
    """Make a femur in view of metal, with streaks; it stays femur."""
    x = scene.places()[0]
    femur = scene.structures() == FEMUR
    if not bool(femur.any()):
        return scene
    middle = x[femur].median() if bool((x[femur] < 0).any() and (x[femur] > 0).any()) else torch.zeros(())
    side = femur & ((x > middle) if scene.rng.random() < 0.5 else (x <= middle))
    chosen = side if bool(side.any()) else femur
    return _metal(scene, (chosen.float() * 2 - 1) * scene.spacing_mm)


def _metal(scene: Scene, level: Tensor) -> Scene:
    """Put metal where the level (D, H, W) is above zero, with rays of streaks around it in each slice."""
    metal = level > 0
    scene = scene.with_finding(Finding(level, METAL_HU, 0.0, None, over_bone=True))
    added = torch.zeros_like(level) if scene.added_hu is None else scene.added_hu.clone()
    x, y = scene.places()[:2]
    strength, rays = scene.rng.uniform(*STREAK_HU), int(scene.rng.integers(*STREAK_RAYS))
    for k in metal.flatten(1).any(1).nonzero()[:, 0].tolist():
        across, deep = x[k] - x[k][metal[k]].mean(), y[k] - y[k][metal[k]].mean()
        fading = torch.exp(-(across.square() + deep.square()).sqrt() / STREAK_REACH_MM)
        phase = scene.rng.uniform(0, 2 * np.pi)
        added[k] += strength * fading * torch.sin(rays * torch.atan2(deep, across) + phase)
    return dataclasses.replace(scene, added_hu=added)


def stent(scene: Scene) -> Scene:
    """Put a stent into the wall of a vessel or the oesophagus, over some of its length; the label stays."""
    structures, z = scene.structures(), scene.places()[2]
    shown = [number for number in STENTED if bool((structures == number).any())]
    if not shown:
        return scene
    tube = structures == shown[scene.rng.integers(len(shown))]
    voxel = scene.any_voxel(tube)
    assert voxel is not None  # it is in view
    inner = functional.avg_pool3d(tube[None, None].float(), 3, 1, 1)[0, 0] > 0.99
    half = scene.rng.uniform(*STENT_LENGTH_MM) / 2
    shell = ((tube & ~inner).float() * 2 - 1) * scene.spacing_mm
    level = torch.minimum(shell, half - (z - scene.place_of(voxel)[2]).abs())
    return scene.with_finding(Finding(level, scene.rng.uniform(*STENT_HU), 80.0))
