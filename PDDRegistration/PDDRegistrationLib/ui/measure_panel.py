"""`MeasurePanel`: what the widgets of Measure.ui show and do. They measure any transform of the scene."""

from __future__ import annotations

import re
from typing import Any

import qt
import slicer
import vtk
from slicer import (
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from pddnet.errors import InputError

from ..measure.measurement import MeasureJob, MeasureResult, MeasureSelection, registeredVolumes
from ..measure.plot import diceChart, showChart
from ..measure.summary import summaryHtml
from ..measure.table_view import TableView
from ..measure.tables import MeasureTables, exportCsv, jacobianOf, measureTablesOf
from ..worker.client import Failure, noMemory

SINGLETON = "PDDRegistrationQA"
NODES = tuple(MeasureSelection.__dataclass_fields__)
FROM_MODULE = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation")


@parameterNodeWrapper
class MeasureParameters:
    """What the widgets hold; names as in `MeasureSelection`."""

    transform: vtkMRMLTransformNode | None
    fixedVolume: vtkMRMLScalarVolumeNode | None
    movingVolume: vtkMRMLScalarVolumeNode | None
    fixedSegmentation: vtkMRMLSegmentationNode | None
    movingSegmentation: vtkMRMLSegmentationNode | None
    fixedPoints: vtkMRMLMarkupsFiducialNode | None
    movingPoints: vtkMRMLMarkupsFiducialNode | None
    inverse: vtkMRMLTransformNode | None


class MeasurePanel:
    """Connects a parameter node of its own, the widgets and the measurements. Measure becomes Cancel during one."""

    def __init__(self, ui: Any, logic: Any) -> None:
        """Args: the widgets of Measure.ui by name (no others: they are bound to another node); an object with `worker`."""
        self.ui, self.logic = ui, logic
        self._parameters: Any = None
        self._guiTag: Any = None
        self._observer: int | None = None
        self._job: MeasureJob | None = None
        self._transform: str | None = None  # ID of the one whose volumes were filled in
        self._views = {
            "summary": TableView(ui.measureSummaryTab),
            "segments": TableView(ui.measureSegmentsTab),
            "points": TableView(ui.measurePointsTab),
        }
        ui.measureButton.connect("clicked(bool)", self._onMeasureClicked)
        ui.measureExportButton.connect("clicked(bool)", self._onExportClicked)
        ui.measurePlotButton.connect("clicked(bool)", self._onPlotClicked)

    def show(self, parameters: Any) -> None:
        """Bind the widgets to the scene; None unbinds them.

        parameters: the module's parameter node: what was registered last is offered where nothing is chosen yet.
        """
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self._parameters.parameterNode.RemoveObserver(self._observer)
        self._parameters, self._guiTag, self._observer, self._transform = None, None, None, None
        if parameters is None:
            self._showTables(None)
            return
        own = MeasureParameters(_parameterNode())
        self._offer(own, parameters)
        self._parameters = own
        self._guiTag = own.connectGui(self.ui)
        self._observer = own.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._onModified()

    def close(self) -> None:
        """Cancel what runs and let go of the scene."""
        self.cancel()
        self.show(None)

    def cancel(self) -> None:
        """Cancel a measurement, if there is one."""
        if self._job is not None and self._job.isRunning:
            self._job.cancel()

    @staticmethod
    def _offer(own: Any, parameters: Any) -> None:
        """Take over what the module registered last, unless another transform was chosen here."""
        result = parameters.outputTransform
        if result is None or own.transform not in (None, result):
            return
        own.transform = result
        for name in FROM_MODULE:
            if getattr(own, name) is None:
                setattr(own, name, getattr(parameters, name))

    def _onModified(self, caller: object = None, event: object = None) -> None:
        """The parameter node has changed."""
        if slicer.mrmlScene.IsImporting() or self._parameters is None:
            return
        transform = self._parameters.transform
        chosen = transform.GetID() if transform is not None else ""
        if chosen != self._transform:
            first, self._transform = self._transform is None, chosen
            self._fillIn(transform, keep=first)
            if self._job is None:
                self._showTables(transform)
        self._updateMeasure()

    def _fillIn(self, transform: slicer.vtkMRMLTransformNode | None, keep: bool) -> None:
        """Choose the volumes that the transform names; keep: but none in place of others."""
        for name, volume in zip(("fixedVolume", "movingVolume"), registeredVolumes(transform), strict=True):
            if volume is not None and not (keep and getattr(self._parameters, name) is not None):
                setattr(self._parameters, name, volume)

    def _selection(self) -> MeasureSelection:
        return MeasureSelection(**{name: getattr(self._parameters, name) for name in NODES})

    def _missing(self) -> str:
        """What keeps Measure from being pressed; nothing if it can be."""
        try:
            self._selection().completed().checkChoice()
        except InputError as error:
            return str(error)
        return ""

    def _updateMeasure(self) -> None:
        button = self.ui.measureButton
        if self._job is not None:
            button.text, button.enabled = _("Cancel"), True
            button.toolTip = _("Stop measuring; the scene stays as it is.")
            return
        missing = self._missing()
        button.text, button.enabled = _("Measure"), not missing
        button.toolTip = missing or _("Measure the transform by what is chosen above. PyTorch is not needed.")

    def _onMeasureClicked(self, checked: bool = False) -> None:
        if self._job is not None:
            self.ui.measureStatusLabel.text = _("Cancelling...")
            self.cancel()
            return
        if self.logic.worker.isBusy:
            self.ui.measureStatusLabel.text = _("A registration is running; measure when it has ended.")
            return
        try:
            self._start()
        except InputError as error:
            self.ui.measureStatusLabel.text = str(error)
        except MemoryError:
            self.ui.measureStatusLabel.text = noMemory()
        except Exception:
            self.ui.measureStatusLabel.text = _("The measurement could not be started; the Python console says why.")
            raise
        finally:
            self._updateMeasure()

    def _start(self) -> None:
        with slicer.util.WaitCursor():
            job = MeasureJob(self.logic.worker, self._selection(), self._onProgress, self._onFinished, self._onFailed)
        if not job.isRunning:  # it has failed at once, and said so
            return
        self._job = job
        self.ui.measureProgressBar.value = 0
        self.ui.measureProgressBar.visible = True
        self.ui.measureStatusLabel.text = _("Measuring")

    def _onProgress(self, fraction: float, stage: str) -> None:
        self.ui.measureProgressBar.value = int(100 * fraction)

    def _onFinished(self, result: MeasureResult) -> None:
        self._end("")

    def _onFailed(self, failure: Failure) -> None:
        self._end(failure.message)

    def _end(self, text: str) -> None:
        self._job = None
        self.ui.measureProgressBar.visible = False
        self.ui.measureStatusLabel.text = text
        if self._parameters is not None:
            self._showTables(self._parameters.transform)
            self._updateMeasure()

    def _showTables(self, transform: slicer.vtkMRMLTransformNode | None) -> None:
        """What was measured of a transform; nothing if it was not."""
        tables = measureTablesOf(transform)
        nodes = tables.nodes if tables is not None else {}
        for part, view in self._views.items():
            view.show(nodes.get(part))
        tabs = self.ui.measureTabs
        for part, tab in (("segments", self.ui.measureSegmentsTab), ("points", self.ui.measurePointsTab)):
            tabs.setTabEnabled(tabs.indexOf(tab), part in nodes)
        tabs.visible = bool(nodes)
        self.ui.measureSummaryLabel.text = summaryHtml(transform, jacobianOf(tables)) if tables is not None else ""
        self.ui.measureExportButton.enabled = tables is not None
        self.ui.measurePlotButton.enabled = "segments" in nodes

    def _tables(self) -> MeasureTables | None:
        """The tables of the chosen transform; None, and a message, where they are gone."""
        tables = measureTablesOf(self._parameters.transform) if self._parameters is not None else None
        if tables is None:
            self.ui.measureStatusLabel.text = _("The tables were removed; measure again.")
        return tables

    def _onExportClicked(self, checked: bool = False) -> None:
        tables = self._tables()
        if tables is None:
            return
        name = re.sub(r'[\\/:*?"<>|]+', "_", tables.summary.GetName()) + ".csv"
        title = _("Export the measurement")
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, "CSV (*.csv)")
        if path:
            with slicer.util.tryWithErrorDisplay(_("The table was not written.")):
                exportCsv(tables, path)

    def _onPlotClicked(self, checked: bool = False) -> None:
        tables = self._tables()
        if tables is None or tables.segments is None:
            return
        chart = diceChart(tables.segments, self._parameters.transform.GetName())
        if not showChart(chart):
            text = _("The chart {name} is in the scene; this application has no plots to show it.")
            self.ui.measureStatusLabel.text = text.format(name=chart.GetName())


def _parameterNode() -> slicer.vtkMRMLScriptedModuleNode:
    """The one of the scene; it is saved with it."""
    node = slicer.mrmlScene.GetSingletonNode(SINGLETON, "vtkMRMLScriptedModuleNode")
    if node is not None:
        return node
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag(SINGLETON)
    node.SetModuleName(SINGLETON)
    node.SetName(SINGLETON)
    return slicer.mrmlScene.AddNode(node)
