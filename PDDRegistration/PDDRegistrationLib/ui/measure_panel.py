"""Drive the widgets of Measure.ui, which measure any transform of the scene (`MeasurePanel`)."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer import (
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from pddnet.errors import InputError

from ..base.files import fileName
from ..base.parameter_node import ParameterNodeClass
from ..measure.csv_export import exportCsv
from ..measure.measurement import MeasureJob, MeasureResult
from ..measure.motion import arrowsOf, removeArrows, showArrows
from ..measure.plot import diceChart, showChart
from ..measure.plot_bars import NamedBars
from ..measure.selection import MeasureSelection
from ..measure.summary import summaryHtml
from ..measure.table_view import TableView
from ..measure.tables import MeasureTables, jacobianOf, measureTablesOf
from ..registration.parameters import RegistrationParameters
from ..scene.file_places import besideFiles
from ..scene.placement import registeredVolumes
from ..worker.failure import Failure
from .binding import Binding
from .double_click import DoubleClick
from .plot_button import PlotButton
from .starts import starting

SINGLETON = "PDDRegistrationQA"
"""Tag, module name and name of the parameter node; scenes are saved with it, so it must stay."""
NODES = tuple(MeasureSelection.__dataclass_fields__)
FROM_MODULE = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation")


@parameterNodeWrapper
class MeasureParameters(ParameterNodeClass):
    """Chosen nodes, with the field names of `MeasureSelection`; scenes are saved with these names."""

    transform: vtkMRMLTransformNode | None
    fixedVolume: vtkMRMLScalarVolumeNode | None
    movingVolume: vtkMRMLScalarVolumeNode | None
    fixedSegmentation: vtkMRMLSegmentationNode | None
    movingSegmentation: vtkMRMLSegmentationNode | None
    fixedPoints: vtkMRMLMarkupsFiducialNode | None
    movingPoints: vtkMRMLMarkupsFiducialNode | None
    inverse: vtkMRMLTransformNode | None


class MeasurePanel:
    """Connect the panel's own parameter node, the widgets and the measurements. Measure becomes Cancel during one."""

    def __init__(self, ui: Any, logic: Any) -> None:
        """Connect the widgets of Measure.ui, `ui` by name, no others; logic: has the `worker`."""
        self.ui, self.logic = ui, logic
        self._parameters: MeasureParameters | None = None
        self._binding: Binding | None = None
        self._job: MeasureJob | None = None
        self._doubleClick = DoubleClick()
        self._bars: NamedBars | None = None
        self._transform: str | None = None  # ID of the transform whose volumes were filled in
        self._views = {
            "summary": TableView(ui.measureSummaryTab),
            "segments": TableView(ui.measureSegmentsTab),
            "points": TableView(ui.measurePointsTab),
            "motion": TableView(ui.measureMotionTab),
        }
        ui.measureButton.connect("clicked(bool)", self._onMeasureClicked)
        ui.measureExportButton.connect("clicked(bool)", self._onExportClicked)
        self._plotButton = PlotButton(ui.measurePlotButton, self._onPlotClicked)
        ui.measureArrowsButton.connect("clicked(bool)", self._onArrowsClicked)

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Bind the widgets to the scene; None unbinds them.

        parameters: the module's parameter node: the last registration is offered where nothing is chosen yet.
        """
        if self._binding is not None:
            self._binding.release()
        self._parameters, self._binding, self._transform = None, None, None
        if parameters is None:
            self._plotButton.release()
            self._showTables(None)
            return
        own = MeasureParameters(_parameterNode())
        self._offer(own, parameters)
        self._parameters = own
        self._binding = Binding(own, self.ui)
        self._binding.observe(self._onModified)
        self._onModified()

    def close(self) -> None:
        """Cancel a running measurement and release the scene."""
        self.cancel()
        self.show(None)
        self._releaseBars()

    def cancel(self) -> None:
        """Cancel a measurement, if there is one."""
        if self._job is not None and self._job.isRunning:
            self._job.cancel()

    @staticmethod
    def _offer(own: MeasureParameters, parameters: RegistrationParameters) -> None:
        """Choose the nodes of the module's last registration, unless another transform was chosen already."""
        result = parameters.outputTransform
        if result is None or own.transform not in (None, result):
            return
        own.transform = result
        for name in FROM_MODULE:
            if getattr(own, name) is None:
                setattr(own, name, getattr(parameters, name))

    def _onModified(self, caller: object = None, event: object = None) -> None:
        """Update the panel after a change of the parameter node."""
        if slicer.mrmlScene.IsImporting() or self._parameters is None:
            return
        transform = self._parameters.transform
        chosen = transform.GetID() if transform is not None else ""
        if chosen != self._transform:
            first, self._transform = self._transform is None, chosen
            _fillIn(self._parameters, keep=first)
            if self._job is None:
                self._showTables(transform)
        self._updateMeasure()

    def _updateMeasure(self) -> None:
        button = self.ui.measureButton
        if self._job is not None:
            button.text, button.enabled = _("Cancel"), True
            button.toolTip = _("Stop measuring; the scene stays as it is.")
            return
        missing = _missing(self._parameters)
        button.text, button.enabled = _("Measure"), not missing
        button.toolTip = missing or _("Measure the transform by what is chosen above. PyTorch is not needed.")

    def _onMeasureClicked(self, checked: bool = False) -> None:
        if self._job is not None:
            if self._doubleClick.isOver:
                self.ui.measureStatusLabel.text = _("Cancelling...")
                self.cancel()
            return
        if self.logic.worker.isBusy:
            self.ui.measureStatusLabel.text = _("A registration is running; measure when it has ended.")
            return
        failed = _("The measurement could not be started; the Python console says why.")
        with starting(self.ui.measureButton, self._doubleClick, self._updateMeasure, self._say, failed):
            if self._parameters is not None:
                self._start(_selectionOf(self._parameters))

    def _say(self, text: str) -> None:
        self.ui.measureStatusLabel.text = text

    def _start(self, selection: MeasureSelection) -> None:
        with slicer.util.WaitCursor():
            job = MeasureJob(self.logic.worker, selection, self._onProgress, self._onFinished, self._onFailed)
        if not job.isRunning:  # the job failed at once, and reported it
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
        """Show the tables of the last measurement of a transform; show none if it was not measured."""
        tables = measureTablesOf(transform)
        nodes = tables.nodes if tables is not None else {}
        summary = summaryHtml(transform, jacobianOf(tables)) if tables is not None else ""
        for part, view in self._views.items():
            view.show(nodes.get(part))
        tabs = self.ui.measureTabs
        parts = {"segments": self.ui.measureSegmentsTab, "points": self.ui.measurePointsTab}
        parts["motion"] = self.ui.measureMotionTab
        for part, tab in parts.items():
            tabs.setTabEnabled(tabs.indexOf(tab), part in nodes)
        tabs.visible = bool(nodes)
        self.ui.measureSummaryLabel.text = summary
        self.ui.measureExportButton.enabled = tables is not None
        self.ui.measurePlotButton.enabled = "segments" in nodes
        self._updateArrows(transform, nodes.get("motion"))

    def _updateArrows(
        self, transform: slicer.vtkMRMLTransformNode | None, motion: slicer.vtkMRMLTableNode | None
    ) -> None:
        """Let arrows that are shown follow the table; remove them where there is none any more."""
        shown = transform is not None and transform.GetScene() is not None and arrowsOf(transform) is not None
        if shown and motion is not None:
            showArrows(transform, motion)
        elif shown:
            removeArrows(transform)
        self.ui.measureArrowsButton.enabled = motion is not None
        self.ui.measureArrowsButton.checked = shown and motion is not None

    def _onArrowsClicked(self, checked: bool = False) -> None:
        tables = self._tables()
        if tables is None or tables.motion is None:
            self.ui.measureArrowsButton.checked = False
        elif checked:
            showArrows(tables.transform, tables.motion)
        else:
            removeArrows(tables.transform)

    def _tables(self) -> MeasureTables | None:
        """Return the tables of the chosen transform; where they are gone, show a message and return None."""
        tables = measureTablesOf(self._parameters.transform) if self._parameters is not None else None
        if tables is None:
            self.ui.measureStatusLabel.text = _("The tables were removed; measure again.")
        return tables

    def _onExportClicked(self, checked: bool = False) -> None:
        tables = self._tables()
        if tables is None or self._parameters is None:
            return
        name = fileName(tables.summary.GetName()) + ".csv"
        place = besideFiles(name, *_selectionOf(self._parameters).nodes.values())
        title = _("Export the measurement")
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, place, "CSV (*.csv)")
        if path:
            with slicer.util.tryWithErrorDisplay(_("The table was not written.")):
                exportCsv(tables, path)

    def _onPlotClicked(self, checked: bool = False) -> None:
        tables = self._tables()
        if tables is None or tables.segments is None:
            return
        self._releaseBars()
        chart = diceChart(tables.segments, tables.transform.GetName())
        if showChart(chart):
            self._bars = NamedBars(chart, tables.segments)
        else:
            text = _("The chart {name} is in the scene; this application has no plots to show it.")
            self.ui.measureStatusLabel.text = text.format(name=chart.GetName())

    def _releaseBars(self) -> None:
        """Leave the plot views as Slicer has them."""
        if self._bars is not None:
            self._bars.close()
        self._bars = None


def _fillIn(parameters: MeasureParameters, keep: bool) -> None:
    """Choose the volumes that the transform names; keep: do not replace volumes chosen already."""
    for name, volume in zip(("fixedVolume", "movingVolume"), registeredVolumes(parameters.transform), strict=True):
        if volume is not None and not (keep and getattr(parameters, name) is not None):
            setattr(parameters, name, volume)


def _selectionOf(parameters: MeasureParameters) -> MeasureSelection:
    return MeasureSelection(**{name: getattr(parameters, name) for name in NODES})


def _missing(parameters: MeasureParameters | None) -> str:
    """Return why Measure is disabled; an empty text if it is not."""
    if parameters is None:
        return _("Choose a transform.")
    try:
        _selectionOf(parameters).completed().checkChoice()
    except InputError as error:
        return str(error)
    return ""


def _parameterNode() -> slicer.vtkMRMLScriptedModuleNode:
    """Return the parameter node of the scene; make it where there is none."""
    node = slicer.mrmlScene.GetSingletonNode(SINGLETON, "vtkMRMLScriptedModuleNode")
    if node is not None:
        return node
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag(SINGLETON)
    node.SetModuleName(SINGLETON)
    node.SetName(SINGLETON)
    return slicer.mrmlScene.AddNode(node)
