"""Draw a small picture of a registration: the moving scan over the fixed one in three planes, side by side."""

from __future__ import annotations

import numpy as np

from .pictures import Subject, overlay
from .planes import VIEWS
from .png import png

PIXEL_MM = 1.5
GAP = 4  # pixels between two planes


def preview(subject: Subject) -> bytes:
    """Return a PNG file: axial, coronal and sagittal plane, the fixed scan orange, the registered one blue."""
    planes = [overlay(subject, subject.fixed_plane(view, PIXEL_MM), subject.transform) for view in VIEWS]
    height = max(len(plane) for plane in planes)
    columns = [part for plane in planes for part in (_centred(plane, height), np.zeros((height, GAP, 3)))]
    return png(np.concatenate(columns[:-1], axis=1))


def _centred(plane: np.ndarray, height: int) -> np.ndarray:
    above = (height - len(plane)) // 2
    return np.pad(plane, ((above, height - len(plane) - above), (0, 0), (0, 0)))
