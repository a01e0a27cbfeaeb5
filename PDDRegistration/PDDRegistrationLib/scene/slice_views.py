"""Bring the slice views to a place (`centreSlicesOn`) or to the plane of a volume (`turnToVolume`)."""

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


def turnToVolume(logic: slicer.vtkMRMLSliceLogic, volume: slicer.vtkMRMLVolumeNode) -> None:
    """Turn a slice view to the plane of a single slice, or to the nearest axes of a volume, and fit it to the view.

    It stays as it is where a parent bends the volume, which then has no plane.
    """
    parent = volume.GetParentTransformNode()
    if parent is not None and not parent.IsTransformToWorldLinear():
        return
    logic.GetSliceNode().RotateToVolumePlane(volume)
    logic.FitSliceToBackground()
