"""The section Batch on its widgets, with a stand-in for the process that writes the files of a pair at each answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.mrml_geometry import slicer
from helpers.paths import UI


class PairWorker:
    """A stand-in for the worker's client: `answer` carries out the open request, or ends it with a failure."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.open: tuple[Any, Any, Any] | None = None
        self.isBusy = False

    def submit(self, request: dict[str, Any], onProgress: Any, onDone: Any, onFailed: Any) -> int:
        assert self.open is None, "one pair at a time"
        self.requests.append(request)
        self.open = onProgress, onDone, onFailed
        return len(self.requests)

    def progress(self, fraction: float, stage: str) -> None:
        assert self.open is not None and self.open[0] is not None
        self.open[0](fraction, stage)

    def answer(self, failure: Any = None) -> None:
        from pddnet.cli import slicer_tasks
        from pddnet.errors import InputError
        from PDDRegistrationLib.worker.failure import Failure

        assert self.open is not None
        (_, done, failed), self.open = self.open, None
        if failure is not None:
            return failed(failure)
        request = {name: value for name, value in self.requests[-1].items() if name != "do"}
        try:
            answer = slicer_tasks.TASKS[self.requests[-1]["do"]](lambda *_: None, **request)
        except InputError as error:
            return failed(Failure("input", str(error)))
        return done(answer)

    def cancel(self, number: int) -> None:
        from PDDRegistrationLib.worker.failure import cancelled

        assert number == len(self.requests)
        self.answer(cancelled())


class BatchSection:
    """The panel in a scene; `shown` are the pairs that it asked the module to show."""

    def __init__(self, folder: Path) -> None:
        from PDDRegistrationLib.registration.batch_job import BatchJob
        from PDDRegistrationLib.registration.parameters import RegistrationParameters
        from PDDRegistrationLib.ui.batch_panel import BatchPanel

        self.folder, self.worker, self.shown = folder, PairWorker(), []
        self.widget = slicer.util.loadUI(str(UI / "Batch.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        start = lambda selection, *calls: BatchJob(self.worker, selection, *calls)  # noqa: E731
        self.short = SimpleNamespace(isBusy=False)
        logic = SimpleNamespace(worker=self.short, longWorker=self.worker, startBatch=start, stop=lambda: None)
        self.panel = BatchPanel(self.ui, logic, self.shown.append)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")
        self.parameters = RegistrationParameters(node)
        self.parameters.preset = "fast"
        self.panel.show(self.parameters)

    def choose_table(self, path: Path) -> None:
        self.ui.batchSourceComboBox.setCurrentIndex(1)
        self.ui.batchTablePathLineEdit.currentPath = str(path)
        self.ui.batchFolderPathLineEdit.currentPath = str(self.folder)

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """The texts of all rows."""
        table = self.ui.batchPairsTable
        return [tuple(table.item(row, column).text() for column in (1, 2, 3)) for row in range(table.rowCount)]

    def tick(self, row: int, on: bool = True) -> None:
        import qt

        self.ui.batchPairsTable.item(row, 0).setCheckState(qt.Qt.Checked if on else qt.Qt.Unchecked)

    def click_row(self, row: int, column: int = 2) -> None:
        """One click with the mouse into a cell."""
        import qt
        from PySide6.QtTest import QTest

        table = self.ui.batchPairsTable
        place = table.visualItemRect(table.item(row, column)).center()
        QTest.mouseClick(table.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, place)

    @property
    def status(self) -> str:
        return self.ui.batchStatusLabel.text


def find_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register by the stand-in that always finds `samples.SHIFT`."""
    from helpers import samples
    from pddnet.cli import pair_tasks
    from pddnet.core.memo import Memo

    monkeypatch.setattr("pddnet.pipeline.register", samples.fake_register())
    monkeypatch.setattr(pair_tasks, "_KEPT", Memo())
