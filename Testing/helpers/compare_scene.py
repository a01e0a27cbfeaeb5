"""A registered pair in the host's views, where each pixel is known: a bright cube, and a darker one SHIFT away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers import mrml_geometry as mrml
from helpers.paths import UI

if TYPE_CHECKING:
    from collections.abc import Callable

    from host.host import Host

SIZE = 60  # voxels of 1 mm along each axis, the RAS origin in the middle
CENTRE = (SIZE - 1) / 2
CUBE = slice(20, 40)
SHIFT = np.array([9.0, -6.0, 0.0])  # mm RAS, from the fixed cube to the moving one
FIXED, MOVING = 255, 102  # brightness of the cubes
WINDOW = (1200, 800)
GREEN, BLUE = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


@dataclass
class Pair:
    """The nodes, and how to look at them."""

    host: Host
    fixed: Any
    moving: Any
    fixedSegmentation: Any
    movingSegmentation: Any
    transform: Any

    @property
    def nodes(self) -> tuple:
        return self.fixed, self.moving, self.fixedSegmentation, self.movingSegmentation, self.transform

    def hideSegmentations(self) -> None:
        for segmentation in (self.fixedSegmentation, self.movingSegmentation):
            segmentation.GetSegmentation().RemoveAllSegments()

    def at(self, r: float, a: float, s: float = 0.0, view: str = "Red") -> np.ndarray:
        """(3,) colour, 0..255, of what a view shows at a point, mm RAS."""
        return pixel(self.host, view, self.host.viewImage(view), (r, a, s))


def pixel(host: Host, view: str, image: np.ndarray, point: tuple[float, float, float]) -> np.ndarray:
    """(3,) the colour at a point, RAS, of a view's picture."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(host.layout.sliceWidget(view).mrmlSliceNode().GetXYToRAS(), matrix)
    x, y = matrix.MultiplyPoint((*point, 1.0))[:2]
    return image[image.shape[0] - 1 - round(y), round(x)].astype(int)


def grid_transform(displacement: Callable[[np.ndarray], np.ndarray], name: str = "result"):
    """From parent, sampled every 2 mm from -60 to 60 mm; displacement of RAS points (..., 3), in mm RAS."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    axis = np.arange(-60.0, 61.0, 2.0)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    vectors = np.ascontiguousarray(displacement(np.stack([x, y, z], axis=-1)).reshape(-1, 3), np.float64)
    image = vtk.vtkImageData()
    image.SetDimensions(len(axis), len(axis), len(axis))
    image.SetOrigin(-60, -60, -60)
    image.SetSpacing(2, 2, 2)
    image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=True))
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    grid.SetInterpolationModeToLinear()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    node.SetAndObserveTransformFromParent(grid)
    return node


def make_pair(host: Host, displacement: Callable[[np.ndarray], np.ndarray] | None = None) -> Pair:
    """Both volumes and segmentations; the moving ones under a transform that lays them on the fixed ones."""
    import slicer

    host.window.resize(*WINDOW)
    host.processEvents(0.05)
    volumes = [_volume("fixed", np.zeros(3), 1000), _volume("moving", SHIFT, -200)]
    segmentations = [_segmentation(volumes[0], GREEN), _segmentation(volumes[1], BLUE)]
    transform = grid_transform(displacement or (lambda points: 0 * points + SHIFT))
    for node in (volumes[1], segmentations[1]):
        node.SetAndObserveTransformNodeID(transform.GetID())
    for name in host.layout.sliceViewNames():
        host.layout.sliceWidget(name).sliceLogic().SetSliceOffset(0)
    slicer.util.setSliceViewerLayers(background=volumes[0], foreground=None, label=None, fit=True)
    for name in host.layout.sliceViewNames():
        host.layout.sliceWidget(name).sliceLogic().SetSliceOffset(0)
    return Pair(host, *volumes, *segmentations, transform)


def _volume(name: str, shift: np.ndarray, value: int):
    import slicer

    array = np.full((SIZE, SIZE, SIZE), -1000, np.int16)
    array[CUBE, CUBE, CUBE] = value
    matrix = np.eye(4)
    matrix[:3, 3] = shift - CENTRE
    volume = slicer.util.addVolumeFromArray(array, matrix, name)
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(2000, 0)
    return volume


def _segmentation(volume, colour: tuple[float, float, float]):
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    array = (slicer.util.arrayFromVolume(volume) > -1000).astype(np.uint8)
    data = mrml.vtk_image(array, slicer.vtkOrientedImageData)
    data.SetGeometryFromImageToWorldMatrix(matrix)
    segment = slicer.vtkSegment()
    segment.SetName("organ")
    segment.SetColor(*colour)
    segment.AddRepresentation("Binary labelmap", data)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volume.GetName()} organ")
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    node.GetSegmentation().AddSegment(segment, "organ")
    node.CreateDefaultDisplayNodes()
    return node


def load_panel(host: Host):
    """`ComparePanel` on the widgets of Compare.ui in the host's window; (panel, widget)."""
    import slicer

    from PDDRegistrationLib.ui.compare_panel import ComparePanel

    widget = slicer.util.loadUI(str(UI / "Compare.ui"))
    widget.setMRMLScene(slicer.mrmlScene)
    widget.show()
    return ComparePanel(slicer.util.childWidgetVariables(widget)), widget


def helpers() -> list:
    """The hidden nodes of the tools that are in the scene."""
    import slicer

    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return [node.GetName() for node in nodes if node.GetAttribute("PDDRegistration.Helper")]
