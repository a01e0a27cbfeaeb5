"""A browser's sequence of volumes, registered to one frame: a transform per frame, playback, cancel, refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers import clicks, moving_body
from helpers.moving_sequence import InstantWorker, browser_of, show
from helpers.mrml_geometry import slicer
from helpers.samples import FIXED
from pddnet.errors import Cancelled, InputError

if TYPE_CHECKING:
    from host.host import Host

NAME = "PDDRegistration"
POINTS = FIXED.centre + np.array([[0, 0, 0], [8.0, -6, 4], [-5, 9, -7]])


@pytest.fixture
def browser(running_host: Host, logic: Any) -> Any:
    """A browser with a sequence of the frames, each on its own oblique grid, the last one chosen."""
    running_host.closeScene()
    return browser_of(range(moving_body.COUNT))


def count() -> int:
    return slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLNode")


def started(worker: Any, browser: Any, *calls: Any, **options: Any) -> Any:
    from PDDRegistrationLib.registration.sequence_job import SequenceJob, SequenceSelection

    return SequenceJob(worker, SequenceSelection(browser, moving_body.REFERENCE, **options), *calls)


def check_playback(result: Any, browser: Any, tolerance: float) -> None:
    """Every frame's transform takes points of the reference to the frame, while the volume shows that frame."""
    for frame in range(moving_body.COUNT):
        show(browser, frame)
        assert result.volume.GetParentTransformNode() is result.transform
        found = clicks.moved(result.transform.GetTransformFromParent(), POINTS) - POINTS
        assert np.linalg.norm(found - moving_body.shift_of(frame), axis=1).max() < tolerance, frame
        assert np.array_equal(slicer.util.arrayFromVolume(result.volume), moving_body.image_of(frame).array)


def test_a_transform_per_frame_in_the_same_browser(browser) -> None:
    worker, steps = InstantWorker(), []
    result = started(worker, browser, lambda *step: steps.append(step), preset="fast").wait()
    assert browser.GetNumberOfSynchronizedSequenceNodes(True) == 2
    assert browser.IsSynchronizedSequenceNode(result.sequence)
    values = [result.sequence.GetNthIndexValue(n) for n in range(moving_body.COUNT)]
    assert values == ["0", "10", "20", "30"]
    assert (result.sequence.GetIndexName(), result.sequence.GetIndexUnit()) == ("phase", "%")
    assert browser.GetSelectedItemNumber() == moving_body.COUNT - 1
    check_playback(result, browser, 1e-3)
    reference = moving_body.image_of(moving_body.REFERENCE)
    assert np.array_equal(slicer.util.arrayFromVolume(result.fixedVolume), reference.array)
    assert result.fixedVolume.GetParentTransformNode() is None
    assert sorted(result.reports) == [0, 2, 3]
    rows = [line.split(",") for line in result.motionCsv.splitlines()[1:]]
    assert [row[:6] for row in rows] == [
        ["0", "network", "lung", "3.000", "-4.000", "-2.000"],
        ["1", "network", "lung", "0.000", "0.000", "0.000"],
        ["2", "network", "lung", "-3.000", "4.000", "2.000"],
        ["3", "network", "lung", "-6.000", "8.000", "4.000"],
    ]
    assert [row[8] for row in rows] == ["900.000", "900.000", "902.000", "903.000"]
    node = result.sequence.GetNthDataNode(3)
    assert json.loads(node.GetAttribute("PDDRegistration.Report"))["frame"] == 3
    assert [round(fraction, 3) for fraction, _ in steps] == [0.167, 0.5, 0.833]
    assert [stage for _, stage in steps] == ["frame 2: match", "frame 3: match", "frame 0: match"]


def test_frames_start_from_their_neighbour_unless_it_failed(browser) -> None:
    worker = InstantWorker()
    started(worker, browser).wait()
    assert [request["frame"] for request in worker.requests] == [2, 3, 0]
    assert [request["align"] for request in worker.requests] == [False] * 3
    first, second, before = worker.requests
    assert "initial_transform" not in first and "initial_transform" not in before
    assert np.allclose(second["initial_transform"].transform_points(POINTS) - POINTS, moving_body.STEP_MM, atol=1e-3)
    again = InstantWorker()
    again.failed = {2}
    started(again, browser, align=True).wait()
    assert ["initial_transform" in request for request in again.requests] == [False] * 3


def test_again_the_volume_gets_the_new_transform(browser) -> None:
    first = started(InstantWorker(), browser).wait()
    second = started(InstantWorker(), browser).wait()
    assert first.transform is not second.transform
    check_playback(second, browser, 1e-3)


def test_cancel_leaves_the_scene_as_it_was(browser) -> None:
    nodes, worker, failures = count(), InstantWorker(), []
    job = started(worker, browser, None, None, failures.append)
    worker.waitFor(1)
    job.cancel()
    assert [failure.kind for failure in failures] == ["cancelled"]
    assert not job.isRunning
    with pytest.raises(Cancelled):
        job.wait()
    assert (count(), browser.GetNumberOfSynchronizedSequenceNodes(True)) == (nodes, 1)
    assert len(worker.requests) == 2


def test_a_sequence_that_changes_during_the_run_is_refused(browser) -> None:
    worker = InstantWorker()
    job = started(worker, browser)
    browser.GetMasterSequenceNode().RemoveDataNodeAtValue("30")
    nodes = count()
    with pytest.raises(InputError, match="CT: its frames changed during the run"):
        job.wait()
    assert count() == nodes


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            MemoryError(),
            "memory",
            "The memory of this machine does not suffice; close other programs, or crop the volumes.",
        ),
        (ZeroDivisionError("planted"), "internal", "The sequence could not be registered."),
    ],
)
@pytest.mark.parametrize(("place", "call"), [("imageFromVolume", 5), ("addTransformSequence", 1)])
def test_whatever_goes_wrong_between_two_frames_ends_the_job(
    browser, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, message: str, place: str, call: int
) -> None:
    """The third frame cannot be read, or the result does not fit into the scene."""
    from PDDRegistrationLib.registration import sequence_job

    original, calls, failures = getattr(sequence_job, place), [], []

    def faulty(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise error
        return original(*arguments)

    monkeypatch.setattr(sequence_job, place, faulty)
    monkeypatch.setattr("logging.exception", lambda *_: None)
    nodes, worker = count(), InstantWorker()
    job = started(worker, browser, None, None, failures.append)
    with pytest.raises(type(error)):
        job.wait()
    assert [(failure.kind, failure.message) for failure in failures] == [(kind, message)]
    assert (job.isRunning, count(), worker.waiting) == (False, nodes, {})


def test_what_is_no_sequence_of_volumes_is_one_sentence(browser, logic) -> None:
    with pytest.raises(InputError, match="CT: there is no frame 4; choose 0 to 3"):
        logic.registerSequence(browser, 4)
    with pytest.raises(InputError, match="Choose a sequence browser"):
        logic.registerSequence(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Empty"), 0)
    with pytest.raises(InputError, match="the sequence has 1 frames"):
        logic.registerSequence(browser_of(range(1)), 0)
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Table")
    browser.GetProxyNode(browser.GetMasterSequenceNode()).SetAndObserveTransformNodeID(parent.GetID())
    with pytest.raises(InputError, match="lies under Table"):
        logic.registerSequence(browser, 0)


@pytest.mark.slow
def test_the_registration_process_finds_the_shifts(browser, logic) -> None:
    result = logic.registerSequence(browser, moving_body.REFERENCE, preset="fast", transformType="rigid")
    assert result.transform.GetClassName() == "vtkMRMLLinearTransformNode"
    for frame in range(moving_body.COUNT):
        show(browser, frame)
        found = clicks.moved(result.transform.GetTransformFromParent(), FIXED.centre[None]) - FIXED.centre
        assert np.linalg.norm(found - moving_body.shift_of(frame)) < 2.5, frame
