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
from .noise import Noise
from .organ_exchange import rearrange_structures
from .pose import random_pose
from .random_organs import RandomOrgans
from .scanner import round_field_of_view, simulate_scanner
from .source import Source
from .tissue import MATERIAL_INDEX, fill_lumen, random_contrast, random_lesions, random_texture, to_half_voxels

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
    """

    values: Tensor
    structures: Tensor
    codes: Tensor | None = None


class PatientSource(Source):
    """Source that draws patients: the sampler of training for label maps."""

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        """Synthesise the scan of this seed; see `synthesise`."""
        return synthesise(self, shape, seed)


def synthesise(
    source: Source, shape: tuple[int, int, int], seed: int, spacing_mm: float = SEMANTIC_SPACING_MM
) -> Sample:
    """Synthesise a scan; the result is reproducible for the same anatomy, shape, spacing, seed, device and version.

    Args:
        shape: (D, H, W) voxels of `spacing_mm`, axes along LPS.
    """
    rng = np.random.default_rng(seed)
    noise = Noise(seed, source.device, spacing_mm)
    points = random_pose(source.frame, shape, rng, noise)
    organs = RandomOrgans.draw(source, rng)
    if source.others and rng.random() < REARRANGED:
        other = source.others[int(rng.integers(len(source.others)))]
        points = rearrange_structures(points, source.structures, other.structures, rng.uniform(*REARRANGED_SHARE))
    hu, body = _paint(organs, points, rng, noise)
    hu = functional.avg_pool3d(hu[None, None], 2)[0, 0]
    body = functional.avg_pool3d(body[None, None].float(), 2)[0, 0] > 0.5
    hu = simulate_scanner(hu, rng, noise)
    hu = torch.where(body, hu.clamp(*FEATURE_RANGE_HU), AIR_HU)
    view = source.in_view(points)
    if rng.random() < ROUND_VIEW:
        view = view * round_field_of_view(shape, rng, source.device)
    hu = torch.where(view > 0, hu, AIR_HU)
    body = body & (view > 0)
    codes = organs.own_code[organs.codes_at(points) * body]
    codes = torch.where(organs.missing[codes], 0, codes)
    return Sample(torch.stack([hu, body.float(), view]), organs.structure_of_code[codes], codes)


def _paint(organs: RandomOrgans, points: Tensor, rng: np.random.Generator, noise: Noise) -> tuple[Tensor, Tensor]:
    """Paint HU and body (bool) on half voxels (2D, 2H, 2W), of points (3, D, H, W) LPS mm.

    Edges are painted on half voxels, so that voxels at an edge mix tissues by volume; smooth fields are computed on
    whole voxels.
    """
    shape = tuple(points.shape[1:])
    fine_points = functional.interpolate(points[None], scale_factor=2, mode="trilinear", align_corners=False)[0]
    labelled = organs.material_of_code[organs.codes_at(fine_points)]
    fat = _random_fat(shape, rng, noise)
    above_wall, above_fat = _heights(organs.source, points, fat)
    between = _between_labels(above_wall, above_fat, shape, rng, noise)
    material = torch.where(labelled < 0, between, labelled)
    body = (labelled >= 0) | (above_fat < 0)
    if rng.random() < ARMS:
        material, body = _add_arms(organs.source, fine_points, material, body, float(fat.mean()), rng)
    mean, texture = random_contrast(rng, points.device)
    hu = mean[material] + texture[material] * random_texture(shape, noise)
    hu = fill_lumen(hu, material == MATERIAL_INDEX["lumen"], points, rng, noise)
    hu += to_half_voxels(random_lesions(points, rng)) * (body & (material != MATERIAL_INDEX["lung"]))
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
