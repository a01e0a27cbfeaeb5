"""Paint bowel that is wide and full, with levels of gas over fluid, or collapsed."""

from __future__ import annotations

import torch
from torch import Tensor

from ..features.label_table import NUMBER
from .scene import Finding, Scene
from .tissue import GAS_HU, MATERIAL_INDEX

HOLLOW = tuple(NUMBER[name] for name in ("stomach", "colon", "small_bowel"))
LOOPS = (2, 6)  # places along the bowel that widen
WIDER, WIDER_RADIUS_MM = (1.3, 2.2), (22.0, 45.0)
CONTENT_HU = (0.0, 45.0)
GAS_SHARE = (0.0, 1.0)  # of the content: from fluid alone to gas alone


def dilated_bowel(scene: Scene) -> Scene:
    """Widen one of stomach, colon and small bowel in some places, and fill it with fluid and gas above it."""
    number = _one_of(scene)
    if number is None:
        return scene
    for _ in range(scene.rng.integers(*LOOPS)):
        voxel = scene.any_voxel(scene.structures() == number)
        if voxel is not None:
            scene = scene.swollen(scene.place_of(voxel), scene.rng.uniform(*WIDER_RADIUS_MM), scene.rng.uniform(*WIDER))
    lumen = _lumen(scene, number)
    if not bool(lumen.any()):
        return scene
    within = (lumen.float() * 2 - 1) * scene.spacing_mm
    y = scene.places()[1]
    surface = y[lumen].quantile(scene.rng.uniform(*GAS_SHARE))
    scene = scene.with_finding(Finding(within, scene.rng.uniform(*CONTENT_HU), 10.0))
    return scene.with_finding(Finding(torch.minimum(within, surface - y), GAS_HU, 10.0))


def collapsed_bowel(scene: Scene) -> Scene:
    """Empty one of stomach, colon and small bowel: all of it is wall."""
    number = _one_of(scene)
    if number is None:
        return scene
    within = (_lumen(scene, number).float() * 2 - 1) * scene.spacing_mm
    return scene.with_finding(Finding(within, "wall", 12.0))


def _one_of(scene: Scene) -> int | None:
    """Draw one of the hollow organs in view; None without any."""
    structures = scene.structures()
    shown = [number for number in HOLLOW if bool((structures == number).any())]
    return shown[scene.rng.integers(len(shown))] if shown else None


def _lumen(scene: Scene, number: int) -> Tensor:
    """Return the lumen (D, H, W) bool of a hollow organ."""
    codes = scene.codes()
    is_lumen = scene.organs.material_of_code[codes] == MATERIAL_INDEX["lumen"]
    return is_lumen & (scene.organs.structure_of_code[codes] == number)
