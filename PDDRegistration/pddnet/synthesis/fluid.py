"""Paint fluid where it does not belong: ascites, pleural effusion, a kidney whose urine cannot leave."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..features.label_table import NUMBER
from .masses import ellipsoid
from .scene import Finding, Scene

LIVER, LUNG, KIDNEY = (NUMBER[name] for name in ("liver", "lung", "kidney"))
FLUID_HU, FLUID_TEXTURE_HU = (-5.0, 30.0), (3.0, 8.0)

UNDER_WALL_MM = 8.0  # where the abdominal cavity begins
MESENTERY_MM = 35.0  # over which fluid and mesentery change
MUCH_ASCITES = (-1.5, 0.8)  # level of a field of unit variance: from nearly all fluid to some pockets
BEHIND_MM = 15.0  # how far behind the body's middle fluid reaches: the kidneys lie outside the cavity
BELOW_LUNG_MM = 12.0

EFFUSION_SHARE = (0.05, 0.75)  # of a lung's volume
EFFUSION_RISE = 0.3  # mm that its surface rises to the back for a mm towards the head
EFFUSION_WAVE_MM = 8.0
COLLAPSED_MM, COLLAPSED_HU = (0.0, 25.0), (20.0, 110.0)  # lung over the fluid

KIDNEY_SWELLING, KIDNEY_RADIUS_MM = (1.05, 1.5), 50.0
RIND_MM = (2.0, 9.0)  # of kidney around its calyces
PELVIS_RADIUS_MM = (9.0, 24.0)
TO_PELVIS_MM = 22.0  # from the kidney's middle towards the body's
URINE_HU = (-2.0, 15.0)


def ascites(scene: Scene) -> Scene:
    """Fill the abdominal cavity around its organs with fluid, all or in pockets; it is none of the structures."""
    structures = scene.structures()
    organs, lung = (structures > 0).nonzero(), structures == LUNG
    if not len(organs) or not bool((structures == LIVER).any()):
        return scene
    y, z = scene.places()[1:]
    height = scene.organs.source.height_above_wall(scene.points)
    spine_y = float(y[structures > 0].median()) + BEHIND_MM
    cavity = torch.minimum(-UNDER_WALL_MM - height, spine_y - y)
    cavity = torch.minimum(cavity, float(z[structures == LIVER].max()) - z)
    near_lung = _dilated(lung, round(BELOW_LUNG_MM / scene.spacing_mm))
    free = (scene.codes() == 0) & ~near_lung
    field = scene.noise.smooth(scene.shape, MESENTERY_MM)[0] - scene.rng.uniform(*MUCH_ASCITES)
    level = torch.minimum(torch.minimum(cavity, field * scene.spacing_mm), _signed(free) * scene.spacing_mm)
    return scene.with_finding(_fluid(scene, level))


def effusion(scene: Scene) -> Scene:
    """Fill the back of one lung or both with fluid, which is lung no longer, under a layer of collapsed lung."""
    places, structures = scene.places(), scene.structures()
    lung = structures == LUNG
    if not bool(lung.any()):
        return scene
    middle = float(places[0][structures > 0].median())
    sides = [lung & (places[0] < middle), lung & (places[0] >= middle)]
    which = scene.rng.integers(3)  # right, left, both
    for side in [sides[which]] if which < 2 else sides:
        if bool(side.any()):
            scene = _effusion_of(scene, side, scene.rng.uniform(*EFFUSION_SHARE))
    return scene


def _effusion_of(scene: Scene, lung: Tensor, share: float) -> Scene:
    """Fill a share of a lung (D, H, W) bool with fluid: its back and base."""
    places = scene.places()
    depth = places[1] - EFFUSION_RISE * places[2]
    depth = depth + EFFUSION_WAVE_MM * scene.noise.smooth(scene.shape, 60.0)[0]
    surface = depth[lung].quantile(1 - share)
    within = _signed(lung) * scene.spacing_mm
    collapsed = torch.minimum(depth - surface + scene.rng.uniform(*COLLAPSED_MM), within)
    scene = scene.with_finding(Finding(collapsed, scene.rng.uniform(*COLLAPSED_HU), 20.0))
    return scene.with_finding(_fluid(scene, torch.minimum(depth - surface, within)))


def hydronephrosis(scene: Scene) -> Scene:
    """Swell a kidney with urine, which stays kidney within its rind, and its pelvis, which is no structure."""
    structures, places = scene.structures(), scene.places()
    middle = float(places[0][structures > 0].median()) if bool((structures > 0).any()) else 0.0
    side = scene.rng.choice([-1.0, 1.0])
    kidney = (structures == KIDNEY) & (side * (places[0] - middle) > 0)
    if not bool(kidney.any()):
        return scene
    centre = places[:, kidney].mean(1)
    scene = scene.swollen(centre, KIDNEY_RADIUS_MM, scene.rng.uniform(*KIDNEY_SWELLING))
    swollen = (scene.structures() == KIDNEY) & (side * (places[0] - middle) > 0)
    steps = max(1, round(scene.rng.uniform(*RIND_MM) / scene.spacing_mm))
    calyces = _signed(~_dilated(~swollen, steps)) * scene.spacing_mm
    hu = scene.rng.uniform(*URINE_HU)
    scene = scene.with_finding(Finding(calyces, hu, 4.0))
    towards = torch.tensor([-side * TO_PELVIS_MM, 0.0, 0.0], device=centre.device)
    radii = torch.full((3,), scene.rng.uniform(*PELVIS_RADIUS_MM), device=centre.device)
    pelvis = torch.minimum(ellipsoid(scene, centre + towards, radii), _signed(scene.codes() == 0) * scene.spacing_mm)
    return scene.with_finding(Finding(pelvis, hu, 4.0, 0))


def _fluid(scene: Scene, level: Tensor) -> Finding:
    """Make a finding of fluid, which is none of the structures."""
    return Finding(level, scene.rng.uniform(*FLUID_HU), scene.rng.uniform(*FLUID_TEXTURE_HU), 0)


def _signed(mask: Tensor) -> Tensor:
    """Return 1 within a mask (D, H, W) and -1 outside."""
    return mask.float() * 2 - 1


def _dilated(mask: Tensor, steps: int) -> Tensor:
    """Return a mask (D, H, W) bool, wider by so many voxels on all sides."""
    return functional.max_pool3d(mask[None, None].float(), 2 * steps + 1, 1, steps)[0, 0] > 0.5
