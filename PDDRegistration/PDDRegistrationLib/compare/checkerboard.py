"""Make a checkerboard: a copy of a volume in which every other tile is transparent and shows the other scan."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..scene.geometry import imageData, voxelArray
from ..scene.proxies import hiddenVolume
from ..scene.scene_changes import SceneChanges

TILES = 8  # along the longest side
FAR = 20  # times the range of values, so that interpolation towards a transparent voxel blurs a twentieth of a voxel


def checkerboardOf(changes: SceneChanges, volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a hidden copy of the volume in which every other cube is transparent; the cube at voxel (0, 0, 0) is opaque.

    The layer behind is drawn as always: under its transform, in its own window and level, without resampling.
    """
    data = voxelArray(volume.GetImageData())
    edges = tileSize(volume) / np.array(volume.GetSpacing())
    copy = hiddenVolume(changes, volume, imageData(tiled(data, edges)), "vtkMRMLScalarVolumeNode")
    copy.SetName(_("{name}, every other tile").format(name=volume.GetName()))
    copy.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    display = copy.GetDisplayNode()
    display.AutoThresholdOff()
    display.SetThreshold(float(data.min()), float(data.max()))
    display.ApplyThresholdOn()
    return copy


def tileSize(volume: slicer.vtkMRMLScalarVolumeNode) -> float:
    """Return the edge length of a tile in mm."""
    return float(np.max(np.multiply(volume.GetImageData().GetDimensions(), volume.GetSpacing()))) / TILES


def tiled(array: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Lower every other box of an array (D, H, W) far below all other values; `edges` (3,) in voxels along i, j, k."""
    low, high = float(array.min()), float(array.max())
    nothing = low - FAR * max(high - low, 1.0)
    small = array.dtype.kind in "iu" and nothing >= np.iinfo(np.int16).min and high <= np.iinfo(np.int16).max
    result = np.empty(array.shape, np.int16 if small else np.float32)
    parity = [np.floor(np.arange(n) / edge).astype(int) & 1 for n, edge in zip(array.shape, edges[::-1], strict=True)]
    in_plane = (parity[1][:, None] + parity[2]) & 1
    for plane, values, odd in zip(result, array, parity[0], strict=True):  # without a mask of the whole
        plane[...] = np.where(in_plane == odd, values, nothing)
    return result
