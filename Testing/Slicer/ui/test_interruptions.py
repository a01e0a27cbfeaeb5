"""Runs that are interrupted, by clicks: the inputs stay as they were, nothing is left behind, and Apply works again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from helpers import clicks, runs

if TYPE_CHECKING:
    from host.host import Host

_DETAIL = ("start", "prepare", "structures", "align", "match 1", "detail", "finish", "warp", "measure")
# both scans are one patient's, which `multimodal` does not ask
STAGES = [*(("default", stage) for stage in _DETAIL), ("multimodal", "match 2"), ("multimodal", "refine")]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


@pytest.fixture
def host(running_host: Host) -> Host:
    return running_host


@pytest.fixture(autouse=True)
def every_click_counts(running_host: Host) -> Iterator[None]:
    with clicks.every_click_counts():
        yield


def transforms() -> list[str]:
    """The names of all grid transforms in the scene: the results."""
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLGridTransformNode")
    return [node.GetName() for node in nodes]


def at(stage: str, act: Callable[[], object]) -> Callable[[str], None]:
    """`act`, once, when the stage begins."""
    done: list[str] = []

    def during(now: str) -> None:
        if now == stage and not done:
            done.append(now)
            act()

    return during


def test_cancel_in_each_stage(host: Host, bench: runs.Bench) -> None:
    outputs = list(bench.add_outputs().values())
    before = [runs.fingerprint(node) for node in outputs]
    there = transforms()
    for preset, stage in STAGES:
        bench.choose(preset=preset)
        bench.run(at(stage, lambda: runs.click(bench.ui.applyButton)))
        assert stage == bench.stages[-1], "the panel hears nothing more of a run that is cancelled"
        assert bench.status == "The registration was cancelled."
        assert (bench.ui.progressBar.visible, bench.ui.saveReportButton.visible) == (False, False)
        assert transforms() == there
        assert [runs.fingerprint(node) for node in outputs] == before
        assert runs.arrays(host) == []
        bench.check_inputs_untouched()
    bench.check_usable()


def test_cancel_by_a_click_between_two_messages(bench: runs.Bench) -> None:
    """As above, but from the event loop and right after Apply, when the process may not even have said hello."""
    for stop in (False, True):
        if stop:
            bench.widget.logic.stop()

        def body() -> None:
            bench.begin()
            runs.click(bench.ui.applyButton)
            assert bench.status == "Cancelling..."
            runs.click(bench.ui.applyButton)  # twice does no harm
            bench.end()

        bench.host.runInEventLoop(body)
        assert bench.status == "The registration was cancelled."
        bench.check_inputs_untouched()
    assert transforms() == []
    bench.check_usable()


def test_a_double_click_starts_one_run_and_a_later_click_cancels_it(
    bench: runs.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    from PDDRegistrationLib.ui import double_click

    now = [100.0]  # a clock of the test's own: while it waited for the real one, the run could end
    monkeypatch.setattr(double_click, "time", SimpleNamespace(monotonic=lambda: now[0]))
    slicer.app.doubleClickInterval = 300
    button = bench.ui.applyButton

    def body() -> None:
        clicks.double_click(button)
        assert (button.text, button.enabled, bench.worker.isBusy) == ("Cancel", True, True)
        assert bench.status != "Cancelling..."
        runs.click(button)
        assert bench.status != "Cancelling..."
        now[0] += 0.299
        runs.click(button)
        assert bench.status != "Cancelling..."
        now[0] += 0.002
        runs.click(button)
        assert bench.status == "Cancelling..."
        bench.end()

    bench.choose(preset="default")
    bench.host.runInEventLoop(body)
    assert bench.status == "The registration was cancelled."


def test_a_killed_process_is_reported_with_its_last_lines(host: Host, bench: runs.Bench) -> None:
    def kill(victim: str) -> None:
        worker = bench.worker
        worker._log.append("the last line")
        pid = worker.hello["pid"]
        os.kill(pid if victim == "worker" else psutil.Process(pid).ppid(), signal.SIGKILL)

    for victim in ("worker", "launcher"):
        bench.run(at("align", lambda victim=victim: kill(victim)))
        killed = bench.worker.hello["pid"]
        assert bench.status.startswith("The registration process ended unexpectedly")
        assert bench.status.endswith("\nthe last line")
        assert transforms() == []
        assert runs.leftovers(host) == []
        assert host.waitUntil(lambda killed=killed: not psutil.pid_exists(killed), 10)
        bench.check_inputs_untouched()
    bench.check_usable()
    assert bench.worker.hello["pid"] != killed


def test_the_scene_is_closed_during_a_run(host: Host, bench: runs.Bench) -> None:
    import slicer

    for stage in ("align", "measure"):
        bench.run(at(stage, lambda: slicer.mrmlScene.Clear(0)))
        assert bench.status == "The registration was cancelled."
        assert transforms() == []
        assert bench.parameters.movingVolume is None
        assert (bench.ui.applyButton.enabled, bench.ui.applyButton.toolTip) == (False, "Choose a fixed volume.")
        assert runs.arrays(host) == []
        bench.fill()
    bench.check_usable()


def test_a_node_is_deleted_during_a_run(host: Host, bench: runs.Bench) -> None:
    import slicer

    for name in [*bench.nodes, *runs.OUTPUTS]:
        host.closeScene()
        bench.fill()
        outputs = bench.add_outputs()
        outputs["outputVolume"].SetAndObserveTransformNodeID(None)  # else it changes when the transform is deleted
        before = {key: runs.fingerprint(output) for key, output in outputs.items() if key != name}
        node = {**bench.nodes, **outputs}[name]
        there = [text for text in transforms() if text != node.GetName()]
        bench.run(at("align", lambda node=node: slicer.mrmlScene.RemoveNode(node)))
        text = f"{node.GetName()} was removed during the run; nothing was changed. Choose again."
        assert bench.status == text
        assert not bench.ui.saveReportButton.visible
        assert transforms() == there
        assert {key: runs.fingerprint(output) for key, output in outputs.items() if key != name} == before
        bench.check_inputs_untouched(but=(name,))
        assert getattr(bench.parameters, name) is None
        assert bench.ui.applyButton.enabled is (name not in ("fixedVolume", "movingVolume", "movingSegmentation"))
        assert runs.arrays(host) == []
    bench.check_usable()


def shifted() -> Any:
    """A transform that moves what lies under it by 50 mm."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "bed")
    matrix = np.eye(4)
    matrix[0, 3] = 50.0
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def test_a_scan_or_its_organs_are_moved_during_a_run(host: Host, bench: runs.Bench) -> None:
    for name, node in bench.nodes.items():
        bed = shifted()
        bench.run(at("align", lambda node=node, bed=bed: node.SetAndObserveTransformNodeID(bed.GetID())))
        assert bench.status == (
            f"{node.GetName()} was moved during the run, so the result does not fit; nothing was changed. Start again."
        )
        assert transforms() == []
        assert node.GetParentTransformNode() is bed
        node.SetAndObserveTransformNodeID(None)
        bench.check_inputs_untouched()
        assert getattr(bench.parameters, name) is node
    bench.nodes["fixedVolume"].SetAndObserveTransformNodeID(bed.GetID())
    bench.run(at("align", lambda: bed.Inverse()))
    assert bench.status.startswith("Fixed^Patient was moved during the run")


def test_the_origin_of_a_scan_is_changed_during_a_run(host: Host, bench: runs.Bench) -> None:
    fixed = bench.nodes["fixedVolume"]
    origin = fixed.GetOrigin()
    bench.run(at("align", lambda: fixed.SetOrigin(origin[0], origin[1], origin[2] + 50.0)))
    assert bench.status.startswith("Fixed^Patient was moved during the run, so the result does not fit")
    assert transforms() == []
    fixed.SetOrigin(*origin)
    bench.check_usable()


def test_an_output_of_an_earlier_run_is_none_of_a_later_one_into_the_same_transform(
    host: Host, bench: runs.Bench
) -> None:
    from PDDRegistrationLib.scene.provenance import isMadeWith

    outputs = bench.add_outputs()
    bench.check_usable()
    transform, volume = outputs["outputTransform"], outputs["outputVolume"]
    assert isMadeWith(volume, transform) and isMadeWith(outputs["outputSegmentation"], transform)
    bench.choose(outputVolume=None)
    bench.check_usable()
    assert isMadeWith(outputs["outputSegmentation"], transform)
    assert not isMadeWith(volume, transform)


def test_a_scan_taken_out_of_its_former_result_during_a_run_is_not_moved(host: Host, bench: runs.Bench) -> None:
    """A run reads it without that result, and so it lies where it was read."""
    bench.check_usable()
    moving = bench.nodes["movingVolume"]
    bench.choose(outputTransform=None)
    bench.run(at("align", lambda: moving.SetAndObserveTransformNodeID(None)))
    assert bench.status == ""
    assert moving.GetParentTransformNode() is bench.parameters.outputTransform
    assert bench.error_at_the_centre() < 6.0


@pytest.mark.parametrize("sides", [["fixed"], ["fixed", "moving"]], ids=["one list", "both lists"])
def test_points_placed_during_a_run_are_for_the_next_one(host: Host, bench: runs.Bench, sides: list[str]) -> None:
    import slicer

    from PDDRegistrationLib.registration.job import reportOf

    kind = "vtkMRMLMarkupsFiducialNode"
    points = {f"{side}Points": slicer.mrmlScene.AddNewNodeByClass(kind, side) for side in ("fixed", "moving")}
    bench.choose(**points)
    bench.run(at("align", lambda: [points[f"{side}Points"].AddControlPoint(1.0, 2.0, 3.0) for side in sides]))
    assert bench.status == ""
    report = reportOf(bench.parameters.outputTransform)
    assert report is not None
    assert report["started"] is False
    assert bench.error_at_the_centre() < 6.0


def test_the_module_is_left_and_entered_again(host: Host, bench: runs.Bench) -> None:
    """The run goes on, and what came of it is in the parameters; the panel shows it when it is looked at again."""

    def body(back: str) -> None:
        bench.begin()
        assert host.waitUntil(lambda: "prepare" in bench.stages)
        bench.widget.parent.exit()
        if back == "during the run":
            bench.widget.parent.enter()
            assert (bench.ui.applyButton.text, bench.ui.progressBar.visible) == ("Cancel", True)
            bench.end()
        else:
            assert host.waitUntil(lambda: not bench.worker.isBusy, 60)
            bench.widget.parent.enter()

    for number, back in enumerate(("during the run", "after the run")):
        bench.choose(outputTransform=None)
        bench.host.runInEventLoop(lambda back=back: body(back))
        assert len(transforms()) == number + 1
        assert bench.parameters.outputTransform.GetName() == transforms()[number]
        assert (bench.ui.applyButton.text, bench.ui.progressBar.visible) == ("Apply", False)
        assert "preset fast" in bench.ui.verdictLabel.text
        assert bench.nodes["movingVolume"].GetParentTransformNode() is bench.parameters.outputTransform
