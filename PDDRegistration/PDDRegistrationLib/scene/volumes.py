"""Convert volume nodes to and from pddnet's images. MRML is in RAS and pddnet in LPS, both in mm."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError

from .geometry import (
    ijkToRasOf,
    imageData,
    matrixFromArray,
    matrixFromGrid,
    transformToWorld,
    voxelArray,
    worldImage,
)

DOSE = "DicomRtImport.DoseVolume"
"""Node attribute by which SlicerRT marks the volume of a radiotherapy dose."""


def imageFromVolume(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, ignoring: slicer.vtkMRMLTransformNode | None = None
) -> Image:
    """Read a volume in the world: an `Image` in LPS mm with its parent transforms applied; the node stays unchanged.

    Args:
        volumeNode: any scalar or label map volume, its axes left-handed, oblique or unequal.
        ignoring: a transform in its chain of parents that is left out, with all above it. Before a volume is registered
            again that is `registrationParent(volumeNode)`; otherwise the volume would be read at the position that the
            last result gave it.

    Without a parent, or under rotations, translations and scales along its axes, the array (D, H, W) is the node's own
    memory, read-only: use it before the node changes. Under a shear or a non-linear parent the volume is resampled
    (label maps to the nearest voxel) onto a grid of its spacing that covers it; outside it there is the volume's
    lowest value, in CT -1024 if that is lower; outside a radiotherapy dose there is 0.

    Raises:
        InputError: the volume has no voxels, holds colours or vectors, or its geometry is not a regular grid.
    """
    data = _scalars(volumeNode)
    labels = bool(volumeNode.IsA("vtkMRMLLabelMapVolumeNode"))
    outside = 0.0 if volumeNode.GetAttribute(DOSE) else None
    to_world = transformToWorld(volumeNode, ignoring)
    try:
        return worldImage(data, ijkToRasOf(volumeNode), to_world, labels=labels, outside=outside)
    except InputError as error:
        raise InputError(f"{volumeNode.GetName()}: {error}") from error


def isSingleSlice(volumeNode: slicer.vtkMRMLVolumeNode) -> bool:
    """Return whether exactly one axis of the volume is one voxel long: it is a 2-D image."""
    data = volumeNode.GetImageData()
    return data is not None and data.GetDimensions().count(1) == 1


def updateVolumeFromImage(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, image: Image, like: slicer.vtkMRMLScalarVolumeNode | None = None
) -> None:
    """Store the voxels and the geometry (LPS mm) of an `Image` in a volume node, without a parent transform.

    like: the volume whose scalar type, window, level and colours it gets; without, it gets the image's type and keeps
    its display.
    """
    voxels = imageData(image.array, _scalarType(like) if like is not None else None)
    _fill(volumeNode, voxels, image.grid, like)


def copyDisplay(display: slicer.vtkMRMLDisplayNode, model: slicer.vtkMRMLDisplayNode) -> None:
    """Copy the content of another display node: colours and opacity; of a volume also window and level, held fixed."""
    display.CopyContent(model)
    if model.IsA("vtkMRMLScalarVolumeDisplayNode"):
        display.AutoWindowLevelOff()  # an automatic window would follow the voxels that the copy shows
        display.SetWindowLevel(model.GetWindow(), model.GetLevel())


def _scalars(volume: slicer.vtkMRMLScalarVolumeNode) -> vtk.vtkImageData:
    data = volume.GetImageData()
    name = volume.GetName()
    if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
        raise InputError(_("{name}: the volume has no voxels; load or choose another one").format(name=name))
    count = data.GetNumberOfScalarComponents()
    if count != 1:
        raise InputError(
            _(
                "{name}: the volume has {count} values per voxel (vectors or colour); give a volume with one, "
                "such as the Vector to Scalar Volume module makes"
            ).format(name=name, count=count)
        )
    return data


def _scalarType(volume: slicer.vtkMRMLScalarVolumeNode) -> np.dtype:
    return voxelArray(_scalars(volume)).dtype


def _fill(
    volume: slicer.vtkMRMLScalarVolumeNode,
    voxels: vtk.vtkImageData,
    grid: Grid,
    like: slicer.vtkMRMLScalarVolumeNode | None,
) -> None:
    modifying = volume.StartModify()
    volume.SetAndObserveTransformNodeID(None)
    volume.SetIJKToRASMatrix(matrixFromArray(matrixFromGrid(grid)))
    if volume.GetDisplayNode() is None:
        volume.CreateDefaultDisplayNodes()
    if like is not None:  # before the voxels: an automatic window would be worked out from all of them
        _copyQuantityAndDisplay(volume, like)
    volume.SetAndObserveImageData(voxels)
    volume.EndModify(modifying)


def _copyQuantityAndDisplay(volume: slicer.vtkMRMLScalarVolumeNode, like: slicer.vtkMRMLScalarVolumeNode) -> None:
    volume.SetVoxelValueQuantity(like.GetVoxelValueQuantity())
    volume.SetVoxelValueUnits(like.GetVoxelValueUnits())
    if volume.GetDisplayNode() is not None and like.GetDisplayNode() is not None:
        copyDisplay(volume.GetDisplayNode(), like.GetDisplayNode())
