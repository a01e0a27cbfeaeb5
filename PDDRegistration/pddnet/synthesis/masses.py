"""Paint cysts and masses of 2 to 15 cm in and beside organs, and aneurysms of the aorta."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..features.label_table import NUMBER
from .scene import Finding, Scene
from .tissue import MATERIAL_INDEX

RADIUS_MM = (10.0, 75.0)
UNROUND = 0.15  # standard deviation of the logarithm of each half axis
LUMPS, LUMP_MM = 0.1, 30.0  # of the surface, as a share of the radius, and over which it changes
PUSHES = (0.2, 0.9)  # share of its volume for which the surroundings make room; the rest it replaces

BESIDE = 0.55  # share that lies beside an organ and not in it
GAP = (0.75, 1.05)  # radii from the organ's surface to the centre of what lies beside it
TILT = 0.2  # standard deviation of the direction of what lies beside an organ, from straight outwards
FURTHEST_MM = 150.0  # to the surface of an organ, along a line from a voxel of it
TRIES = 6  # places, until one lies within the body

CYST = 0.55  # share; others are solid
CYST_HU, CYST_TEXTURE_HU = (-8.0, 25.0), (3.0, 8.0)
SOLID_HU, SOLID_TEXTURE_HU = (15.0, 110.0), (8.0, 30.0)
FATTY, FATTY_HU = 0.08, (-110.0, -40.0)
CORE, CORE_SHARE = 0.5, (0.4, 0.85)  # of the solid ones: share with a fluid core, and its part of the radius
RIM, RIM_MM, RIM_HU = 0.12, 3.0, (200.0, 700.0)  # calcified

HOSTS = tuple(
    NUMBER[name]
    for name in (
        "liver", "kidney", "spleen", "pancreas", "adrenal_gland", "stomach", "colon", "small_bowel", "bladder", "lung",
        "psoas", "gallbladder", "heart",
    )
)  # fmt: skip
KIDNEY, AORTA = NUMBER["kidney"], NUMBER["aorta"]
# Up to which radius in mm experts outline an organ together with what has grown in it: a liver keeps its shape around
# a large mass, what is larger than a pancreas is no part of it. The cysts of a kidney are always left out.
LARGEST_WITHIN_MM = {NUMBER["liver"]: 75.0, NUMBER["spleen"]: 60.0, KIDNEY: 40.0, NUMBER["heart"]: 30.0}
LARGEST_WITHIN_OTHERS_MM = 18.0

ANEURYSM_RADIUS_MM, ANEURYSM_LENGTH = (17.0, 45.0), (1.2, 2.2)  # length in radii
ANEURYSM_FORWARD = 0.6  # radii: the spine is behind it
THROMBUS_HU, LUMEN_SHARE = (20.0, 55.0), (0.5, 0.95)


def mass(scene: Scene) -> Scene:
    """Paint a cyst or a mass in or beside an organ that is in view."""
    rng = scene.rng
    structures = scene.structures()
    hosts = [number for number in HOSTS if bool((structures == number).any())]
    if not hosts:
        return scene
    host = hosts[rng.integers(len(hosts))]
    radius = float(np.exp(rng.uniform(*np.log(RADIUS_MM))))
    inside = structures == host
    if rng.random() < BESIDE:
        centre = _place_beside(scene, inside, radius)
        code: int | None = 0
    else:
        voxel = scene.any_voxel(inside)
        centre = None if voxel is None else scene.place_of(voxel)
        code = None
    if centre is None:
        return scene
    cystic = rng.random() < CYST
    if code is None:
        code = _code_within(scene, host, radius, cystic)
    return grown(scene, centre, radius, code, cystic)


def grown(scene: Scene, centre: Tensor, radius_mm: float, code: int, cystic: bool) -> Scene:
    """Paint a cyst or a solid mass around a place (3,), whose voxels are labelled with a code."""
    rng = scene.rng
    radii = torch.tensor(radius_mm * np.exp(rng.normal(0, UNROUND, 3)), dtype=torch.float32, device=centre.device)
    scene = scene.pushed_aside(centre, radii * rng.uniform(*PUSHES) ** (1 / 3))
    lumps = 1 + LUMPS * scene.noise.smooth(scene.shape, LUMP_MM)[0]
    level = ellipsoid(scene, centre, radii, lumps)
    if cystic:
        scene = scene.with_finding(Finding(level, rng.uniform(*CYST_HU), rng.uniform(*CYST_TEXTURE_HU), code))
    else:
        hu = rng.uniform(*(FATTY_HU if rng.random() < FATTY else SOLID_HU))
        scene = scene.with_finding(Finding(level, hu, rng.uniform(*SOLID_TEXTURE_HU), code))
        if rng.random() < CORE:
            core = level - radius_mm * (1 - rng.uniform(*CORE_SHARE))
            scene = scene.with_finding(Finding(core, rng.uniform(*CYST_HU), rng.uniform(*SOLID_TEXTURE_HU), code))
    if rng.random() < RIM:
        shell = torch.minimum(level, RIM_MM - level)
        scene = scene.with_finding(Finding(shell, rng.uniform(*RIM_HU), 60.0, code))
    return scene


def ellipsoid(scene: Scene, centre: Tensor, radii_mm: Tensor, lumps: Tensor | float = 1.0) -> Tensor:
    """Compute the level (D, H, W) of an ellipsoid around a place (3,): about the mm below its surface.

    Args:
        radii_mm: (3,) along x, y, z. lumps: factor (D, H, W) on them.
    """
    away = ((scene.places() - centre.view(3, 1, 1, 1)) / radii_mm.view(3, 1, 1, 1)).norm(dim=0)
    return (lumps - away) * radii_mm.mean()


def aneurysm(scene: Scene) -> Scene:
    """Widen the aorta somewhere, with thrombus around what still flows; all of it stays aorta."""
    rng = scene.rng
    voxel, code = scene.any_voxel(scene.structures() == AORTA), scene.code_of(AORTA)
    if voxel is None or code is None:
        return scene
    radius, length = rng.uniform(*ANEURYSM_RADIUS_MM), rng.uniform(*ANEURYSM_LENGTH)
    radii = torch.tensor([radius, radius, radius * length], dtype=torch.float32, device=voxel.device)
    forward = torch.tensor([0.0, -ANEURYSM_FORWARD * radius, 0.0], device=voxel.device)
    centre = scene.place_of(voxel) + forward
    scene = scene.pushed_aside(centre, radii)
    level = ellipsoid(scene, centre, radii)
    scene = scene.with_finding(Finding(level, rng.uniform(*THROMBUS_HU), 6.0, code))
    flow = level - radius * (1 - rng.uniform(*LUMEN_SHARE))
    return scene.with_finding(Finding(flow, "artery", 6.0, code))


def _place_beside(scene: Scene, organ: Tensor, radius_mm: float) -> Tensor | None:
    """Draw a place (3,) beside an organ (D, H, W) bool, so that what lies there touches it; None where none is found.

    It lies in the body, and not within bone or lung.
    """
    material = scene.organs.material_of_code[scene.codes()]
    body = (material >= 0) | (scene.organs.source.height_above_wall(scene.points) < 0)
    free = body & ~scene.is_rigid(scene.codes()) & (material != MATERIAL_INDEX["lung"])
    middle = organ.nonzero().float().mean(0).cpu().numpy()
    for _ in range(TRIES):
        voxel = scene.any_voxel(organ)
        if voxel is None:
            return None
        start = voxel.cpu().numpy()
        outward = (start - middle)[::-1] / max(np.linalg.norm(start - middle), 1.0)
        direction = outward + scene.rng.normal(0, TILT, 3)
        direction /= np.linalg.norm(direction)
        distance = _to_surface_mm(scene, organ, start, direction) + scene.rng.uniform(*GAP) * radius_mm
        end = np.rint(start + direction[::-1] * distance / scene.spacing_mm).astype(int)
        if (end >= 0).all() and (end < scene.shape).all() and bool(free[tuple(end.tolist())]):
            return scene.place_of(torch.tensor(end, device=voxel.device))
    return None


def _to_surface_mm(scene: Scene, organ: Tensor, start: np.ndarray, direction: np.ndarray) -> float:
    """Return the mm from a voxel (k, j, i) along a direction (x, y, z) to where an organ (D, H, W) ends last."""
    steps = np.arange(0.0, FURTHEST_MM, scene.spacing_mm / 2)
    line = np.rint(start + steps[:, None] * direction[::-1] / scene.spacing_mm).astype(int)
    within = ((line >= 0) & (line < scene.shape)).all(1)
    k, j, i = torch.tensor(line[within], device=organ.device).T
    here = organ[k, j, i].nonzero()
    return float(steps[within][int(here[-1, 0])])


def _code_within(scene: Scene, host: int, radius_mm: float, cystic: bool) -> int:
    """Return the code of what lies within an organ: the organ's, or 0 where experts leave it out of the outline."""
    too_large = radius_mm > LARGEST_WITHIN_MM.get(host, LARGEST_WITHIN_OTHERS_MM)
    return 0 if too_large or (host == KIDNEY and cystic) else scene.code_of(host) or 0
