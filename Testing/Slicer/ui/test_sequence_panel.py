"""The section Sequence: what it asks for, progress per frame, cancel, playback over the reference, motion over time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from helpers import moving_body
from helpers.moving_sequence import InstantWorker, browser_of, show
from helpers.mrml_geometry import slicer
from helpers.paths import UI
from helpers.runs import click

if TYPE_CHECKING:
    from host.host import Host

REFERENCE = moving_body.REFERENCE


class Section:
    """The panel on its widgets, with a worker that answers one frame at each `answer`."""

    def __init__(self) -> None:
        from PDDRegistrationLib.registration.parameters import RegistrationParameters
        from PDDRegistrationLib.registration.sequence_job import SequenceJob
        from PDDRegistrationLib.ui.sequence_panel import SequencePanel

        self.worker = InstantWorker()
        self.worker.isBusy = False
        self.widget = slicer.util.loadUI(str(UI / "Sequence.ui"))
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        start = lambda selection, *calls: SequenceJob(self.worker, selection, *calls)  # noqa: E731
        logic = SimpleNamespace(worker=self.worker, startSequence=start, stop=lambda: None)
        self.panel = SequencePanel(self.ui, logic)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")
        self.parameters = RegistrationParameters(node)
        self.panel.show(self.parameters)

    def choose(self, browser: Any) -> None:
        self.ui.sequenceBrowserSelector.setCurrentNode(browser)
        self.ui.sequenceReferenceSpinBox.value = REFERENCE

    def answer(self) -> None:
        self.worker.waitFor(len(self.worker.requests))

    def run(self) -> None:
        click(self.ui.sequenceButton)
        for _ in range(moving_body.COUNT - 1):
            self.answer()


@pytest.fixture
def section(host: Host) -> Iterator[Section]:
    host.closeScene()
    section = Section()
    yield section
    section.panel.close()


def layers() -> set[tuple[str, str]]:
    """The names of background and foreground of all slice views."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    named = lambda ID: slicer.mrmlScene.GetNodeByID(ID).GetName() if ID else ""  # noqa: E731
    return {(named(node.GetBackgroundVolumeID()), named(node.GetForegroundVolumeID())) for node in composites}


def test_it_says_why_a_sequence_cannot_be_registered(section: Section) -> None:
    assert not section.ui.sequenceButton.enabled
    section.choose(browser_of(range(1)))
    assert not section.ui.sequenceButton.enabled
    assert section.ui.sequenceReasonLabel.text == "CT: the sequence has 1 frames; two are needed."
    section.choose(browser_of(range(moving_body.COUNT)))
    assert section.ui.sequenceButton.enabled
    assert not section.ui.sequenceReasonLabel.visible
    assert section.ui.sequenceReferenceSpinBox.maximum == moving_body.COUNT - 1
    section.worker.isBusy = True
    click(section.ui.sequenceButton)
    assert "Something else is being computed" in section.ui.sequenceStatusLabel.text
    assert section.worker.requests == []


def test_a_run_tells_each_frame_and_shows_the_result(section: Section, tmp_path: Path, monkeypatch) -> None:
    import qt

    browser = browser_of(range(moving_body.COUNT))
    section.choose(browser)
    section.parameters.transformType, section.parameters.captureRange = "rigid", 30.0
    ui = section.ui
    click(ui.sequenceButton)
    assert ui.sequenceButton.text == "Cancel"
    assert not ui.sequencePlayButton.enabled
    told = []
    for _ in range(moving_body.COUNT - 1):
        number = len(section.worker.requests)
        section.worker.waiting[number][1](0.5, "match 1")
        told.append((ui.sequenceProgressBar.value, ui.sequenceStatusLabel.text))
        section.answer()
    assert told == [
        (16, "Frame 2: Matching, stage 1"),
        (50, "Frame 3: Matching, stage 1"),
        (83, "Frame 0: Matching, stage 1"),
    ]
    asked = section.worker.requests[0]
    assert (asked["preset"], asked["transform_type"], asked["adjust"]) == (
        "breathing",
        "rigid",
        {"capture_range": 30.0},
    )
    assert ui.sequenceButton.text == "Register the sequence"
    assert ui.sequenceStatusLabel.text == "3 frames are registered to frame 1."
    volume = browser.GetProxyNode(browser.GetMasterSequenceNode())
    assert layers() == {(f"{volume.GetName()} (fixed frame)", volume.GetName())}
    table = slicer.util.getNode("CT to frame 1 motion").GetTable()
    cells = [[table.GetColumn(n).GetValue(row) for n in range(6)] for row in range(table.GetNumberOfRows())]
    assert cells == [
        ["lung", 0.0, "0", 3.0, -4.0, -2.0],
        ["lung", 1.0, "10", 0.0, 0.0, 0.0],
        ["lung", 2.0, "20", -3.0, 4.0, 2.0],
        ["lung", 3.0, "30", -6.0, 8.0, 4.0],
    ]
    path = tmp_path / "motion.csv"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(lambda *_: str(path)))
    click(ui.sequenceExportButton)
    assert path.read_text("utf-8").splitlines()[1].startswith("0,network,lung,3.000,-4.000,-2.000")


def test_playback_follows_the_button_and_the_toolbar(section: Section) -> None:
    browser = browser_of(range(moving_body.COUNT))
    section.choose(browser)
    section.run()
    for playing in (True, False):
        click(section.ui.sequencePlayButton)
        assert bool(browser.GetPlaybackActive()) is playing
    browser.SetPlaybackActive(True)
    assert section.ui.sequencePlayButton.checked
    show(browser, 2)
    assert section.ui.sequencePlayButton.checked


def test_an_earlier_result_is_offered_again(section: Section) -> None:
    browser = browser_of(range(moving_body.COUNT))
    section.choose(browser)
    section.run()
    section.ui.sequenceBrowserSelector.setCurrentNode(None)
    assert not section.ui.sequencePlayButton.enabled
    assert not section.ui.sequenceTableWidget.visible
    section.panel.show(None)
    section.panel.show(section.parameters)
    section.ui.sequenceBrowserSelector.setCurrentNode(browser)
    assert section.ui.sequencePlayButton.enabled
    assert not section.ui.sequenceTableWidget.isHidden()
    from PDDRegistrationLib.registration.sequence_job import sequenceResultOf

    result = sequenceResultOf(browser)
    assert (result.reference, sorted(result.reports)) == (REFERENCE, [0, 2, 3])
    slicer.mrmlScene.RemoveNode(result.fixedVolume)
    click(section.ui.sequencePlayButton)
    assert not browser.GetPlaybackActive()
    assert not section.ui.sequencePlayButton.enabled


def test_frames_to_look_at_are_named(section: Section) -> None:
    section.choose(browser_of(range(moving_body.COUNT)))
    section.worker.failed = {3}
    section.run()
    assert section.ui.sequenceStatusLabel.text == "3 frames are registered to frame 1. Look at: 3 (failed)"


def test_cancel_leaves_the_scene_as_it_was(section: Section) -> None:
    browser = browser_of(range(moving_body.COUNT))
    section.choose(browser)
    before = slicer.mrmlScene.GetNumberOfNodes()
    click(section.ui.sequenceButton)
    section.answer()
    click(section.ui.sequenceButton)  # the second click of a double click
    assert section.ui.sequenceButton.text == "Cancel"
    section.panel._doubleClick._ends = 0.0
    click(section.ui.sequenceButton)
    assert section.ui.sequenceButton.text == "Register the sequence"
    assert section.ui.sequenceStatusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_a_table_that_cannot_be_filled_does_not_keep_the_section_busy(section: Section, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    section.choose(browser_of(range(moving_body.COUNT)))
    monkeypatch.setattr("PDDRegistrationLib.ui.sequence_panel.fillSequenceMotion", fail)
    with pytest.raises(MemoryError):  # the process's client logs it
        section.run()
    section.panel._update()
    assert section.ui.sequenceButton.text == "Register the sequence"


def test_an_unexpected_fault_at_the_start_is_told(section: Section, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("planted")

    section.choose(browser_of(range(moving_body.COUNT)))
    monkeypatch.setattr("PDDRegistrationLib.registration.sequence_job.imageFromVolume", fail)
    with pytest.raises(ZeroDivisionError, match="planted"):  # for the Python console
        section.panel._onClicked()
    assert section.ui.sequenceStatusLabel.text == "The registration could not be started; the Python console says why."
    assert (section.ui.sequenceButton.text, section.ui.sequenceButton.enabled) == ("Register the sequence", True)


def test_it_leaves_no_observer(section: Section) -> None:
    browser = browser_of(range(moving_body.COUNT))
    section.choose(browser)
    for _ in range(3):
        section.panel.show(section.parameters)
    section.panel.show(None)
    assert section.panel._observed is None
    browser.SetPlaybackActive(True)
    assert not section.ui.sequencePlayButton.checked
