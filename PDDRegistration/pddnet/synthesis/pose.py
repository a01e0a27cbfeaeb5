"""Draw a random pose, the spatial augmentation: rotation, scale, smooth displacements, breathing, organ sizes."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..tensor.convert import to_tensor
from .noise import Noise
from .source import Frame

# Standard deviations of what is drawn, wider than real patients differ (see `patient`).
ROTATION_RAD = (0.08, 0.06, 0.06)  # about x, y, z
LOG_SCALE = 0.1  # of the whole body
LOG_SCALE_PER_AXIS = 0.08
CENTRE_ASIDE_MM = (15.0, 12.0)  # x, y
CENTRE_AROUND_ABDOMEN_MM = 60.0  # z
BREATHING_MM = 20.0
LOG_ORGAN_SIZE = 0.25

ABDOMINAL_VIEWS = 0.65  # share of views centred around the upper abdomen; the others anywhere along the body
DEFORMATIONS_MM = ((120.0, 13.0), (60.0, 6.0), (28.0, 2.2))  # length over which each changes, and its size
DEFORMATION_STRENGTH = (0.3, 1.3)  # uniform factor on all of them
SPINE_MARGIN_MM, BREATHING_EDGE_MM = 10.0, 25.0  # what lies in front of the frame's centre breathes, with a soft edge
MOST_RESIZED = 5  # organs a scan
RESIZED_RADIUS_MM = (25.0, 60.0)


def random_pose(frame: Frame, shape: tuple[int, int, int], rng: np.random.Generator, noise: Noise) -> Tensor:
    """Draw a pose: the points (3, D, H, W) LPS mm of the anatomy that the voxels of a scan of `shape` show."""
    points = _affine(_around_zero(shape, noise), rng)
    centre = _random_centre(frame, rng)
    points = _deformable(points, rng, noise)
    points = points + to_tensor(centre, noise.device).view(3, 1, 1, 1)
    points = _breathing(points, frame, rng)
    for _ in range(rng.integers(0, MOST_RESIZED + 1)):
        points = _resize_organ(points, frame, rng)
    return points


def _around_zero(shape: tuple[int, int, int], noise: Noise) -> Tensor:
    """Return x, y, z (3, D, H, W) in mm of the voxels around their middle."""
    axes = [(torch.arange(n, device=noise.device) - (n - 1) / 2) * noise.spacing_mm for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z])


def _affine(points: Tensor, rng: np.random.Generator) -> Tensor:
    """Rotate (rigidly) and scale points (3, D, H, W) about zero."""
    angles = rng.normal(0, ROTATION_RAD)
    scale = np.exp(rng.normal(0, LOG_SCALE) + rng.normal(0, LOG_SCALE_PER_AXIS, 3))
    matrix = to_tensor(Rotation.from_rotvec(angles).as_matrix() / scale, points.device)
    return torch.einsum("ij,j...->i...", matrix, points)


def _random_centre(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Draw the point (3,) LPS mm of the anatomy that the middle of the view shows."""
    if rng.random() < ABDOMINAL_VIEWS:
        height = rng.normal(frame.abdomen, CENTRE_AROUND_ABDOMEN_MM)
    else:
        height = rng.uniform(*frame.levels)
    aside = [rng.normal(0, deviation) for deviation in CENTRE_ASIDE_MM]
    centre = frame.centre + np.array([*aside, 0.0])
    centre[2] = height
    return centre


def _deformable(points: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
    """Add smooth random displacements on three scales to points (3, D, H, W)."""
    shape = tuple(points.shape[1:])
    strength = rng.uniform(*DEFORMATION_STRENGTH)
    for cell_mm, size_mm in DEFORMATIONS_MM:
        points = points + strength * size_mm * noise.smooth(shape, cell_mm, 3)
    return points


def _breathing(points: Tensor, frame: Frame, rng: np.random.Generator) -> Tensor:
    """Move those of the points (3, D, H, W) that lie in front of the spine along it, as in breathing."""
    x, y, z = points
    in_front = torch.sigmoid((float(frame.centre[1]) + SPINE_MARGIN_MM - y) / BREATHING_EDGE_MM)
    return torch.stack([x, y, z + rng.normal(0, BREATHING_MM) * in_front])


def _resize_organ(points: Tensor, frame: Frame, rng: np.random.Generator) -> Tensor:
    """Enlarge or shrink the surroundings of one label, in points (3, D, H, W)."""
    centre = frame.centres[rng.integers(len(frame.centres))]
    offset = points - to_tensor(centre, points.device).view(3, 1, 1, 1)
    radius = rng.uniform(*RESIZED_RADIUS_MM)
    near = torch.exp(-offset.square().sum(0) / (2 * radius**2))
    return points + offset * (rng.normal(0, LOG_ORGAN_SIZE) * near)
