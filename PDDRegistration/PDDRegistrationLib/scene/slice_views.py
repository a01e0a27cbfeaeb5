"""Bring the slice views to a place (`centreSlicesOn`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from .geometry import RAS_LPS


def centreSlicesOn(scene: slicer.vtkMRMLScene, point: Sequence[float]) -> None:
    """Centre all slice views on a point of the world, (3,) LPS mm."""
    right, anterior, superior = (RAS_LPS * np.asarray(point, float)).tolist()
    centred = slicer.vtkMRMLSliceNode.CenteredJumpSlice
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, right, anterior, superior, centred)
