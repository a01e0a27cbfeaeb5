"""A scripted module that tries the host: it lays a wave over the moving volume."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import slicer
import vtk
from slicer import vtkMRMLGridTransformNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class HostExample(ScriptedLoadableModule):
    """The module."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Host Example")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.helpText = _("Tries the host.")
        slicer.app.connect("startupCompleted()", lambda: None)


@parameterNodeWrapper
class HostExampleParameterNode:
    """What the panel shows, kept in the scene."""

    movingVolume: vtkMRMLScalarVolumeNode | None
    segmentation: vtkMRMLSegmentationNode | None
    outputTransform: vtkMRMLGridTransformNode | None
    amplitude: Annotated[float, WithinRange(0.0, 50.0), Default(12.0)]
    waves: Annotated[int, WithinRange(1, 9)] = 2
    axis: Annotated[str, Choice(["x", "y", "z"])] = "x"
    title: str = "a wave"
    applyToSegmentation: bool = True


class HostExampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters = None
        self.guiTag = None
        self.cleanedUp = False

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/HostExample.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = HostExampleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.initialize()

    def enter(self) -> None:
        self.initialize()

    def exit(self) -> None:
        self.setParameters(None)

    def cleanup(self) -> None:
        self.setParameters(None)
        self.removeObservers()
        self.cleanedUp = True

    def onSceneStartClose(self, caller, event) -> None:
        self.setParameters(None)

    def onSceneEndClose(self, caller, event) -> None:
        if self.parent.isEntered:
            self.initialize()

    def initialize(self) -> None:
        self.setParameters(HostExampleParameterNode(self.logic.getParameterNode()))

    def setParameters(self, parameters) -> None:
        if self.parameters:
            self.parameters.disconnectGui(self.guiTag)
            self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.check)
        self.parameters = parameters
        if self.parameters:
            self.guiTag = self.parameters.connectGui(self.ui)
            self.addObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.check)
            self.check()

    def check(self, caller=None, event=None) -> None:
        ready = self.parameters.movingVolume is not None
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Lay the wave over the volume") if ready else _("Select a moving volume")

    def onApply(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The wave failed."), waitCursor=True):
            parameters = self.parameters
            if parameters.outputTransform is None:
                parameters.outputTransform = self.ui.outputTransformSelector.addNode()
            self.logic.process(
                parameters.movingVolume,
                parameters.outputTransform,
                parameters.amplitude,
                parameters.waves,
                "xyz".index(parameters.axis),
            )
            if parameters.applyToSegmentation and parameters.segmentation is not None:
                parameters.segmentation.SetAndObserveTransformNodeID(parameters.outputTransform.GetID())


class HostExampleLogic(ScriptedLoadableModuleLogic):
    """The wave."""

    def process(self, volume, transform, amplitude: float, waves: int, axis: int) -> None:
        """Put `volume` under a grid transform that moves RAS points along `axis` by a sine over S, in mm."""
        bounds = [0.0] * 6
        volume.GetRASBounds(bounds)
        low, high = np.array(bounds[::2]), np.array(bounds[1::2])
        size, spacing = 24, (high - low) / 23
        field = np.zeros((size, size, size, 3))
        phase = 2 * np.pi * waves * np.arange(size) / (size - 1)
        field[..., axis] = amplitude * np.sin(phase)[:, None, None]
        grid = slicer.vtkOrientedGridTransform()
        grid.SetDisplacementGridData(_image(field, low, spacing))
        grid.SetInterpolationModeToLinear()
        transform.SetAndObserveTransformFromParent(grid)
        volume.SetAndObserveTransformNodeID(transform.GetID())


def _image(field: np.ndarray, origin: np.ndarray, spacing: np.ndarray) -> vtk.vtkImageData:
    """`field` in order k, j, i, component."""
    image = vtk.vtkImageData()
    image.SetDimensions(*field.shape[2::-1])
    image.SetOrigin(*origin)
    image.SetSpacing(*spacing)
    scalars = vtk.util.numpy_support.numpy_to_vtk(field.reshape(-1, 3), deep=True)
    image.GetPointData().SetScalars(scalars)
    return image


class HostExampleTest(ScriptedLoadableModuleTest):
    """The self test."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_wave()

    def test_wave(self) -> None:
        volume = slicer.util.addVolumeFromArray(np.zeros((20, 20, 20), dtype=np.int16), name="flat")
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode")
        HostExampleLogic().process(volume, transform, 5.0, 1, 0)
        moved = transform.GetTransformFromParent().TransformPoint(10.0, 10.0, -0.5 + 20 / 4)
        self.assertAlmostEqual(moved[0], 15.0, delta=0.1)
