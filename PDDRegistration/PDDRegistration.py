"""Register two CT volumes deformably with a probabilistic dense displacement network (pdd-net): "PDD Registration".

Define the four classes that Slicer looks for: module, widget, logic and test. PDDRegistrationLib holds the code behind
them; the registration itself is pddnet, which runs in a process of its own.
"""

from __future__ import annotations

import shutil
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if TYPE_CHECKING:  # Slicer loads this file of every module at its start; the library waits until the module is used
    from pddnet.batch.records import Outcome
    from PDDRegistrationLib.registration.atlas_job import AtlasJob, AtlasSelection
    from PDDRegistrationLib.registration.atlas_result import AtlasResult
    from PDDRegistrationLib.registration.batch_job import BatchJob, BatchSelection
    from PDDRegistrationLib.registration.batch_result import LoadedPair
    from PDDRegistrationLib.registration.batch_rows import BatchRow
    from PDDRegistrationLib.registration.job import RegistrationJob, Result
    from PDDRegistrationLib.registration.parameters import RegistrationParameters
    from PDDRegistrationLib.registration.selection import Selection
    from PDDRegistrationLib.registration.sequence_job import SequenceJob, SequenceSelection
    from PDDRegistrationLib.scene.sequences import SequenceResult
    from PDDRegistrationLib.worker.client import Worker
    from PDDRegistrationLib.worker.failure import Failure

HERE = Path(__file__).resolve().parent
LONG_TASKS = "pddnet.cli.slicer_tasks"  # what the process for long runs can do
SAMPLE_DATA = HERE / "Resources" / "SampleData"

DEPENDENCIES = ("Markups", "Plots", "Segmentations", "Sequences", "SubjectHierarchy", "Tables", "Transforms", "Volumes")
"""Modules whose nodes this one cleans up, so that Slicer unloads it before them; not every application has them all."""


class PDDRegistration(ScriptedLoadableModule):
    """Describe the module to Slicer: its name, category and help."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("PDD Registration")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        factory = slicer.app.moduleManager().factoryManager()
        self.parent.dependencies = [name for name in DEPENDENCIES if factory.isRegistered(name)]
        self.parent.contributors = ["The PDD Registration developers"]
        self.parent.helpText = _(
            "Lays a CT scan over another one, of the same or of a different patient, and says whether to trust the "
            "result. Choose a fixed and a moving volume and press Apply. For research; not a medical device."
        )
        self.parent.acknowledgementText = _(
            "Based on the probabilistic dense displacement network of M. P. Heinrich, Closing the Gap between Deep "
            "and Conventional Image Registration using Probabilistic Dense Displacement Networks, MICCAI 2019."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)

    def setup(self) -> None:
        """Offer "Register this to..." in the subject hierarchy; Slicer calls this when the dependencies are loaded."""
        if hasattr(slicer, "qSlicerSubjectHierarchyScriptedPlugin"):
            slicer.qSlicerSubjectHierarchyScriptedPlugin(None).setPythonSource(__file__)


def registerSampleData() -> None:
    """Offer the bundled sample pair in the Sample Data module."""
    from PDDRegistrationLib.scene.sample_data import registerSamplePair

    thumbnail = HERE / "Resources" / "Icons" / "PDDRegistrationPair.png"
    registerSamplePair(SAMPLE_DATA, thumbnail)


class PDDRegistrationFileReader:
    """Read the files of the sample pair for the Sample Data module; Slicer finds this class by its name."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent

    def description(self) -> str:
        """Return what the dialog of Add Data would call such a file."""
        return _("Sample of PDD Registration")

    def fileType(self) -> str:
        """Return the name of the file type."""
        from PDDRegistrationLib.scene.sample_data import FILE_TYPE

        return FILE_TYPE

    def extensions(self) -> list[str]:
        """Return the pattern of the files' names."""
        from PDDRegistrationLib.scene.sample_data import EXTENSION

        return [f"{self.description()} (*{EXTENSION})"]

    def load(self, properties: dict[str, Any]) -> bool:
        """Load the node that the file stands for, and report it to Slicer."""
        from PDDRegistrationLib.scene.sample_data import loadSampleNode

        node = loadSampleNode(SAMPLE_DATA, Path(properties["fileName"]).stem)
        self.parent.loadedNodes = [node.GetID()]
        return True


class PDDRegistrationSubjectHierarchyPlugin:
    """Offer "Register this to..." for a volume that is clicked in the subject hierarchy.

    Slicer finds this class by its name; what is not defined here is as in a plugin that owns no items. The plugin
    outlives a reload of the module.
    """

    def __init__(self, scriptedPlugin: Any) -> None:
        scriptedPlugin.name = "PDDRegistration"
        self._plugin = scriptedPlugin
        self._action = qt.QAction(_("Register this to..."), scriptedPlugin)
        self._action.connect("triggered(bool)", self._onTriggered)
        slicer.qSlicerSubjectHierarchyPluginHandler.instance().registerPlugin(scriptedPlugin)

    def itemContextMenuActions(self) -> list[qt.QAction]:
        """Return what the menu of an item may show."""
        return [self._action]

    def showContextMenuActionsForItem(self, itemID: int) -> None:
        """Show the action for volumes that the module registers; Slicer has hidden it before."""
        node = _nodeOf(itemID)
        self._action.visible = node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode"

    def _onTriggered(self, checked: bool = False) -> None:
        volume = _nodeOf(slicer.qSlicerSubjectHierarchyPluginHandler.instance().currentItem())
        if volume is not None:
            slicer.util.selectModule("PDDRegistration")
            slicer.util.getModuleWidget("PDDRegistration").chooseMoving(volume)


def _nodeOf(itemID: int) -> slicer.vtkMRMLNode | None:
    """Return the node of an item in the subject hierarchy; None of folders and of the scene."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy.GetItemDataNode(itemID) if hierarchy is not None and itemID else None


class PDDRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Build the panel of the module: sections, each with a .ui file and a class in `PDDRegistrationLib.ui`."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: PDDRegistrationLogic | None = None
        self._panel: Any = None
        self._comparePanel: Any = None
        self._measurePanel: Any = None
        self._sequencePanel: Any = None
        self._batchPanel: Any = None
        self._atlasPanel: Any = None
        self._sets: Any = None
        self._deletedChoices: Any = None
        self._parameterNode: RegistrationParameters | None = None
        self._comparing = False  # in a parameter set that was left for one without a result

    def setup(self) -> None:
        """Build the panel; Slicer calls this when the module is first shown."""
        ScriptedLoadableModuleWidget.setup(self)
        from PDDRegistrationLib.registration.parameter_sets import ParameterSets
        from PDDRegistrationLib.ui.atlas_panel import AtlasPanel
        from PDDRegistrationLib.ui.batch_panel import BatchPanel
        from PDDRegistrationLib.ui.compare_panel import ComparePanel
        from PDDRegistrationLib.ui.deleted_choices import DeletedChoices
        from PDDRegistrationLib.ui.measure_panel import MeasurePanel
        from PDDRegistrationLib.ui.registration_panel import RegistrationPanel
        from PDDRegistrationLib.ui.sequence_panel import SequencePanel

        self.logic = PDDRegistrationLogic()
        self.ui = self._section("PDDRegistration")
        self.compareUi = self._section("Compare")
        self.measureUi = self._section("Measure")
        self.sequenceUi = self._section("Sequence")
        self.batchUi = self._section("Batch")
        self.atlasUi = self._section("AtlasSegmentation")
        self.layout.addStretch(1)
        self._deletedChoices = DeletedChoices(self.ui, self.compareUi, self.measureUi, self.sequenceUi)
        self._comparePanel = ComparePanel(self.compareUi)
        self._measurePanel = MeasurePanel(self.measureUi, self.logic)
        self._sequencePanel = SequencePanel(self.sequenceUi, self.logic)
        self._batchPanel = BatchPanel(self.batchUi, self.logic, self._showPair)
        self._atlasPanel = AtlasPanel(self.atlasUi, self.logic)
        self._panel = RegistrationPanel(self.ui, self.logic, self._comparePanel, self._offerMeasuring)
        self._sets = ParameterSets(self.ui.parameterSetSelector, self.logic, self._showChosenSet)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self._onSceneEndClose)
        self._showParameters()

    def cleanup(self) -> None:
        """Release observers and nodes and end the process; Slicer calls this when it closes or reloads the module."""
        self.removeObservers()
        if self._panel is not None:
            self._sets.show(None)
            self._panel.close()
            self._measurePanel.close()
            self._sequencePanel.close()
            self._batchPanel.close()
            self._atlasPanel.close()
            self._comparePanel.close()
            self._deletedChoices.close()
        if self.logic is not None:
            self.logic.stop()

    def enter(self) -> None:
        """Bind the panel to the scene; Slicer calls this when the user opens this module."""
        self._showParameters()

    def exit(self) -> None:
        """Unbind the panel when the user opens another module; a run continues, and the views show what they did, but
        layout and mouse mode are as they were."""
        self._hideParameters()
        self._comparePanel.restoreLayout()

    def chooseMoving(self, volume: vtkMRMLScalarVolumeNode) -> None:
        """Choose the moving volume, and the fixed one where no other is left; else the user is asked for it."""
        from PDDRegistrationLib.registration.defaults import chooseMoving

        if self._parameterNode is None:  # before `setup`
            return
        chooseMoving(self._parameterNode, volume, slicer.mrmlScene)
        if self._parameterNode.fixedVolume is None:
            self.ui.fixedVolumeSelector.setFocus()

    def aboutToSave(self) -> None:
        """Leave nothing in the scene that only Compare shows, until it is saved."""
        if self._comparePanel is not None:
            self._comparePanel.aboutToSave()

    def onReload(self) -> None:
        """Reload the module and its library, and with it the code that the registration process runs."""
        self.cleanup()
        forgetLibrary()
        ScriptedLoadableModuleWidget.onReload(self)

    def _showParameters(self) -> None:
        from PDDRegistrationLib.registration.defaults import chooseDefaults

        if self.logic is None:  # before `setup`
            return
        self._parameterNode = self.logic.getParameterNode()
        chooseDefaults(self._parameterNode, slicer.mrmlScene)
        self._sets.show(self._parameterNode)
        self._panel.show(self._parameterNode)
        self._measurePanel.show(self._parameterNode)
        self._sequencePanel.show(self._parameterNode)
        self._batchPanel.show(self._parameterNode)
        self._atlasPanel.show(self._parameterNode)

    def _showChosenSet(self) -> None:
        """Show another parameter set. Compare goes on with its result, or waits for a set that has one."""
        self._comparing = self._comparing or self._comparePanel.isRunning
        self._showParameters()
        if self._comparing:
            self._comparePanel.start()
            self._comparing = not self._comparePanel.isRunning

    def _offerMeasuring(self) -> None:
        """Offer the new result of a registration to the Measure section."""
        self._comparing = False
        self._measurePanel.show(self._parameterNode)

    def _showPair(self, pair: LoadedPair) -> None:
        """Choose a pair of a batch in the panel, and show it in the views."""
        from PDDRegistrationLib.registration.defaults import choosePair

        if self._parameterNode is None:
            return
        choosePair(self._parameterNode, pair.fixedVolume, pair.movingVolume)
        self._parameterNode.outputTransform = pair.transform
        self._comparePanel.start()
        self._measurePanel.show(self._parameterNode)

    def _hideParameters(self) -> None:
        self._sets.show(None)
        self._panel.show(None)
        self._measurePanel.show(None)
        self._sequencePanel.show(None)
        self._batchPanel.show(None)
        self._atlasPanel.show(None)

    def _section(self, name: str) -> Any:
        """Load a .ui file below the widgets that are there, and return its widgets by name."""
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{name}.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        return slicer.util.childWidgetVariables(widget)

    def _onSceneStartClose(self, caller: object, event: object) -> None:
        self._comparing = False
        self._panel.leaveScene()
        self._measurePanel.close()
        self._sequencePanel.cancel()
        self._batchPanel.close()
        self._atlasPanel.close()
        self._hideParameters()

    def _onSceneEndClose(self, caller: object, event: object) -> None:
        if self.parent.isEntered:
            self._showParameters()


class PDDRegistrationLogic(ScriptedLoadableModuleLogic):
    """Register nodes, with or without the panel.

    PDDRegistrationLogic().register(fixed, moving)             blocks, and returns the result
    PDDRegistrationLogic().start(selection, ..., onFinished)   returns at once
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._worker: Worker | None = None
        self._longWorker: Worker | None = None

    def getParameterNode(self) -> RegistrationParameters:
        """Return the typed parameter node chosen in the scene: its first one, unless the user has made others."""
        from PDDRegistrationLib.registration.parameter_sets import chosenSet
        from PDDRegistrationLib.registration.parameters import RegistrationParameters

        return RegistrationParameters(chosenSet(super().getParameterNode()))

    def chooseParameterNode(self, node: slicer.vtkMRMLScriptedModuleNode) -> RegistrationParameters:
        """Make another parameter node of this module the chosen one, and return it."""
        from PDDRegistrationLib.registration.parameter_sets import chooseSet

        chooseSet(super().getParameterNode(), node)
        return self.getParameterNode()

    @property
    def worker(self) -> Worker:
        """Return the client of the registration process; the process starts with the first request."""
        self._worker = self._worker or _newWorker()
        self._worker.useTemporaryFolder(slicer.app.temporaryPath)
        return self._worker

    @property
    def longWorker(self) -> Worker:
        """Return the client of a second process, for runs that take so long that the panel must stay usable."""
        self._longWorker = self._longWorker or _newWorker(tasks=LONG_TASKS)
        self._longWorker.useTemporaryFolder(slicer.app.temporaryPath)
        return self._longWorker

    def register(
        self,
        fixedVolume: vtkMRMLScalarVolumeNode,
        movingVolume: vtkMRMLScalarVolumeNode,
        *,
        progress: Callable[[float, str], None] | None = None,
        **options: Any,
    ) -> Result:
        """Register and wait for the result.

        Args:
            progress: called with (fraction 0..1, stage); an exception that it raises cancels the run and is raised
                here.
            options: the other fields of `PDDRegistrationLib.registration.selection.Selection`, such as
                fixedSegmentation, movingSegmentation, preset, outputTransform, outputVolume, initialTransform,
                fixedMask, guide.

        Returns:
            a `PDDRegistrationLib.registration.job.Result`: transform, volume, segmentation, uncertainty, report.

        Raises:
            InputError, Cancelled, MemoryError, WorkerError: the reason why there is no result; the scene is unchanged.
        """
        from PDDRegistrationLib.registration.selection import Selection

        return self.start(Selection(fixedVolume, movingVolume, **options), progress).wait()

    def start(
        self,
        selection: Selection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[Result], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> RegistrationJob:
        """Start a registration and return its `PDDRegistrationLib.registration.job.RegistrationJob` at once.

        Raises:
            InputError: the selection cannot be registered.
        """
        from PDDRegistrationLib.registration.job import RegistrationJob

        return RegistrationJob(self.worker, selection, onProgress, onFinished, onFailed)

    def registerSequence(
        self,
        browser: slicer.vtkMRMLSequenceBrowserNode,
        reference: int = 0,
        *,
        progress: Callable[[float, str], None] | None = None,
        **options: Any,
    ) -> SequenceResult:
        """Register all frames of a browser's volume sequence to one of them, and wait for the result.

        Args:
            reference: number of the frame that stays, from 0.
            progress: as for `register`.
            options: the other fields of `PDDRegistrationLib.registration.sequence_job.SequenceSelection`, such as
                preset and transformType.

        Returns:
            a `PDDRegistrationLib.scene.sequences.SequenceResult`: the sequence of transforms in the same browser, the
            nodes that show its frames, a copy of the reference, and a report per frame.

        Raises:
            InputError, Cancelled, MemoryError, WorkerError: the reason why there is no result; the scene is unchanged.
        """
        from PDDRegistrationLib.registration.sequence_job import SequenceSelection

        return self.startSequence(SequenceSelection(browser, reference, **options), progress).wait()

    def startSequence(
        self,
        selection: SequenceSelection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[SequenceResult], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> SequenceJob:
        """Start the registration of a sequence and return its job at once; its `cancel` leaves the scene unchanged.

        Raises:
            InputError: the selection cannot be registered.
        """
        from PDDRegistrationLib.registration.sequence_job import SequenceJob

        return SequenceJob(self.worker, selection, onProgress, onFinished, onFailed)

    def startBatch(
        self,
        selection: BatchSelection,
        onRow: Callable[[BatchRow, Outcome], None] | None = None,
        onProgress: Callable[[BatchRow, float, str], None] | None = None,
        onFinished: Callable[[], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> BatchJob:
        """Start the registration of many pairs, in a process of its own, and return its job at once.

        Its `cancel` keeps the pairs that are done; the scene is only read, and
        `PDDRegistrationLib.registration.batch_result.loadPair` loads a result.

        Raises:
            InputError: the selection cannot be registered.
        """
        from PDDRegistrationLib.registration.batch_job import BatchJob

        return BatchJob(self.longWorker, selection, onRow, onProgress, onFinished, onFailed)

    def startAtlases(
        self,
        selection: AtlasSelection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[AtlasResult], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> AtlasJob:
        """Start the segmentation of a volume by atlases, in a process of its own, and return its job at once.

        The scene changes once, when the result is there; a job that is cancelled leaves it unchanged.

        Raises:
            InputError: the selection cannot be segmented.
        """
        from PDDRegistrationLib.registration.atlas_job import AtlasJob

        return AtlasJob(self.longWorker, selection, onProgress, onFinished, onFailed)

    def stop(self) -> None:
        """End the processes within about a second; a run in progress fails as cancelled."""
        for worker in (self._worker, self._longWorker):
            if worker is not None:
                worker.stop()

    @staticmethod
    def loadSamplePair() -> dict[str, slicer.vtkMRMLNode]:
        """Load the bundled pair into the scene; return its nodes: fixed, moving, Segmentation and Points of both."""
        from PDDRegistrationLib.scene.sample_data import loadSamplePair

        return loadSamplePair(SAMPLE_DATA)


def _newWorker(**options: Any) -> Worker:
    """Make a client of the registration process; options: of `PDDRegistrationLib.worker.client.Worker`."""
    from PDDRegistrationLib.worker.client import Worker

    python = shutil.which("PythonSlicer") or sys.executable
    return Worker(python, HERE, slicer.app.temporaryPath, **options)


class PDDRegistrationFileWriter:
    """Hear of every saving of the scene, and write nothing.

    Slicer announces it by no event, but asks all writers of scenes for their file names just before it writes.
    """

    def __init__(self, parent: Any) -> None:
        self.parent = parent

    def description(self) -> str:
        """Return the name of the file type."""
        return _("PDD Registration")

    def fileType(self) -> str:
        """Return the file type of scenes."""
        return "SceneFile"

    def canWriteObject(self, obj: object) -> bool:
        """Return that nothing can be written, so that no dialog offers it."""
        return False

    def extensions(self, obj: object) -> list[str]:
        """Tell the module's widget that the scene is about to be saved; return no file names."""
        widget = getattr(slicer.modules, "PDDRegistrationWidget", None)
        if widget is not None:
            widget.aboutToSave()
        return []

    def write(self, properties: dict[str, Any]) -> bool:
        """Leave the writing to another writer."""
        return False


class PDDRegistrationTest(ScriptedLoadableModuleTest):
    """Test the module on the sample pair: register it and check the result in numbers.

    Where PyTorch is not installed, as on a machine that only builds Slicer, the registrations are skipped.
    """

    def setUp(self) -> None:
        """Clear the scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all tests, as 'Reload and Test' does."""
        for test in (self.test_measure_sample_pair, self.test_register_sample_pair, self.test_resample_sample_pair):
            self.setUp()
            try:
                test()
            except unittest.SkipTest as reason:
                self.delayDisplay(str(reason))

    def test_measure_sample_pair(self) -> None:
        """Test that the organs overlap more after the mean shift of the landmarks; this needs no PyTorch."""
        from PDDRegistrationLib.measure.measurement import measure
        from PDDRegistrationLib.measure.selection import MeasureSelection

        nodes = PDDRegistrationLogic.loadSamplePair()
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Mean shift")
        before = self._landmarkError(nodes, transform)
        matrix = vtk.vtkMatrix4x4()
        for axis, length in enumerate(self._landmarkShift(nodes)):
            matrix.SetElement(axis, 3, length)
        transform.SetMatrixTransformFromParent(matrix)
        logic = PDDRegistrationLogic()
        try:
            scans = [nodes[name] for name in ("fixed", "moving", "fixedSegmentation", "movingSegmentation")]
            findings = measure(logic.worker, MeasureSelection(transform, *scans)).findings
        finally:
            logic.stop()
        dice = self._meanDice(findings.organs)
        self.assertGreater(dice["after"], dice["before"] + 0.1)
        self.assertLess(self._landmarkError(nodes, transform), before)
        self.assertEqual((findings.jacobian or {}).get("folding_percent"), 0)

    def test_register_sample_pair(self) -> None:
        """Test that the warped moving organs overlap the fixed ones, and that the landmarks come close."""
        nodes = PDDRegistrationLogic.loadSamplePair()
        result = self._registered(nodes)
        self.assertIs(nodes["moving"].GetParentTransformNode(), result.transform)
        self.assertIs(nodes["movingSegmentation"].GetParentTransformNode(), result.transform)
        dice = self._meanDice(result.report["organs"])
        self.assertGreater(dice["after"], dice["before"] + 0.4)
        self.assertLess(result.report["jacobian"]["folding_percent"], 0.5)
        self.assertLess(self._landmarkError(nodes, result.transform), 10.0)

    def test_resample_sample_pair(self) -> None:
        """Test that output nodes get the geometry of the fixed volume, and that the moving nodes do not move."""
        nodes = PDDRegistrationLogic.loadSamplePair()
        scene = slicer.mrmlScene
        volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "warped")
        segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "warped organs")
        self._registered(nodes, outputVolume=volume, outputSegmentation=segmentation, preset="fast")
        self.assertIsNone(nodes["moving"].GetParentTransformNode())
        self.assertEqual(volume.GetImageData().GetDimensions(), nodes["fixed"].GetImageData().GetDimensions())
        names = [nodes["movingSegmentation"].GetSegmentation().GetNthSegment(n).GetName() for n in range(3)]
        self.assertEqual([segmentation.GetSegmentation().GetNthSegment(n).GetName() for n in range(3)], names)

    def _registered(self, nodes: dict[str, slicer.vtkMRMLNode], **options: Any) -> Result:
        from PDDRegistrationLib.worker.torch_setup import torchInstalled

        if not torchInstalled():
            self.skipTest(_("PyTorch is not installed, so nothing was registered; the extension PyTorch installs it."))
        logic = PDDRegistrationLogic()
        try:
            return logic.register(
                nodes["fixed"],
                nodes["moving"],
                fixedSegmentation=nodes["fixedSegmentation"],
                movingSegmentation=nodes["movingSegmentation"],
                **options,
            )
        finally:
            logic.stop()

    def _meanDice(self, organs: list[dict[str, Any]]) -> dict[str, float]:
        """Return the mean of the organs that have one before and after, which must be most of them."""
        known = [row for row in organs if row["dice_after"] is not None]
        self.assertGreaterEqual(len(known), 12)
        return {side: sum(row[f"dice_{side}"] for row in known) / len(known) for side in ("before", "after")}

    @staticmethod
    def _landmarkPairs(nodes: dict[str, slicer.vtkMRMLNode]) -> list[tuple[Any, Any]]:
        """Return the landmarks that both scans have, fixed and moving, RAS mm in the world."""
        fixed, moving = (
            {
                node.GetNthControlPointLabel(n): node.GetNthControlPointPositionWorld(n)
                for n in range(node.GetNumberOfControlPoints())
            }
            for node in (nodes["fixedPoints"], nodes["movingPoints"])
        )
        return [(fixed[label], moving[label]) for label in fixed if label in moving]

    def _landmarkShift(self, nodes: dict[str, slicer.vtkMRMLNode]) -> list[float]:
        """Return the mean of the vectors from the fixed landmarks to the moving ones, mm RAS."""
        pairs = self._landmarkPairs(nodes)
        return [sum(moving[axis] - fixed[axis] for fixed, moving in pairs) / len(pairs) for axis in range(3)]

    @classmethod
    def _landmarkError(cls, nodes: dict[str, slicer.vtkMRMLNode], transform: slicer.vtkMRMLTransformNode) -> float:
        """Return the median distance in mm between the mapped fixed landmarks and the moving ones."""
        toMoving, distances = transform.GetTransformFromParent(), []
        for fixed, moving in cls._landmarkPairs(nodes):
            distance2 = vtk.vtkMath.Distance2BetweenPoints(moving, toMoving.TransformPoint(fixed))
            distances.append(distance2**0.5)
        return sorted(distances)[len(distances) // 2]


def forgetLibrary() -> None:
    """Make the next import load PDDRegistrationLib and pddnet anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("PDDRegistrationLib", "pddnet")]:
        del sys.modules[name]
