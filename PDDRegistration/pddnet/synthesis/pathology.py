"""Draw what is wrong with a patient, and paint it (`paint_pathology`); each painter is in a file of its own kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from .bowel import collapsed_bowel, dilated_bowel
from .fluid import ascites, effusion, hydronephrosis
from .masses import aneurysm, mass
from .modality import Modality
from .scene import Scene
from .surgery import hip_prosthesis, resection, rods, stent
from .tissue import MATERIAL_INDEX, to_half_voxels

Painter = Callable[[Scene], Scene]

# What is painted, and in which share of the patients with pathology; what pushes others aside comes first.
PAINTERS: dict[str, tuple[Painter, float]] = {
    "mass": (mass, 0.5),
    "second mass": (mass, 0.25),
    "aneurysm": (aneurysm, 0.08),
    "dilated bowel": (dilated_bowel, 0.15),
    "collapsed bowel": (collapsed_bowel, 0.2),
    "hydronephrosis": (hydronephrosis, 0.1),
    "resection": (resection, 0.12),
    "ascites": (ascites, 0.15),
    "effusion": (effusion, 0.15),
    "rods": (rods, 0.05),
    "hip prosthesis": (hip_prosthesis, 0.06),
    "stent": (stent, 0.06),
}


def draw_pathology(rng: np.random.Generator) -> tuple[str, ...]:
    """Draw which of the PAINTERS a patient with pathology needs: one at least."""
    names = tuple(name for name, (_, share) in PAINTERS.items() if rng.random() < share)
    return names or ("mass",)


def paint_pathology(scene: Scene, names: tuple[str, ...]) -> Scene:
    """Paint the named kinds of pathology; what a view cannot show, as an aneurysm without an aorta, is left out."""
    for name in names:
        scene = PAINTERS[name][0](scene)
    return scene


def paint_findings(scene: Scene, hu: Tensor, body: Tensor, rigid: Tensor, mean: Tensor, modality: Modality) -> Tensor:
    """Paint a scene's findings into values (2D, 2H, 2W) on half voxels, HU in a CT.

    Args:
        body, rigid: (2D, 2H, 2W) bool. mean: (materials,) of the values.
    """
    for finding in scene.findings:
        fine = functional.interpolate(finding.level[None, None], scale_factor=2, mode="trilinear")[0, 0]
        here = (fine > 0) & body & (finding.over_bone | ~rigid)
        if isinstance(finding.hu, str):
            value = float(mean[MATERIAL_INDEX[finding.hu]])
        else:
            value = modality.value(finding.hu, mean)
        hu = torch.where(here, value + finding.texture * scene.noise.white(*hu.shape), hu)
    if scene.added_hu is not None:
        hu = hu + to_half_voxels(scene.added_hu) * body
    return hu
