"""Synthesise patients from label maps, on the fly in torch: shape, contrast, content and view are random, labels known.

Training on such scans carries over to real ones when all of these are drawn from wide ranges (Hoffmann et al. 2021,
SynthMorph, doi:10.1109/TMI.2021.3116879; Billot et al. 2023, SynthSeg, doi:10.1016/j.media.2023.102789).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.hounsfield import AIR_HU, FEATURE_RANGE_HU
from ..features.semantic_net import SEMANTIC_SPACING_MM
from .arms_and_table import SKIN_MM, arms
from .hard_views import CHILD, CROPPED, LOW_DOSE, as_child, box_view, low_dose
from .modality import COMPUTED_TOMOGRAPHY, Modality
from .noise import Noise
from .organ_exchange import RIGID_MATERIALS, rearrange_structures
from .pathology import draw_pathology, paint_findings, paint_pathology
from .pose import random_pose
from .random_organs import RandomOrgans
from .scanner import round_field_of_view
from .scene import Scene
from .source import Source
from .tissue import MATERIAL_INDEX, fill_lumen, random_lesions, random_texture, to_half_voxels

HARD_STREAM = 12  # of random numbers, apart from those that paint the healthy patient
HARD_ARMS = 0.2  # share of hard patients with arms beside the trunk, more often than others

REARRANGED = 0.6  # share of patients whose structures move towards, or away from, their positions in another anatomy
REARRANGED_SHARE = (-0.6, 1.0)  # fraction of the way there; negative: away from it
ARMS = 0.12  # share of patients whose arms hang beside the trunk
ROUND_VIEW = 0.15  # share of scans with a round field of view

FAT_MM = (2.0, 32.0)  # mean under the skin of the trunk
FAT_VARIATION_MM = (2.0, 10.0)
FAT_GRAIN_MM = 120.0  # over which it changes
LEAST_FAT_MM = 1.5
WALL_MM = (5.0, 16.0)  # thickness of the trunk's muscle wall, where the map says nothing
MESENTERY_GRAIN_MM = (8.0, 20.0)
MESENTERY_THRESHOLD = (0.2, 2.0)  # of noise of unit variance: from much mesentery to almost none


@dataclass(frozen=True)
class Sample:
    """Scan drawn at random, with its labels.

    Attributes:
        values: (3, D, H, W) float32 as `Scan.values`: HU, body, view.
        structures: (D, H, W) int64, numbers of the common table; -1 where nothing is known.
        codes: (D, H, W) int64, layers of the anatomy that the scan was made from; None where it was made from a scan.
        foreign: (D, H, W) bool, voxels of pathology that is none of the structures; None where it was made from a scan.
        points: (3, D, H, W) LPS mm, the points of the anatomy, or of the scan, that the voxels show.
    """

    values: Tensor
    structures: Tensor
    codes: Tensor | None = None
    foreign: Tensor | None = None
    points: Tensor | None = None


class PatientSource(Source):
    """Source that draws patients: the sampler of training for label maps.

    Attributes:
        hard: share of its patients that are hard; see `synthesise`.
        modality: what the scanner measures.
    """

    hard: float = 0.0
    modality: Modality = COMPUTED_TOMOGRAPHY

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        """Synthesise the scan of this seed; see `synthesise`."""
        hard = np.random.default_rng([seed, HARD_STREAM]).random() < self.hard
        return synthesise(self, shape, seed, hard=hard, modality=self.modality)


def synthesise(
    source: Source, shape: tuple[int, int, int], seed: int, spacing_mm: float = SEMANTIC_SPACING_MM,
    hard: bool = False, pathology: tuple[str, ...] | None = None, modality: Modality = COMPUTED_TOMOGRAPHY,
) -> Sample:  # fmt: skip
    """Synthesise a scan; the result is reproducible for the same arguments, device and version.

    Args:
        shape: (D, H, W) voxels of `spacing_mm`, axes along LPS.
        hard: whether it has pathology, and may be a child's, of low dose, or cut on all sides.
        pathology: the names of what a hard patient has (see `pathology.PAINTERS`); None: drawn at random.
        modality: what the scanner measures: HU, or the signals of MR, scaled to -1000..0.
    """
    rng, hard_rng = np.random.default_rng(seed), np.random.default_rng([seed, HARD_STREAM])
    noise = Noise(seed, source.device, spacing_mm)
    points = random_pose(source.frame, shape, rng, noise)
    organs = RandomOrgans.draw(source, rng)
    if source.others and rng.random() < REARRANGED:
        other = source.others[int(rng.integers(len(source.others)))]
        points = rearrange_structures(points, source.structures, other.structures, rng.uniform(*REARRANGED_SHARE))
    if hard and hard_rng.random() < CHILD:
        points = as_child(points, hard_rng)
    scene = Scene(organs, points, spacing_mm, hard_rng, Noise(HARD_STREAM + seed, source.device, spacing_mm))
    if hard:
        scene = paint_pathology(scene, draw_pathology(hard_rng) if pathology is None else pathology)
        points = scene.points
    hu, body = _paint(scene, rng, noise, HARD_ARMS if hard else ARMS, modality)
    hu = functional.avg_pool3d(hu[None, None], 2)[0, 0]
    body = functional.avg_pool3d(body[None, None].float(), 2)[0, 0] > 0.5
    hu = modality.scan(hu, body, rng, noise)
    if hard and hard_rng.random() < LOW_DOSE:
        hu = low_dose(hu, hard_rng, scene.noise)
    hu = torch.where(body, hu.clamp(*FEATURE_RANGE_HU), AIR_HU)
    view = source.in_view(points)
    if rng.random() < ROUND_VIEW:
        view = view * round_field_of_view(shape, rng, source.device)
    if hard and hard_rng.random() < CROPPED:
        view = view * box_view(shape, hard_rng, source.device)
    hu = torch.where(view > 0, hu, AIR_HU)
    body = body & (view > 0)
    codes = organs.own_code[scene.labelled(organs.codes_at(points) * body, body)]
    codes = torch.where(organs.missing[codes], 0, codes)
    foreign = scene.foreign() & body & (codes == 0)
    return Sample(torch.stack([hu, body.float(), view]), organs.structure_of_code[codes], codes, foreign, points)


def _paint(
    scene: Scene, rng: np.random.Generator, noise: Noise, arm_share: float, modality: Modality
) -> tuple[Tensor, Tensor]:
    """Paint HU (signals of MR) and body (bool) of a scene on half voxels (2D, 2H, 2W).

    Edges are painted on half voxels, so that voxels at an edge mix tissues by volume; smooth fields are computed on
    whole voxels.
    """
    organs, points, shape = scene.organs, scene.points, scene.shape
    fine_points = functional.interpolate(points[None], scale_factor=2, mode="trilinear", align_corners=False)[0]
    labelled = organs.material_of_code[organs.codes_at(fine_points)]
    fat = _random_fat(shape, rng, noise)
    above_wall, above_fat = _heights(organs.source, points, fat)
    between = _between_labels(above_wall, above_fat, shape, rng, noise)
    material = torch.where(labelled < 0, between, labelled)
    body = (labelled >= 0) | (above_fat < 0)
    if rng.random() < arm_share:
        material, body = _add_arms(organs.source, fine_points, material, body, float(fat.mean()), rng)
    mean, texture = modality.contrast(rng, points.device)
    hu = mean[material] + texture[material] * random_texture(shape, noise)
    lumen = material == MATERIAL_INDEX["lumen"]
    hu = fill_lumen(hu, lumen, points, rng, noise, modality.content, modality.gas)
    hu += to_half_voxels(random_lesions(points, rng)) * (body & (material != MATERIAL_INDEX["lung"]))
    rigid = torch.isin(labelled, torch.tensor([MATERIAL_INDEX[name] for name in RIGID_MATERIALS], device=hu.device))
    hu = paint_findings(scene, hu, body, rigid, mean, modality)
    return torch.where(body, hu, AIR_HU), body


def _random_fat(shape: tuple[int, ...], rng: np.random.Generator, noise: Noise) -> Tensor:
    """Draw the thickness (D, H, W) in mm of the fat under the skin, which varies over the body."""
    mean, variation = rng.uniform(*FAT_MM), rng.uniform(*FAT_VARIATION_MM)
    thickness = mean + variation * noise.smooth(shape, FAT_GRAIN_MM)[0]
    return thickness.clamp(min=LEAST_FAT_MM)


def _heights(source: Source, points: Tensor, fat: Tensor) -> tuple[Tensor, Tensor]:
    """Compute heights (2D, 2H, 2W) in mm above the trunk's wall, and above the fat (D, H, W; mm) that lies on it."""
    height = source.height_above_wall(points)
    both = torch.stack([height, height - fat])[None]
    above_wall, above_fat = functional.interpolate(both, scale_factor=2, mode="trilinear")[0]
    return above_wall, above_fat


def _between_labels(
    above_wall: Tensor, above_fat: Tensor, shape: tuple[int, ...], rng: np.random.Generator, noise: Noise
) -> Tensor:
    """Draw materials (2D, 2H, 2W) where the map has no label: fat with mesentery in it, the muscle wall, fat, skin."""
    wall = -rng.uniform(*WALL_MM)
    field = noise.smooth(shape, rng.uniform(*MESENTERY_GRAIN_MM))[0]
    mesentery = to_half_voxels(field > rng.uniform(*MESENTERY_THRESHOLD))
    material = torch.where(mesentery, MATERIAL_INDEX["mesentery"], MATERIAL_INDEX["fat"])
    material[above_wall > wall] = MATERIAL_INDEX["muscle"]
    material[above_wall > 0] = MATERIAL_INDEX["fat"]
    material[above_fat > -SKIN_MM] = MATERIAL_INDEX["skin"]
    return material


def _add_arms(
    source: Source, points: Tensor, material: Tensor, body: Tensor, fat_mm: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Add arms where there was no body; return material and body."""
    outside = ~body
    for name, mask in arms(points, source.height_above_wall, source.frame.centre, fat_mm, rng).items():
        material = torch.where(outside & mask, MATERIAL_INDEX[name], material)
        body = body | mask
    return material, body
