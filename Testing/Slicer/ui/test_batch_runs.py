"""Batches in the whole module, with the real process: the panel stays usable, and nothing stays behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers import clicks, runs, samples

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


class Batch:
    """Two copies of the moving scan, ticked, and a folder for the results."""

    def __init__(self, bench: runs.Bench, folder: Path) -> None:
        import qt

        self.bench, self.folder, self.ui = bench, folder, bench.widget.batchUi
        self.ui.batchCollapsibleButton.collapsed = False
        self.ui.batchFolderPathLineEdit.currentPath = str(folder)
        self.add("Second")
        self.ui.batchPairsTable.item(0, 0).setCheckState(qt.Qt.Checked)

    def add(self, name: str) -> None:
        """Add another copy of the moving scan, and tick it."""
        import qt

        runs.add_volume(samples.small_pair()[1], name)
        last = self.ui.batchPairsTable.rowCount - 1
        self.ui.batchPairsTable.item(last, 0).setCheckState(qt.Qt.Checked)

    @property
    def verdicts(self) -> list[str]:
        table = self.ui.batchPairsTable
        return [table.item(row, 2).text() for row in range(table.rowCount)]

    def begin(self) -> None:
        assert self.ui.batchButton.enabled, self.ui.batchReasonLabel.text
        runs.click(self.ui.batchButton)

    def wait(self) -> None:
        done = lambda: self.ui.batchButton.text != "Cancel"  # noqa: E731
        assert self.bench.host.waitUntil(done, 60), self.ui.batchStatusLabel.text


@pytest.fixture
def batch(bench: runs.Bench, tmp_path: Path) -> Any:
    with clicks.every_click_counts():
        yield Batch(bench, tmp_path / "results")


def test_apply_works_while_a_batch_runs_and_a_click_shows_a_pair(bench: runs.Bench, batch: Batch) -> None:
    def body() -> None:
        batch.begin()
        bench.begin()
        bench.end()
        batch.wait()

    bench.host.runInEventLoop(body)
    assert batch.verdicts == ["ok", "ok"], batch.ui.batchStatusLabel.text
    assert bench.error_at_the_centre() < 6.0
    first = bench.parameters.outputTransform
    bench.widget._batchPanel._onChosen(1)
    assert bench.parameters.movingVolume.GetName() == "Second"
    assert bench.parameters.outputTransform is not first
    assert bench.error_at_the_centre() < 6.0
    assert "Folding in" in bench.ui.verdictLabel.text
    assert bench.widget._comparePanel.isRunning
    assert runs.arrays(bench.host) == []


def test_closing_the_scene_ends_a_batch_and_keeps_what_is_done(bench: runs.Bench, batch: Batch) -> None:
    for name in ("Third", "Fourth"):  # closing takes as long as a pair may, so one more may be whole
        batch.add(name)

    def body() -> None:
        batch.begin()
        assert bench.host.waitUntil(lambda: "ok" in batch.verdicts, 60), batch.ui.batchStatusLabel.text
        bench.host.closeScene()
        batch.wait()

    bench.host.runInEventLoop(body)
    assert batch.verdicts == []
    assert bench.host.waitUntil(lambda: runs.arrays(bench.host) == [], 5)
    done = {path.parent.name for path in batch.folder.rglob("report.json")}
    assert {"Moving-Patient_to_Fixed-Patient"} <= done <= {"Moving-Patient_to_Fixed-Patient", "Second_to_Fixed-Patient"}
    assert list(batch.folder.rglob(".pddnet-*")) == []


def test_a_process_that_is_killed_costs_one_pair(bench: runs.Bench, batch: Batch) -> None:
    import signal

    worker, killed = bench.widget.logic.longWorker, []

    def kill(row: Any, fraction: float, stage: str) -> None:
        original(row, fraction, stage)
        if stage.startswith("match") and not killed:
            killed.append(worker.hello["pid"])
            os.kill(killed[0], signal.SIGKILL)

    panel = bench.widget._batchPanel
    original = panel._onProgress
    panel._onProgress = kill
    try:
        bench.host.runInEventLoop(lambda: (batch.begin(), batch.wait()))
    finally:
        del panel._onProgress
    assert batch.verdicts == ["not registered", "ok"], batch.ui.batchStatusLabel.text
    assert "ended unexpectedly" in batch.ui.batchPairsTable.item(0, 2).toolTip()
    batch.begin()
    bench.host.runInEventLoop(batch.wait)
    assert batch.verdicts == ["ok", "ok"]
