"""Drive the widgets of PDDRegistration.ui, which start and follow registrations (`RegistrationPanel`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..base.qt_text import showText
from ..base.result_texts import stageText, summaryText
from ..registration.job import RegistrationJob, Result, reportOf
from ..registration.outputs import OUTPUTS, outputName
from ..registration.page_job import pageSubject
from ..registration.parameters import RegistrationParameters
from ..registration.run_times import rememberRun
from ..registration.selection import NODES, OutputTaken, Selection
from ..scene.file_places import besideFiles
from ..scene.provenance import isMadeWith
from ..worker.failure import Failure
from ..worker.torch_setup import offerTorch
from .binding import Binding
from .compare_panel import ComparePanel
from .double_click import DoubleClick
from .guides_panel import GuidesPanel
from .last_maps import LastMaps
from .masks_and_landmarks_panel import MasksAndLandmarksPanel
from .page_panel import PagePanel
from .run_log import MOST_LINES, RunLog
from .run_report import privateNames, runReport, saveRunReport
from .settings_panel import SettingsPanel, adjustOf
from .starts import BUSY, starting
from .structures_panel import StructuresPanel
from .time_left import TimeLeft


class RegistrationPanel:
    """Connect the parameter node, the widgets and the runs. Apply becomes Cancel while one runs."""

    def __init__(self, ui: Any, logic: Any, compare: ComparePanel, afterRun: Callable[[], None]) -> None:
        """Connect the widgets `ui`, by name; logic: PDDRegistrationLogic; compare: shows results; afterRun: called
        after each run."""
        self.ui, self.logic, self._compare, self._afterRun = ui, logic, compare, afterRun
        self._maps = LastMaps(self._onResultChanged)
        self._parameters: RegistrationParameters | None = None
        self._binding: Binding | None = None
        self._job: RegistrationJob | None = None
        self._jobParameters: RegistrationParameters | None = None  # of the run: the panel may be left meanwhile
        self._failedRun: dict[str, Any] | None = None
        self._timeLeft, self._doubleClick = TimeLeft(), DoubleClick()
        self._settings = SettingsPanel(ui, lambda: logic.worker)
        self._start = MasksAndLandmarksPanel(ui, compare.showAfter, self._updateApply)
        self._guides = GuidesPanel(ui)
        self._structures = StructuresPanel(ui.structuresTable)
        self._page = PagePanel(ui, logic)
        ui.logText.maximumBlockCount = MOST_LINES
        self._log = RunLog(ui.logText.appendPlainText)
        ui.copyLogButton.connect("clicked(bool)", self._onCopyLogClicked)
        ui.newTransformButton.connect("clicked(bool)", self._onNewTransformClicked)
        ui.applyButton.connect("clicked(bool)", self._onApplyClicked)
        ui.saveReportButton.connect("clicked(bool)", self._onSaveReportClicked)

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Bind the widgets to a parameter node; None unbinds them."""
        if self._binding is not None:
            self._binding.release()
        self._parameters, self._binding = parameters, None
        self._settings.show(None)
        self._start.show(None)
        self._guides.show(None)
        if parameters is None:
            return
        self._mend(parameters)
        self._binding = Binding(parameters, self.ui)
        self._settings.show(parameters)
        self._start.show(parameters)
        self._guides.show(parameters)
        self._binding.observe(self._onModified)
        self._onModified()

    def close(self) -> None:
        """Cancel a run and release the parameter node."""
        self.leaveScene()
        self.show(None)

    def leaveScene(self) -> None:
        """Cancel a run, and forget the result of the last one: its scene closes."""
        self.cancel()
        self._maps.forget()

    def cancel(self) -> None:
        """Cancel a run, if there is one."""
        self._page.cancel()
        if self._job is not None and self._job.isRunning:
            self._job.cancel()

    def _mend(self, parameters: RegistrationParameters) -> None:
        """Replace a preset or device that this version or machine does not have, and tell the user."""
        text = self._settings.mend(parameters)
        if text:
            showText(self.ui.statusLabel, text)

    def _onModified(self, caller: object = None, event: object = None) -> None:
        """Update the panel after a change of the parameter node."""
        if self._parameters is None:
            return
        self._mend(self._parameters)
        self._settings.refresh()
        self._start.refresh()
        self._guides.refresh()
        self._nameOutputs(self._parameters)
        if self._job is None:
            self._showResult(self._parameters)
        self._updateApply()

    def _nameOutputs(self, parameters: RegistrationParameters) -> None:
        """Name new outputs after the inputs."""
        inputs = (parameters.fixedVolume, parameters.movingVolume, parameters.movingSegmentation)
        for output in OUTPUTS:
            getattr(self.ui, f"{output.field}Selector").baseName = outputName(output, *inputs)

    def _missing(self) -> InputError | None:
        """Return why Apply is disabled; None if it is not."""
        if self._parameters is None or self._parameters.fixedVolume is None:
            return InputError(_("Choose a fixed volume."))
        if self._parameters.movingVolume is None:
            return InputError(_("Choose a moving volume."))
        try:
            selectionOf(self._parameters).check()
        except InputError as error:
            return error
        return None

    def _updateApply(self) -> None:
        if self._parameters is None:
            return
        button = self.ui.applyButton
        if self._job is not None:
            button.text, button.enabled = _("Cancel"), True
            button.toolTip = _("Stop the run; the scene stays as it is.")
            self._explain(None)
            return
        missing = self._missing()
        button.text, button.enabled = _("Apply"), missing is None
        button.toolTip = str(missing) if missing else _("Register the moving volume to the fixed one.")
        self._explain(missing)

    def _explain(self, missing: InputError | None) -> None:
        """Show above the button why it is disabled; offer a new output transform where the chosen one is in use."""
        showText(self.ui.reasonLabel, str(missing) if missing else "")
        self.ui.newTransformButton.visible = type(missing) is OutputTaken

    def _onNewTransformClicked(self, checked: bool = False) -> None:
        if self._parameters is not None:
            self._parameters.outputTransform = None

    def _onApplyClicked(self, checked: bool = False) -> None:
        if self._job is None:
            self._begin()
        elif self._doubleClick.isOver:
            showText(self.ui.statusLabel, _("Cancelling..."))
            self.cancel()

    def _begin(self, torchBroken: str = "") -> None:
        """Start a run; torchBroken: why the last run could not load PyTorch."""
        if self.logic.worker.isBusy:
            showText(self.ui.statusLabel, BUSY)
            return
        say = partial(showText, self.ui.statusLabel)
        failed = _("The registration could not be started; the Python console says why.")
        with starting(self.ui.applyButton, self._doubleClick, self._updateApply, say, failed):
            offerTorch(self.logic.stop, torchBroken)
            if self._parameters is not None:
                self._startRun(self._parameters)

    def _startRun(self, parameters: RegistrationParameters) -> None:
        self._failedRun = None
        self.ui.saveReportButton.visible = False
        with slicer.util.WaitCursor():
            job = self.logic.start(selectionOf(parameters), self._onProgress, self._onFinished, self._onFailed)
        if not job.isRunning:  # the job failed at once, and reported it
            return
        self._job, self._jobParameters, self._timeLeft = job, parameters, TimeLeft()
        self._log.begin(job.selection, job.request)
        self._showReport(None)
        self.ui.progressBar.value, self.ui.progressBar.format = 0, "%p %"
        self.ui.progressBar.visible = True
        showText(self.ui.statusLabel, _("Starting"))

    def _onProgress(self, fraction: float, stage: str) -> None:
        self.ui.progressBar.value = int(100 * fraction)
        self.ui.progressBar.format = self._timeLeft.text(fraction)
        showText(self.ui.statusLabel, stageText(stage))
        self._log.stage(stage)

    def _onFinished(self, result: Result) -> None:
        parameters = self._jobParameters
        self._end("")  # first, whatever the rest raises
        self._maps.remember(result)
        if parameters is not None:
            parameters.outputTransform = result.transform
        self._log.finish(result.report, self.logic.worker.log)
        self._settings.showGpu(result.gpu)
        rememberRun(result.report)
        if self._parameters is not None:
            self._settings.refresh()
            self._showResult(self._parameters)
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
        self._updateApply()

    def _showResult(self, parameters: RegistrationParameters) -> None:
        """Offer the tools to look at the chosen transform, and show the verdict that it carries."""
        transform = parameters.outputTransform
        uncertainty, expectedError = self._maps.of(transform)
        self._compare.show(
            transform,
            parameters.fixedVolume,
            parameters.movingVolume,
            parameters.fixedSegmentation,
            parameters.movingSegmentation,
            uncertainty,
            _madeWith(transform, parameters.outputVolume),
            _madeWith(transform, parameters.outputSegmentation),
            expectedError,
        )
        try:
            self._showReport(reportOf(transform))
        except (LookupError, TypeError, ValueError, AttributeError):  # another version wrote it
            self._showReport(None)
        self._page.show(pageSubject(transform, uncertainty, expectedError))

    def _onResultChanged(self) -> None:
        """Offer the maps of the last result as long as its transform holds that."""
        if self._parameters is None or self._job is not None:
            return
        comparing = self._compare.isRunning
        self._showResult(self._parameters)
        if comparing and not self._compare.isRunning:
            self._compare.start()

    def _showReport(self, report: dict[str, Any] | None) -> None:
        """Show the verdict and the structures of a report; None for nothing."""
        showText(self.ui.verdictLabel, summaryText(report) if report else "")
        self._structures.show(report)
        if report is None:
            self._page.show(None)

    def _onCopyLogClicked(self, checked: bool = False) -> None:
        slicer.app.clipboard().setText(self.ui.logText.toPlainText())

    def _onSaveReportClicked(self, checked: bool = False) -> None:
        chosen = selectionOf(self._parameters).inputs.values() if self._parameters is not None else ()
        place = besideFiles("pdd-registration-report.json", *chosen)
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save the report"), place, "JSON (*.json)")
        if path and self._failedRun is not None:
            with slicer.util.tryWithErrorDisplay(_("The report was not saved.")):
                saveRunReport(path, self._failedRun)


def selectionOf(parameters: RegistrationParameters) -> Selection:
    """Read the selection that a parameter node holds."""
    return Selection(
        **{name: getattr(parameters, name) for name in NODES},
        preset=parameters.preset,
        device=parameters.device,
        transformType=parameters.transformType,
        intensity=parameters.intensity,
        diffeomorphic=parameters.diffeomorphic,
        fixedMaskSegment=parameters.fixedMaskSegment,
        movingMaskSegment=parameters.movingMaskSegment,
        guide=parameters.guide,
        adjust=adjustOf(parameters),
    )


def _madeWith(transform: slicer.vtkMRMLTransformNode | None, output: Any) -> Any:
    """Return an output node where it shows the result of this transform; else None."""
    return output if isMadeWith(output, transform) else None
