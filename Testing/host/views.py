"""Slice views and 3-D views: MRML's displayable managers in render windows that need no screen."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SLICE_MANAGERS = (
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
    "vtkMRMLVolumeRenderingDisplayableManager",
)
FIELD_MM = 250.0  # height of what a slice view shows at first
SIZE = (400, 400)  # pixels, until the layout says how large the view is


class View:
    """A render window with the displayable managers of one kind of view."""

    def __init__(self, factory: type, managers: tuple[str, ...], application: slicer.vtkMRMLApplicationLogic) -> None:
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetShowWindow(False)
        self.window.SetMultiSamples(4)
        self.window.SetSize(*SIZE)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetInteractorStyle(self.style())
        self.before_managers()
        factory = factory.GetInstance()
        factory.SetMRMLApplicationLogic(application)
        for manager in managers:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        self.managers.Initialize(factory, self.renderer)

    def style(self) -> vtk.vtkInteractorObserver:
        return vtk.vtkInteractorStyleUser()

    def before_managers(self) -> None:
        """What must be in the renderer before the displayable managers put their actors there."""

    def resize(self, width: int, height: int) -> None:
        """In pixels."""
        self.window.SetSize(width, height)

    def image(self) -> np.ndarray:
        """What the view shows: (height, width, 3), uint8, top row first."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.SetInputBufferTypeToRGB()
        grab.ReadFrontBufferOff()
        grab.ShouldRerenderOff()
        grab.Update()
        width, height, _ = grab.GetOutput().GetDimensions()
        pixels = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
        return np.ascontiguousarray(pixels.reshape(height, width, 3)[::-1])


class SliceView(View):
    """One slice: the volumes blended by the slice logic, with segmentations and transforms drawn over them."""

    def __init__(
        self,
        application: slicer.vtkSlicerApplicationLogic,
        name: str,
        orientation: str,
        colour: tuple[float, float, float],
    ) -> None:
        """`name` is the layout name (Red, Yellow, Green), `orientation` Axial, Sagittal or Coronal, and `colour` red,
        green and blue from 0 to 1."""
        super().__init__(slicer.vtkMRMLSliceViewDisplayableManagerFactory, SLICE_MANAGERS, application)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self._add_overlay()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(application.GetMRMLScene())
        self.node = self.logic.AddSliceNode(name)
        self._orientation = orientation
        self.node.SetOrientation(orientation)
        self.node.SetLayoutLabel(name[0])
        self.node.SetLayoutColor(*colour)
        self.node.SetMappedInLayout(1)
        self.managers.SetMRMLDisplayableNode(self.node)
        self._pointing = slicer.vtkMRMLSliceViewInteractorStyle()  # the mouse moves the crosshair's node, as in Slicer
        self._pointing.SetSliceLogic(self.logic)
        self._pointing.SetDisplayableManagers(self.managers)
        self._pointing.SetInteractor(self.interactor)
        self.resize(*SIZE)
        self._update()
        self.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update)

    def before_managers(self) -> None:
        """The image first: if it came later it would hide the fill of segmentations."""
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._mapper.SetInputData(_black_pixel())
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self._actor)

    def _add_overlay(self) -> None:
        """A second layer, for the displayable managers that draw over everything and for the corner text."""
        overlay = vtk.vtkRenderer()
        overlay.SetLayer(1)
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(overlay)
        self._text = vtk.vtkCornerAnnotation()
        self._text.SetMaximumFontSize(13)
        self._text.SetNonlinearFontScaleFactor(0.35)
        self._text.GetTextProperty().SetShadow(True)
        overlay.AddViewProp(self._text)

    def resize(self, width: int, height: int) -> None:
        super().resize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def fit(self) -> None:
        """Show the whole of the background volume."""
        self.logic.FitSliceToBackground()
        self.logic.SnapSliceOffsetToIJK()

    def reset(self) -> None:
        """The plane and the part of it that an empty scene shows at first."""
        width, height, _ = self.node.GetDimensions()
        self.node.SetOrientation(self._orientation)
        self.node.SetXYZOrigin(0, 0, 0)
        self.node.SetFieldOfView(FIELD_MM * width / height, FIELD_MM, 1)
        self.logic.SetSliceOffset(0)

    def _update(self, *_: object) -> None:
        connection = self.logic.GetImageDataConnection()
        self._actor.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        self._text.SetText(0, "\n".join(self._layers()))

    def _layers(self) -> list[str]:
        composite, scene = self.logic.GetSliceCompositeNode(), self.logic.GetMRMLScene()
        layers = {"F": composite.GetForegroundVolumeID(), "B": composite.GetBackgroundVolumeID()}
        found = {key: scene.GetNodeByID(nodeID) for key, nodeID in layers.items() if nodeID}
        return [f"{key}: {node.GetName()}" for key, node in found.items() if node is not None]


class ThreeDView(View):
    """Surfaces of segmentations, and the grid of a transform."""

    def __init__(self, application: slicer.vtkSlicerApplicationLogic, name: str) -> None:
        super().__init__(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, THREE_D_MANAGERS, application)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(application.GetMRMLScene())
        self.node = self.logic.AddViewNode(name)
        self.node.SetMappedInLayout(1)
        self.managers.SetMRMLDisplayableNode(self.node)

    def style(self) -> vtk.vtkInteractorObserver:
        return vtk.vtkInteractorStyleTrackballCamera()

    def fit(self) -> None:
        """Look at everything, a person's front towards the viewer, and put the box around it."""
        camera, box = self.renderer.GetActiveCamera(), self.node.GetBoxVisible()
        camera.SetFocalPoint(0, 0, 0)
        camera.SetPosition(0, 1, 0)
        camera.SetViewUp(0, 0, 1)
        self.node.SetBoxVisible(False)
        self.node.InvokeEvent(self.node.ResetFocalPointRequestedEvent)
        self.renderer.ResetCamera()
        camera.Zoom(1.25)
        self.node.SetBoxVisible(box)
        self.renderer.ResetCameraClippingRange()


def _black_pixel() -> vtk.vtkImageData:
    image = vtk.vtkImageData()
    image.SetDimensions(1, 1, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    image.GetPointData().GetScalars().Fill(0)
    return image
