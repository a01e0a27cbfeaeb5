"""What a measurement cannot know but its reader must: landmarks outside the transform, label numbers that differ."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..core.grid import Grid
from ..core.image import Image

MOST_NAMES = 5  # in a sentence


def outside_transform(names: list[str], points: np.ndarray, transform: sitk.Transform) -> list[str]:
    """Warn of points (N, 3), LPS mm, outside the grid of a displacement field, where ITK moves nothing."""
    if transform.GetName() != "DisplacementFieldTransform":
        return []
    grid = Grid.of(sitk.DisplacementFieldTransform(transform).GetDisplacementField())
    outside = [name for name, inside in zip(names, grid.contains(points), strict=True) if not inside]
    if not outside:
        return []
    more = f" and {len(outside) - MOST_NAMES} more" if len(outside) > MOST_NAMES else ""
    return [
        f"{len(outside)} of {len(names)} fixed landmarks lie outside the transform's grid, where it moves nothing: "
        f"{', '.join(outside[:MOST_NAMES])}{more}; check that they belong to this fixed scan (LPS mm)"
    ]


def no_common_label(fixed: Image, moving: Image) -> list[str]:
    """Warn of two label maps that hold labels, but none of the same number."""
    fixed_labels, moving_labels = (np.unique(image.array[image.array > 0]) for image in (fixed, moving))
    if not fixed_labels.size or not moving_labels.size or np.intersect1d(fixed_labels, moving_labels).size:
        return []
    return [
        f"the label maps have no label number in common (fixed {_list(fixed_labels)}, moving {_list(moving_labels)}); "
        "give the same structure the same number in both"
    ]


def _list(labels: np.ndarray) -> str:
    more = f" and {labels.size - MOST_NAMES} more" if labels.size > MOST_NAMES else ""
    return ", ".join(f"{label:g}" for label in labels[:MOST_NAMES]) + more
