"""Convert segmentation nodes to and from label maps of pddnet, layer by layer, so that segments may overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import slicer
import vtk
from slicer.i18n import tr as _

from pddnet.core.image import Image
from pddnet.errors import InputError

from .geometry import (
    arrayFromMatrix,
    ijkToRasOf,
    imageData,
    linearMatrix,
    matrixFromArray,
    matrixFromGrid,
    transformBetween,
    transformToWorld,
    worldImage,
)

BINARY, SURFACE, CONTOURS = "Binary labelmap", "Closed surface", "Planar contour"


@dataclass(frozen=True)
class Segment:
    """Segment of a segmentation: its ID, name and terminology string, and where its voxels are.

    layer: index of the label map that holds it, None where it has no voxels; value: its label in that map.
    """

    id: str
    name: str
    terminology: str
    layer: int | None
    value: int


@dataclass(frozen=True, eq=False)
class SegmentLabels:
    """Segmentation as label maps in the world, LPS mm: one per layer, disjoint labels within each, 0 background.

    The segments are in the order of the segmentation, including those without voxels.
    """

    images: tuple[Image, ...]
    segments: tuple[Segment, ...]


def labelsFromSegmentation(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    referenceVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
    ignoring: slicer.vtkMRMLTransformNode | None = None,
) -> SegmentLabels:
    """Read a segmentation in the world, LPS mm, with its parent transforms applied; the node stays unchanged.

    Args:
        segmentationNode: holds binary label maps (of any geometry, cropped or not, shared or overlapping), or only with
            surfaces, which are turned into label maps in a copy.
        referenceVolume: the volume whose voxels surfaces are converted to; without, those of the volume that the
            segmentation names, or small ones, about 250 along each side of a segment.
        ignoring: as for `volumes.imageFromVolume`; for a moving segmentation
            `registrationParent(segmentationNode, movingVolume)`.

    The arrays are the node's own memory, read-only, unless surfaces were converted or a parent shears or bends them;
    then the nearest voxel is taken, so that labels never mix.

    Raises:
        InputError: the surfaces cannot be converted, or the geometry is not a regular grid.
    """
    segmentation = _withLabelMaps(segmentationNode, referenceVolume)
    to_world = transformToWorld(segmentationNode, ignoring)
    images: list[Image] = []
    layers: dict[str, int] = {}
    for number in range(segmentation.GetNumberOfLayers(BINARY)):
        data = segmentation.GetLayerDataObject(number, BINARY)
        if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
            continue
        layers |= dict.fromkeys(segmentation.GetSegmentIDsForLayer(number, BINARY), len(images))
        matrix = vtk.vtkMatrix4x4()
        data.GetImageToWorldMatrix(matrix)
        try:
            images.append(worldImage(data, arrayFromMatrix(matrix), to_world, labels=True))
        except InputError as error:
            raise InputError(f"{segmentationNode.GetName()}: {error}") from error
    return SegmentLabels(tuple(images), tuple(_segments(segmentation, layers)))


def segmentationFromLabels(
    labels: SegmentLabels,
    outputNode: slicer.vtkMRMLSegmentationNode,
    like: slicer.vtkMRMLSegmentationNode | None,
    referenceVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> None:
    """Store label maps (LPS mm, world) in a segmentation node, replacing its content; it gets no parent transform.

    Args:
        labels: the segments, those of `like` for example warped; all of them are stored, also those without voxels.
        outputNode: a segmentation node of the scene, another one than `like`.
        like: the segmentation whose names, colours, terminology, tags and display the segments get, by their IDs; None:
            they have no other look than `labels` says.
        referenceVolume: its voxels become the reference geometry, for editing and export: the fixed volume.
    """
    segmentation = slicer.vtkSegmentation()
    segmentation.SetSourceRepresentationName(BINARY)
    layers = [_orientedImage(image) for image in labels.images]
    empty = _emptyLabelMap()
    withoutVoxels = 0
    for entry in labels.segments:
        segment = slicer.vtkSegment()
        model = like.GetSegmentation().GetSegment(entry.id) if like is not None else None
        if model is not None:
            segment.DeepCopyMetadata(model)
        else:
            segment.SetName(entry.name)
            segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry.terminology)
        withoutVoxels += entry.layer is None
        segment.SetLabelValue(withoutVoxels if entry.layer is None else entry.value)
        segment.AddRepresentation(BINARY, empty if entry.layer is None else layers[entry.layer])
        segmentation.AddSegment(segment, entry.id)
    modifying = outputNode.StartModify()
    outputNode.SetAndObserveTransformNodeID(None)
    outputNode.SetAndObserveSegmentation(segmentation)
    if referenceVolume is not None:
        outputNode.SetReferenceImageGeometryParameterFromVolumeNode(referenceVolume)
    if outputNode.GetDisplayNode() is None:
        outputNode.CreateDefaultDisplayNodes()
    if outputNode.GetDisplayNode() is not None and like is not None and like.GetDisplayNode() is not None:
        outputNode.GetDisplayNode().CopyContent(like.GetDisplayNode())
    outputNode.EndModify(modifying)


def segmentsOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[Segment]:
    """List the segments by name and terminology alone, as if they had no voxels: none are read or converted."""
    return list(_segments(segmentationNode.GetSegmentation(), {}))


def _segments(segmentation: slicer.vtkSegmentation, layers: dict[str, int]) -> Iterable[Segment]:
    for number in range(segmentation.GetNumberOfSegments()):
        name = segmentation.GetNthSegmentID(number)
        segment = segmentation.GetSegment(name)
        terminology = vtk.reference("")
        segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminology)
        layer = layers.get(name)
        value = 0 if layer is None else int(segment.GetLabelValue())
        yield Segment(name, segment.GetName() or "", str(terminology), layer, value)


def _withLabelMaps(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode | None
) -> slicer.vtkSegmentation:
    """Return the node's segmentation if it has label maps, else a copy of it with label maps."""
    segmentation = node.GetSegmentation()
    if segmentation.GetNumberOfSegments() == 0 or segmentation.ContainsRepresentation(BINARY):
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    geometry = None if volume is None else _referenceGeometry(node, volume)
    if geometry:
        copy.SetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(), geometry)
    if not copy.CreateRepresentation(BINARY):
        raise InputError(
            _("{name}: the segments cannot be turned into label maps; do so in the Segmentations module").format(
                name=node.GetName()
            )
        )
    return copy


def _referenceGeometry(node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode) -> str | None:
    """Return the volume's geometry in the segmentation's own coordinates, in the text format of the converter.

    The converter extends this geometry to wherever a surface is. So where no rectilinear voxels fit, because one of the
    two is bent, the voxels are those of the volume's own coordinates, and only their size matters.
    """
    if volume.GetImageData() is None:
        return None
    matrix = ijkToRasOf(volume)
    between = transformBetween(volume.GetParentTransformNode(), node.GetParentTransformNode())
    if between.IsA("vtkLinearTransform"):
        matrix = linearMatrix(between) @ matrix
    extent = list(volume.GetImageData().GetExtent())
    return slicer.vtkSegmentationConverter.SerializeImageGeometry(matrixFromArray(matrix), extent)


def _orientedImage(image: Image) -> slicer.vtkOrientedImageData:
    oriented = slicer.vtkOrientedImageData()
    oriented.ShallowCopy(imageData(image.array))
    oriented.SetGeometryFromImageToWorldMatrix(matrixFromArray(matrixFromGrid(image.grid)))
    return oriented


def _emptyLabelMap() -> slicer.vtkOrientedImageData:
    """Return a label map without voxels, for segments that have none."""
    empty = slicer.vtkOrientedImageData()
    empty.SetExtent(0, -1, 0, -1, 0, -1)
    empty.AllocateScalars(vtk.VTK_SHORT, 1)
    return empty
