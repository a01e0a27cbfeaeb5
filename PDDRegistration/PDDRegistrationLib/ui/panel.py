"""`Panel`: what the widgets of PDDRegistration.ui show and do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from pddnet.core.image import Image
from pddnet.errors import InputError

from ..base.qt_text import showText
from ..base.result_texts import stageText, summaryText
from ..registration.job import RegistrationJob, Result, reportOf
from ..registration.run_times import rememberRun
from ..registration.selection import NODES, OutputTaken, Selection
from ..scene.output_nodes import outputName
from ..worker.client import Failure, noMemory
from ..worker.torch_setup import offerTorch
from .compare_panel import ComparePanel
from .run_log import MOST_LINES, RunLog
from .run_report import privateNames, runReport, saveRunReport
from .settings_panel import SettingsPanel, adjustOf
from .start_panel import StartPanel
from .time_left import TimeLeft


class Panel:
    """Connects the parameter node, the widgets and the runs. Apply becomes Cancel while one runs."""

    def __init__(self, ui: Any, logic: Any, compare: ComparePanel, afterRun: Callable[[], None]) -> None:
        """Args: the widgets by name; PDDRegistrationLogic; what shows results; called when there is a new one."""
        self.ui, self.logic, self._compare, self._afterRun = ui, logic, compare, afterRun
        self._spread: tuple[str, Image] | None = None  # of the last result, and that transform's ID
        self._parameters: Any = None
        self._guiTag: Any = None
        self._observer: int | None = None
        self._job: RegistrationJob | None = None
        self._jobParameters: Any = None  # what the run was started from: the panel may be left meanwhile
        self._failedRun: dict[str, Any] | None = None
        self._timeLeft = TimeLeft()
        self._settings = SettingsPanel(ui, lambda: logic.worker)
        self._start = StartPanel(ui, compare.showAfter)
        ui.logText.maximumBlockCount = MOST_LINES
        self._log = RunLog(ui.logText.appendPlainText)
        ui.copyLogButton.connect("clicked(bool)", self._onCopyLogClicked)
        ui.newTransformButton.connect("clicked(bool)", self._onNewTransformClicked)
        ui.applyButton.connect("clicked(bool)", self._onApplyClicked)
        ui.saveReportButton.connect("clicked(bool)", self._onSaveReportClicked)

    def show(self, parameters: Any) -> None:
        """Bind the widgets to a parameter node; None unbinds them."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self._parameters.parameterNode.RemoveObserver(self._observer)
        self._parameters, self._guiTag, self._observer = parameters, None, None
        self._settings.show(None)
        self._start.show(None)
        if parameters is None:
            return
        self._mend()
        self._guiTag = parameters.connectGui(self.ui)
        self._settings.show(parameters)
        self._start.show(parameters)
        self._observer = parameters.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._onModified()

    def close(self) -> None:
        """Cancel what runs and let go of the parameter node."""
        self.cancel()
        self.show(None)

    def cancel(self) -> None:
        """Cancel a run, if there is one."""
        if self._job is not None and self._job.isRunning:
            self._job.cancel()

    def _mend(self) -> None:
        """A scene of another version or machine may name what is not here: say so, and take the usual one."""
        text = self._settings.mend(self._parameters)
        if text:
            showText(self.ui.statusLabel, text)

    def _onModified(self, caller: object = None, event: object = None) -> None:
        """The parameter node has changed."""
        self._mend()
        self._settings.refresh()
        self._start.refresh()
        self._nameOutputs()
        if self._job is None:
            self._showResult()
        self._updateApply()

    def _nameOutputs(self) -> None:
        """New outputs are called after the inputs."""
        parameters = self._parameters
        inputs = (parameters.fixedVolume, parameters.movingVolume, parameters.movingSegmentation)
        for output in (name for name in NODES if name.startswith("output")):
            getattr(self.ui, f"{output}Selector").baseName = outputName(output, *inputs)

    def _missing(self) -> InputError | None:
        """What keeps Apply from being pressed; None if it can be."""
        if self._parameters.fixedVolume is None:
            return InputError(_("Choose a fixed volume."))
        if self._parameters.movingVolume is None:
            return InputError(_("Choose a moving volume."))
        try:
            self._selection().check()
        except InputError as error:
            return error
        return None

    def _selection(self) -> Selection:
        parameters = self._parameters
        return Selection(
            **{name: getattr(parameters, name) for name in NODES},
            preset=parameters.preset,
            device=parameters.device,
            fixedMaskSegment=parameters.fixedMaskSegment,
            movingMaskSegment=parameters.movingMaskSegment,
            guide=parameters.guide,
            adjust=adjustOf(parameters),
        )

    def _updateApply(self) -> None:
        button = self.ui.applyButton
        if self._job is not None:
            button.text, button.enabled = _("Cancel"), True
            button.toolTip = _("Stop the run; the scene stays as it is.")
            self._offerNewTransform(None)
            return
        missing = self._missing()
        button.text, button.enabled = _("Apply"), missing is None
        button.toolTip = str(missing) if missing else _("Register the moving volume to the fixed one.")
        self._offerNewTransform(missing)

    def _offerNewTransform(self, missing: InputError | None) -> None:
        """The way out where the chosen transform is in use for something else."""
        taken = type(missing) is OutputTaken
        showText(self.ui.takenLabel, str(missing) if taken else "")
        self.ui.newTransformButton.visible = taken

    def _onNewTransformClicked(self, checked: bool = False) -> None:
        if self._parameters is not None:
            self._parameters.outputTransform = None

    def _onApplyClicked(self, checked: bool = False) -> None:
        if self._job is not None:
            showText(self.ui.statusLabel, _("Cancelling..."))
            self.cancel()
            return
        self._begin()

    def _begin(self, torchBroken: str = "") -> None:
        """torchBroken: why the last run could not load PyTorch."""
        self.ui.applyButton.enabled = False  # installing PyTorch takes minutes, in which the window may work
        try:
            offerTorch(self.logic.stop, torchBroken)
            if self._parameters is not None:
                self._startRun()
        except InputError as error:
            showText(self.ui.statusLabel, str(error))
        except MemoryError:
            showText(self.ui.statusLabel, noMemory())
        except Exception:
            showText(self.ui.statusLabel, _("The registration could not be started; the Python console says why."))
            raise
        finally:
            if self._parameters is not None:
                self._updateApply()

    def _startRun(self) -> None:
        self._failedRun = None
        self.ui.saveReportButton.visible = False
        with slicer.util.WaitCursor():
            job = self.logic.start(self._selection(), self._onProgress, self._onFinished, self._onFailed)
        if not job.isRunning:  # it has failed at once, and said so
            return
        self._job, self._jobParameters, self._timeLeft = job, self._parameters, TimeLeft()
        self._log.begin(job.selection, job.request)
        showText(self.ui.verdictLabel, "")
        self.ui.progressBar.value, self.ui.progressBar.format = 0, "%p %"
        self.ui.progressBar.visible = True
        showText(self.ui.statusLabel, _("Starting"))

    def _onProgress(self, fraction: float, stage: str) -> None:
        self.ui.progressBar.value = int(100 * fraction)
        self.ui.progressBar.format = self._timeLeft.text(fraction)
        showText(self.ui.statusLabel, stageText(stage))
        self._log.stage(stage)

    def _onFinished(self, result: Result) -> None:
        self._spread = result.transform.GetID(), result.spread
        self._jobParameters.outputTransform = result.transform
        self._log.finish(result.report, self.logic.worker.log)
        self._settings.showGpu(result.gpu)
        rememberRun(result.report)
        self._end("")
        if self._parameters is not None:
            self._settings.refresh()
            self._showResult()
            self._compare.start()
            self._afterRun()

    def _onFailed(self, failure: Failure) -> None:
        job = self._job
        if job is not None:
            self._log.fail(failure, self.logic.worker.log)
        self._end(failure.message)
        if failure.kind in ("cancelled", "input") or job is None:
            return
        worker, hide = self.logic.worker, privateNames(job.selection.nodes.values())
        self._failedRun = runReport(job.request, failure, worker.log, worker.hello, hide)
        self.ui.saveReportButton.visible = True
        if failure.kind == "torch_missing":  # not from here: a dialog would keep the process's messages waiting
            qt.QTimer.singleShot(0, lambda: self._offerTorchAgain(failure.message))

    def _offerTorchAgain(self, reason: str) -> None:
        if self._parameters is not None and self._job is None:
            self._begin(torchBroken=reason)

    def _end(self, text: str) -> None:
        self._job = self._jobParameters = None
        self.ui.progressBar.visible = False
        showText(self.ui.statusLabel, text)
        if self._parameters is not None:
            self._updateApply()

    def _showResult(self) -> None:
        """What the chosen transform says about itself, and the tools to look at it."""
        parameters, transform = self._parameters, self._parameters.outputTransform
        known = self._spread is not None and transform is not None and self._spread[0] == transform.GetID()
        self._compare.show(
            transform,
            parameters.fixedVolume,
            parameters.movingVolume,
            parameters.fixedSegmentation,
            parameters.movingSegmentation,
            self._spread[1] if known else None,
            _filled(parameters.outputVolume),
            _filled(parameters.outputSegmentation),
        )
        report = reportOf(transform)
        try:
            showText(self.ui.verdictLabel, summaryText(report) if report else "")
        except (LookupError, TypeError, ValueError, AttributeError):  # another version wrote it
            showText(self.ui.verdictLabel, "")

    def _onCopyLogClicked(self, checked: bool = False) -> None:
        slicer.app.clipboard().setText(self.ui.logText.toPlainText())

    def _onSaveReportClicked(self, checked: bool = False) -> None:
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save the report"), "pdd-registration-report.json", "JSON (*.json)"
        )
        if path and self._failedRun is not None:
            with slicer.util.tryWithErrorDisplay(_("The report was not saved.")):
                saveRunReport(path, self._failedRun)


def _filled(output: Any) -> Any:
    """An output node, once a run has put something into it."""
    if output is None:
        return None
    empty = output.GetImageData() is None if output.IsA("vtkMRMLVolumeNode") else not _segments(output)
    return None if empty else output


def _segments(segmentation: slicer.vtkMRMLSegmentationNode) -> int:
    return segmentation.GetSegmentation().GetNumberOfSegments()
