"""Drive the widgets of Batch.ui, which register many pairs in turn, and load those that are clicked (`BatchPanel`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from pddnet.batch.jobs import Job
from pddnet.batch.records import Outcome
from pddnet.errors import InputError

from ..base.qt_text import showText
from ..base.result_texts import stageText
from ..registration.batch_job import BatchJob, BatchSelection
from ..registration.batch_result import LoadedPair, loadPair
from ..registration.batch_rows import BatchRow, earlierOutcomes, rowsOfScene, rowsOfTable
from ..registration.parameters import RegistrationParameters
from ..worker.failure import Failure
from ..worker.torch_setup import offerTorch
from .batch_texts import COLUMNS, outcomesText, tickRow
from .double_click import DoubleClick
from .scene_observers import SceneObservers
from .settings_panel import adjustOf
from .starts import BUSY, sayingWhyNot, starting
from .tick_table import TickTable
from .time_left import TimeLeft

SCENE, TABLE = "scene", "table"
SOURCES = {SCENE: _("volumes of the scene"), TABLE: _("a table (CSV file)")}


class BatchPanel:
    """Connect the widgets and the runs. The button becomes Cancel while one runs; the rest of the panel is free."""

    def __init__(self, ui: Any, logic: Any, showPair: Callable[[LoadedPair], None]) -> None:
        """Connect the widgets of Batch.ui, `ui` by name; logic: PDDRegistrationLogic; showPair: called with a pair
        that was loaded, to be shown in the panel and the views."""
        self.ui, self.logic, self._showPair = ui, logic, showPair
        self._parameters: RegistrationParameters | None = None
        self._observers = SceneObservers(self._onSceneChanged)
        self._rows: tuple[BatchRow, ...] = ()
        self._problem = ""  # why there are no rows
        self._ticks: dict[str, bool] = {}  # by the rows' tick keys
        self._known: dict[str, tuple[Job, Outcome]] = {}  # in the folder, by the rows' keys; no volume is held by it
        self._job: BatchJob | None = None
        self._timeLeft, self._doubleClick = TimeLeft(), DoubleClick()
        self._table = TickTable(ui.batchPairsTable, COLUMNS, self._onTicked, self._onChosen)
        for source, text in SOURCES.items():
            ui.batchSourceComboBox.addItem(text, source)
        ui.batchTablePathLineEdit.filters = ctk.ctkPathLineEdit.Files
        ui.batchTablePathLineEdit.nameFilters = ["CSV (*.csv)"]
        ui.batchFolderPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.batchSourceComboBox.connect("currentIndexChanged(int)", self._onSourceChosen)
        ui.batchTablePathLineEdit.connect("currentPathChanged(QString)", self._onPathChosen)
        ui.batchFolderPathLineEdit.connect("currentPathChanged(QString)", self._onPathChosen)
        ui.batchButton.connect("clicked(bool)", self._onClicked)
        self._showSource()

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Follow the scene; None: let go of it, while a run goes on.

        parameters: the module's, whose fixed volume, preset and other settings a batch takes, too.
        """
        self._parameters = parameters
        self._observers.follow(parameters)
        self._refill()

    def close(self) -> None:
        """Cancel a run and release the scene."""
        self.cancel()
        self.forget()

    def cancel(self) -> None:
        """Cancel a run, if there is one; what is done stays."""
        if self._job is not None and self._job.isRunning:
            self._job.cancel()

    def forget(self) -> None:
        """Let go of the scene, and of what is known of its volumes."""
        self._known, self._ticks = {}, {}
        self.show(None)

    @property
    def _source(self) -> str:
        return str(self.ui.batchSourceComboBox.itemData(self.ui.batchSourceComboBox.currentIndex))

    @property
    def _folder(self) -> str:
        return str(self.ui.batchFolderPathLineEdit.currentPath).strip()

    @property
    def _out(self) -> Path:
        """Return the folder of the results as an absolute path."""
        return Path(os.path.abspath(self._folder))

    def _selection(self) -> BatchSelection:
        parameters, rows = self._parameters, self._rows
        assert parameters is not None
        return BatchSelection(
            tuple(rows[number] for number in self._table.ticked),
            self._folder,
            tuple(self._known.values()),
            preset=parameters.preset,
            device=parameters.device,
            transformType=parameters.transformType,
            intensity=parameters.intensity,
            diffeomorphic=parameters.diffeomorphic,
            adjust=adjustOf(parameters),
        )

    def _missing(self) -> str:
        """Return why the batch cannot be started; an empty text if it can."""
        if self._problem or self._parameters is None:
            return self._problem
        try:
            self._selection().check()
        except InputError as error:
            return str(error)
        return ""

    def _readRows(self) -> tuple[tuple[BatchRow, ...], str]:
        """Return the pairs to choose from, and why there are none."""
        if self._parameters is None:
            return (), ""
        if self._source == SCENE:
            return self._rowsOfScene(self._parameters)
        path = str(self.ui.batchTablePathLineEdit.currentPath).strip()
        if not path:
            return (), _("Choose a table: a CSV file with the columns fixed and moving.")
        try:
            rows = rowsOfTable(path)
        except InputError as error:
            return (), str(error)
        return rows, "" if rows else _("{path}: there are no pairs in it.").format(path=path)

    def _rowsOfScene(self, parameters: RegistrationParameters) -> tuple[tuple[BatchRow, ...], str]:
        if parameters.fixedVolume is None:
            return (), _("Choose a fixed volume under Inputs: the others are laid over it.")
        rows = rowsOfScene(parameters, slicer.mrmlScene)
        return rows, "" if rows else _("The scene has no other volume; load those to be laid over the fixed one.")

    def _refill(self, reread: bool = True) -> None:
        """Show the pairs to choose from, unless a run goes on. reread: also what is in files."""
        if self._job is not None:
            return self._update()
        if reread or self._source == SCENE:
            rows, self._problem = self._readRows()
            if [_identity(row) for row in rows] != [_identity(row) for row in self._rows]:
                self._rows = rows
                self._lookUpEarlier()
                self._fill()
        return self._update()

    def _lookUpEarlier(self) -> None:
        """Look which pairs of a table are in the folder; why others could not be registered is remembered."""
        if self._source == TABLE and self._folder:
            found = earlierOutcomes(self._rows, self._out)
            self._known = {key: (job, known) for key, (job, known) in self._known.items() if not known.done}
            self._known |= {row.key: (row.job(self._out), found[row.key]) for row in self._rows if row.key in found}

    def _outcomeOf(self, row: BatchRow) -> Outcome | None:
        """Return what became of a pair; None where that is not known."""
        return self._known[row.key][1] if row.key in self._known else None

    def _fill(self) -> None:
        ticked = self._source == TABLE  # of a scene the user says which volumes
        rows = [tickRow(row, self._outcomeOf(row)) for row in self._rows]
        self._table.show(rows, [self._ticks.get(row.tickKey, ticked) for row in self._rows])
        self.ui.batchPairsTable.visible = bool(self._rows)

    def _showSource(self) -> None:
        """Show the widgets that belong to the chosen source."""
        ui, table = self.ui, self._source == TABLE
        ui.batchTableLabel.visible = ui.batchTablePathLineEdit.visible = table
        ui.batchFixedLabel.visible = ui.batchFixedNameLabel.visible = not table

    def _update(self) -> None:
        """Enable what can be done now."""
        ui, running, missing = self.ui, self._job is not None, self._missing()
        fixed = self._parameters.fixedVolume if self._parameters is not None else None
        ui.batchFixedNameLabel.text = fixed.GetName() if fixed is not None else _("(none chosen)")
        ui.batchButton.text = _("Cancel") if running else _("Register the pairs")
        ui.batchButton.enabled = running or (self._parameters is not None and not missing)
        for widget in (ui.batchSourceComboBox, ui.batchTablePathLineEdit, ui.batchFolderPathLineEdit):
            widget.enabled = not running
        showText(ui.batchReasonLabel, "" if running else missing)

    def _onSceneChanged(self, caller: object = None, event: object = None) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self._refill(reread=False)

    def _onSourceChosen(self, index: int) -> None:
        self._known, self._ticks = {}, {}
        self._showSource()
        showText(self.ui.batchStatusLabel, "")
        self._refill()

    def _onPathChosen(self, path: str) -> None:
        """Take another table or folder: what is known of the pairs is looked up anew."""
        self._known, self._rows = {}, ()
        showText(self.ui.batchStatusLabel, "")
        self._refill()

    def _onTicked(self) -> None:
        ticked = set(self._table.ticked)
        self._ticks = {row.tickKey: number in ticked for number, row in enumerate(self._rows)}
        self._update()

    def _onClicked(self, checked: bool = False) -> None:
        if self._job is not None:
            if self._doubleClick.isOver:
                showText(self.ui.batchStatusLabel, _("Cancelling..."))
                self.cancel()
            return
        if self.logic.longWorker.isBusy:
            showText(self.ui.batchStatusLabel, BUSY)
            return
        failed = _("The batch could not be started; the Python console says why.")
        with starting(self.ui.batchButton, self._doubleClick, self._update, self._refuse, failed):
            offerTorch(self.logic.stop)
            if self._parameters is not None:
                self._start(self._selection())

    def _refuse(self, text: str) -> None:
        """Say why nothing was started; no row waits any more."""
        self._fill()
        showText(self.ui.batchStatusLabel, text)

    def _start(self, selection: BatchSelection) -> None:
        self._timeLeft = TimeLeft()
        again = {row.pair.id for row in selection.rows}
        self._known = {key: (job, outcome) for key, (job, outcome) in self._known.items() if job.id not in again}
        for row in selection.rows:
            self._tell(row, _("waiting"))
        showText(self.ui.batchStatusLabel, _("Starting"))
        with slicer.util.WaitCursor():
            job = self.logic.startBatch(selection, self._onRow, self._onProgress, self._onFinished, self._onFailed)
        if not job.isRunning:  # no pair could be sent, which was told of each
            self._end(job, "")
            return
        self._job = job
        self._table.lock(True)
        self.ui.batchProgressBar.value, self.ui.batchProgressBar.format = 0, "%p %"
        self.ui.batchProgressBar.visible = True

    def _tell(self, row: BatchRow, state: str = "") -> int | None:
        """Show what is known of a row, and return its number; None where it is no longer there."""
        numbers = [number for number, other in enumerate(self._rows) if other is row]
        if not numbers:
            return None
        self._table.tell(numbers[0], tickRow(row, self._outcomeOf(row), state))
        return numbers[0]

    def _onRow(self, row: BatchRow, outcome: Outcome) -> None:
        self._known[row.key] = row.job(self._out), outcome
        self._tell(row)

    def _onProgress(self, row: BatchRow, fraction: float, stage: str) -> None:
        number = self._tell(row, _("registering"))
        if self._job is None:
            return
        rows, done = self._job.selection.rows, len(self._job.outcomes)
        whole = (done + fraction) / len(rows)
        self.ui.batchProgressBar.value = int(100 * whole)
        self.ui.batchProgressBar.format = self._timeLeft.text(whole)
        text = _("{number} of {count}, {pair}: {stage}")
        names = {"number": done + 1, "count": len(rows), "pair": row.pair.id}
        showText(self.ui.batchStatusLabel, text.format(**names, stage=stageText(stage)))
        if number is not None and fraction == 0.0:
            self._table.reveal(number)

    def _onFinished(self) -> None:
        if self._job is not None:
            self._end(self._job, "")

    def _onFailed(self, failure: Failure) -> None:
        if self._job is not None:
            self._end(self._job, _("Cancelled.") if failure.kind == "cancelled" else failure.message)

    def _end(self, job: BatchJob, why: str) -> None:
        """Tell how a run ended. why: it ended before the last pair."""
        self._job = None
        self.ui.batchProgressBar.visible = False
        parts = (why, outcomesText(job.selection.rows, job.outcomes), job.summaryFailure)
        showText(self.ui.batchStatusLabel, " ".join(part for part in parts if part))
        for row in job.selection.rows:
            self._tell(row)
        self._table.lock(False)
        self._refill()

    def _onChosen(self, number: int) -> None:
        """Load the pair of a row, or say why that cannot be."""
        row = self._rows[number]
        outcome = self._outcomeOf(row)
        if outcome is None:
            return
        if not outcome.done:
            showText(self.ui.batchStatusLabel, f"{row.pair.id}: {outcome.reason}")
        elif self.logic.worker.isBusy:
            showText(self.ui.batchStatusLabel, _("Something else is being computed; load it when that has ended."))
        else:
            self._load(row)

    def _load(self, row: BatchRow) -> None:
        say = partial(showText, self.ui.batchStatusLabel)
        with sayingWhyNot(say, _("The pair could not be loaded; the Python console says why.")):
            with slicer.util.WaitCursor():
                self._showPair(loadPair(row, self._out, slicer.mrmlScene))
            if self._job is None:
                say(_("{pair} is loaded; its verdict stands above.").format(pair=row.pair.id))


def _identity(row: BatchRow) -> tuple[object, ...]:
    """Return what must change for the table to be filled anew."""
    return row.key, row.pair
