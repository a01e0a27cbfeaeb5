"""Drive the widgets of Sequence.ui, which register the frames of a sequence to one of them (`SequencePanel`)."""

from __future__ import annotations

from functools import partial
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from pddnet.core.presets import PRESETS
from pddnet.errors import InputError

from ..base.files import fileName, writeWhole
from ..base.qt_text import showText
from ..base.result_texts import stageText
from ..measure.sequence_motion import fillSequenceMotion, sequenceMotionOf
from ..measure.table_view import TableView
from ..registration.parameters import RegistrationParameters
from ..registration.sequence_job import SequenceJob, SequenceSelection, sequenceResultOf
from ..scene.nodes import isSame, nodesOfClass
from ..scene.sequences import SequenceResult
from ..scene.slice_views import turnToVolume
from ..scene.volumes import isSingleSlice
from ..worker.failure import Failure
from ..worker.torch_setup import offerTorch
from .double_click import DoubleClick
from .settings_panel import adjustOf
from .starts import BUSY, starting

OPACITY = 0.5  # of the frame that is played, over the one that stays


class SequencePanel:
    """Connect the widgets and the runs. The button becomes Cancel while one runs."""

    def __init__(self, ui: Any, logic: Any) -> None:
        """Connect the widgets of Sequence.ui, `ui` by name; logic: PDDRegistrationLogic."""
        self.ui, self.logic = ui, logic
        self._parameters: RegistrationParameters | None = None
        self._job: SequenceJob | None = None
        self._result: SequenceResult | None = None  # of the chosen sequence
        self._observed: tuple[slicer.vtkMRMLSequenceBrowserNode, int] | None = None
        self._doubleClick = DoubleClick()
        self._table = TableView(ui.sequenceTableWidget)
        for name in PRESETS:
            ui.sequencePresetComboBox.addItem(name, name)
        ui.sequencePresetComboBox.setCurrentIndex(ui.sequencePresetComboBox.findData(SequenceSelection.preset))
        ui.sequenceBrowserSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onBrowserChosen)
        ui.sequenceReferenceSpinBox.connect("valueChanged(int)", self._update)
        ui.sequenceButton.connect("clicked(bool)", self._onClicked)
        ui.sequencePlayButton.connect("clicked(bool)", self._onPlayClicked)
        ui.sequenceExportButton.connect("clicked(bool)", self._onExportClicked)

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Follow the scene; None: let go of it.

        parameters: the module's, whose device, transform type, intensity and advanced settings a sequence takes, too.
        """
        self._parameters = parameters
        self._observe(self._browser() if parameters is not None else None)
        self._showResult()
        self._update()

    def close(self) -> None:
        """Cancel a run and release the scene."""
        self.cancel()
        self.show(None)

    def cancel(self) -> None:
        """Cancel a run, if there is one."""
        if self._job is not None and self._job.isRunning:
            self._job.cancel()

    def _browser(self) -> slicer.vtkMRMLSequenceBrowserNode | None:
        return self.ui.sequenceBrowserSelector.currentNode()

    def _observe(self, browser: slicer.vtkMRMLSequenceBrowserNode | None) -> None:
        """Follow what the toolbar of sequences does with a browser."""
        if self._observed is not None:
            node, tag = self._observed
            node.RemoveObserver(tag)
        self._observed = None
        if browser is not None:
            self._observed = browser, browser.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update)

    def _onBrowserChosen(self, node: object = None) -> None:
        if self._parameters is not None:
            self.show(self._parameters)

    def _selection(self) -> SequenceSelection:
        ui, parameters = self.ui, self._parameters
        assert parameters is not None
        return SequenceSelection(
            self._browser(),
            ui.sequenceReferenceSpinBox.value,
            preset=ui.sequencePresetComboBox.itemData(ui.sequencePresetComboBox.currentIndex),
            device=parameters.device,
            transformType=parameters.transformType,
            intensity=parameters.intensity,
            adjust=adjustOf(parameters),
        )

    def _missing(self) -> str:
        """Return why the sequence cannot be registered; an empty text if it can."""
        if self._parameters is None or self._browser() is None:
            return _("Choose a sequence.")
        try:
            self._selection().check()
        except InputError as error:
            return str(error)
        return ""

    def _update(self, caller: object = None, event: object = None) -> None:
        """Enable what can be done with the chosen sequence."""
        ui, browser = self.ui, self._browser()
        sequence = browser.GetMasterSequenceNode() if browser is not None else None
        count = sequence.GetNumberOfDataNodes() if sequence is not None else 1
        ui.sequenceReferenceSpinBox.maximum = max(count - 1, 0)
        running, missing = self._job is not None, self._missing()
        ui.sequenceButton.text = _("Cancel") if running else _("Register the sequence")
        ui.sequenceButton.enabled = running or not missing
        showText(ui.sequenceReasonLabel, "" if running or browser is None else missing)
        ui.sequencePlayButton.enabled = self._result is not None and not running
        ui.sequencePlayButton.checked = self._result is not None and browser is not None and browser.GetPlaybackActive()

    def _onClicked(self, checked: bool = False) -> None:
        if self._job is not None:
            if self._doubleClick.isOver:
                showText(self.ui.sequenceStatusLabel, _("Cancelling..."))
                self.cancel()
            return
        if self.logic.worker.isBusy:
            showText(self.ui.sequenceStatusLabel, BUSY)
            return
        say = partial(showText, self.ui.sequenceStatusLabel)
        failed = _("The registration could not be started; the Python console says why.")
        with starting(self.ui.sequenceButton, self._doubleClick, self._update, say, failed):
            offerTorch(self.logic.stop)
            if self._parameters is not None:
                self._start(self._selection())

    def _start(self, selection: SequenceSelection) -> None:
        with slicer.util.WaitCursor():
            job = self.logic.startSequence(selection, self._onProgress, self._onFinished, self._onFailed)
        if not job.isRunning:  # the job failed at once, and reported it
            return
        self._job = job
        self.ui.sequenceProgressBar.value = 0
        self.ui.sequenceProgressBar.visible = True
        showText(self.ui.sequenceStatusLabel, _("Starting"))

    def _onProgress(self, fraction: float, stage: str) -> None:
        """Tell the frame and its stage, which come as 'frame 3: match 1'."""
        frame, _colon, part = stage.partition(": ")
        self.ui.sequenceProgressBar.value = int(100 * fraction)
        showText(self.ui.sequenceStatusLabel, f"{frame.capitalize()}: {stageText(part)}")

    def _onFinished(self, result: SequenceResult) -> None:
        self._job = None  # whatever the rest raises
        if any(result.motion.values()):  # of single slices no structures are named
            fillSequenceMotion(result)
        self._end(sequenceText(result))
        if self._parameters is not None and isSame(self._browser(), _browserOf(result)):
            _showOverReference(result)

    def _onFailed(self, failure: Failure) -> None:
        self._end(failure.message)

    def _end(self, text: str) -> None:
        self._job = None
        self.ui.sequenceProgressBar.visible = False
        showText(self.ui.sequenceStatusLabel, text)
        if self._parameters is not None:
            self._showResult()
            self._update()

    def _showResult(self) -> None:
        """Show the motion over time of the chosen sequence, if it was registered."""
        self._result = sequenceResultOf(self._browser()) if self._parameters is not None else None
        table = sequenceMotionOf(self._result) if self._result is not None else None
        self._table.show(table)
        self.ui.sequenceTableWidget.visible = self.ui.sequenceExportButton.visible = table is not None

    def _onPlayClicked(self, checked: bool = False) -> None:
        self._showResult()  # its nodes may have been deleted
        browser = self._browser()
        if self._result is not None and browser is not None:
            if checked:
                _showOverReference(self._result)
            browser.SetPlaybackActive(checked)
        self._update()

    def _onExportClicked(self, checked: bool = False) -> None:
        result = sequenceResultOf(self._browser())
        if result is None:
            return
        name = fileName(result.sequence.GetName()) + " motion.csv"
        title = _("Save the motion")
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, "CSV (*.csv)")
        failure = _("{path}: the table cannot be written ({reason}); choose another folder")
        if path:
            with slicer.util.tryWithErrorDisplay(_("The table was not written.")):
                writeWhole(path, result.motionCsv.encode("utf-8"), failure)


def sequenceText(result: SequenceResult) -> str:
    """Say how many frames were registered, and which of them are not ok."""
    statuses = {number: report["verdict"]["status"] for number, report in sorted(result.reports.items())}
    bad = [f"{number} ({status})" for number, status in statuses.items() if status != "ok"]
    text = _("{count} frames are registered to frame {reference}.")
    text = text.format(count=len(statuses), reference=result.reference)
    return f"{text} {_('Look at: {frames}').format(frames=', '.join(bad))}" if bad else text


def _browserOf(result: SequenceResult) -> slicer.vtkMRMLSequenceBrowserNode | None:
    """Return the browser that plays a result."""
    browsers = nodesOfClass(result.sequence.GetScene(), "vtkMRMLSequenceBrowserNode")
    return next((browser for browser in browsers if browser.IsSynchronizedSequenceNode(result.sequence)), None)


def _showOverReference(result: SequenceResult) -> None:
    """Show the frames over the one that stays, in all slice views."""
    slicer.util.setSliceViewerLayers(background=result.fixedVolume, foreground=result.volume, foregroundOpacity=OPACITY)
    manager = slicer.app.layoutManager()
    if manager is not None and isSingleSlice(result.fixedVolume):
        for name in manager.sliceViewNames():
            turnToVolume(manager.sliceWidget(name).sliceLogic(), result.fixedVolume)
