"""Runs that fail: what the user is told, what can be saved about it, and that the scene stays as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pddnet
from helpers import runs, samples
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError

if TYPE_CHECKING:
    from host.host import Host

PRIVATE = ("Patient", "Doe", "liver", "spleen", "Klinikum", "organs")
FAULTY = ["updateVolumeFromImage", "segmentationFromLabels", "gridTransformFromField", "setRegistrationReferences"]
INTERNAL = "The result could not be put into the scene."

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


@pytest.fixture
def host(running_host: Host) -> Host:
    return running_host


def then_raise(original: Callable[..., Any], fault: BaseException, times: int = 1) -> Callable[..., Any]:
    """The function, which raises after having done its work for the n-th time."""
    calls: list[int] = []

    def faulty(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        calls.append(1)
        if len(calls) == times:
            raise fault
        return result

    return faulty


def whole_scene() -> dict[str, tuple[Any, ...]]:
    """Every node with its place and references; of those that hold patient data also that.

    Without the subject hierarchy, which MRML makes when something asks for it.
    """
    import slicer

    kinds = ["vtkMRMLVolumeNode", "vtkMRMLTransformNode", "vtkMRMLSegmentationNode"]
    nodes = [one for node in slicer.util.getNodes("*", useLists=True).values() for one in node]
    return {
        node.GetID(): (node.GetName(), *(runs.fingerprint(node) if any(map(node.IsA, kinds)) else ()))
        for node in nodes
        if not node.IsA("vtkMRMLSubjectHierarchyNode")
    }


def save_report(bench: runs.Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Click the button, choose the path, and read strictly what was written."""
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_arguments: str(path))
    bench.host.runInEventLoop(lambda: runs.click(bench.ui.saveReportButton))
    return json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_failed_run_can_be_saved_without_names(
    bench: runs.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    from PDDRegistrationLib.registration import outputs

    assert not bench.ui.saveReportButton.visible
    volume = bench.nodes["movingVolume"]
    volume.AddDefaultStorageNode()
    file = "/data/Klinikum/Doe, John/scan 7.nrrd"
    volume.GetStorageNode().SetFileName(file)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jane")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "4711-0815")
    hierarchy.CreateItem(patient, volume)
    text = f"{file} of Doe^Jane, DOE^JANE (4711-0815) with liver and Moving^Patient in {Path.home()}/scans"
    monkeypatch.setattr(
        outputs, "gridTransformFromField", then_raise(outputs.gridTransformFromField, RuntimeError(text))
    )
    with monkeypatch.context() as context:
        context.setattr("logging.exception", lambda *_: None)
        bench.run(lambda stage: bench.worker._log.append(f"{stage} of Fixed organs and spleen"))
    assert bench.status == INTERNAL
    assert bench.ui.saveReportButton.visible

    report = save_report(bench, tmp_path / "Bericht ä.json", monkeypatch)
    written = (tmp_path / "Bericht ä.json").read_text("utf-8")
    assert [
        name for name in (*PRIVATE, "4711", "jane", str(Path.home()), file) if name.lower() in written.lower()
    ] == []
    assert len(written) < 20_000
    details = report["failure"]["details"]
    expected = "<name> of <name>, <name> (<name>) with <name> and <name> in <home>/scans"
    assert (report["failure"]["kind"], report["failure"]["message"]) == ("internal", INTERNAL)
    assert details == [f"RuntimeError({expected!r})"]
    assert "align of <name> and <name>" in report["log"]
    assert report["settings"] == {"do": "register", "preset": "fast", "device": "auto"}
    versions = report["versions"]
    assert versions["pddnet"] == pddnet.__version__
    assert versions["numpy"] == np.__version__
    assert versions["torch"][0].isdigit()
    for name, grid in (("fixed", samples.FIXED), ("moving", samples.MOVING)):
        described = report["inputs"][name]
        assert described["voxels"] == "int16"
        assert described["grid"]["size"] == grid.size.tolist()
        assert np.allclose(described["grid"]["spacing_mm"], grid.spacing)
        assert np.allclose(described["grid"]["origin_lps_mm"], grid.origin)


def test_the_report_is_offered_only_after_a_failure_and_can_be_declined(
    bench: runs.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    bench.run(lambda stage: os.kill(bench.worker.hello["pid"], 9) if stage == "align" else None)
    assert bench.ui.saveReportButton.visible
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_arguments: "")
    bench.host.runInEventLoop(lambda: runs.click(bench.ui.saveReportButton))
    report = save_report(bench, tmp_path / "r.json", monkeypatch)
    assert report["failure"]["kind"] == "died"
    assert report["failure"]["details"] == report["log"][-15:]
    assert [path.name for path in tmp_path.glob("*.json*")] == ["r.json"]
    with pytest.raises(InputError, match=r"the report cannot be written \(No such file or directory\); choose"):
        save_report(bench, tmp_path / "missing" / "r.json", monkeypatch)
    bench.check_usable()
    assert not bench.ui.saveReportButton.visible


def test_wrong_inputs_are_one_sentence_and_no_report(bench: runs.Bench) -> None:
    import slicer

    flat = runs.add_volume(Image(np.zeros_like(samples.ramp(samples.FIXED).array), samples.FIXED), "Flat")
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    thin = Grid((3, 22, 26), (3.0, 2.5, 4.0), samples.FIXED.origin, samples.FIXED.direction)
    small = runs.add_volume(samples.ramp(thin), "Small")
    wanted = {
        "Empty: the volume has no voxels; load or choose another one": {"movingVolume": empty},
        "moving volume: every voxel has the same value (0); choose a volume that shows something": {
            "movingVolume": flat, "movingSegmentation": None,
        },
        "fixed volume: the volume is only 78 x 55 x 12 mm large; it must measure at least 16 mm along every axis, so "
        "correct the header if it is in cm": {"fixedVolume": small},
    }  # fmt: skip
    bench.run(lambda stage: os.kill(bench.worker.hello["pid"], 9) if stage == "align" else None)
    assert bench.ui.saveReportButton.visible
    for text, choice in wanted.items():
        bench.choose(**{**bench.nodes, **choice})
        before = whole_scene()
        bench.host.runInEventLoop(lambda: (runs.click(bench.ui.applyButton), bench.end()))
        assert bench.status.rstrip(".") == text
        assert not bench.ui.saveReportButton.visible
        assert not bench.ui.progressBar.visible
        assert whole_scene() == before
    bench.choose(**bench.nodes)
    bench.check_inputs_untouched()
    bench.check_usable()


@pytest.mark.parametrize("resampled", [True, False], ids=["outputs", "under the transform"])
def test_a_fault_while_the_result_is_put_into_the_scene_leaves_it_as_it_was(
    bench: runs.Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, resampled: bool
) -> None:
    """Outputs whole or not at all: also those that held something, or nothing, or lay under transforms."""
    import slicer

    from PDDRegistrationLib.registration import job, outputs
    from PDDRegistrationLib.scene import placement

    if resampled:
        bench.add_outputs()
        faults = [*[(outputs, name, 1) for name in FAULTY], (job, "placeBeside", 1)]
    else:
        parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Gantry")
        for name in ("movingVolume", "movingSegmentation"):
            bench.nodes[name].SetAndObserveTransformNodeID(parent.GetID())
        faults = [
            (job, "placeUnder", 1),
            (job, "placeUnder", 2),
            (placement, "_worldCopy", 2),
            *[(outputs, name, 1) for name in FAULTY[2:]],
        ]
    before = whole_scene()
    for place, name, times in faults:
        with monkeypatch.context() as context:
            context.setattr(place, name, then_raise(getattr(place, name), ZeroDivisionError("planted"), times))
            bench.run()
        assert bench.status == INTERNAL, name
        assert bench.ui.saveReportButton.visible
        assert whole_scene() == before, name
    assert caplog.text.count("ZeroDivisionError: planted") == len(faults)
    bench.run()
    assert bench.status == ""
    assert whole_scene() != before


def test_new_output_nodes_stay_empty(bench: runs.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    from PDDRegistrationLib.registration import job

    kinds = {"outputTransform": "GridTransform", "outputVolume": "ScalarVolume", "outputSegmentation": "Segmentation"}
    outputs = {name: slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{kind}Node", name) for name, kind in kinds.items()}
    bench.choose(**outputs)
    before = whole_scene()
    with monkeypatch.context() as context:
        context.setattr(job, "placeBeside", then_raise(job.placeBeside, OSError("planted")))
        context.setattr("logging.exception", lambda *_: None)
        bench.run()
    assert bench.status == INTERNAL
    after = whole_scene()
    added = {key.rstrip("0123456789") for key in after.keys() - before.keys()}
    assert added == {"vtkMRMLSegmentationDisplayNode"}  # if it were removed again, the slice views would crash
    changed = {key for key in before if after[key] != before[key]}
    assert changed == {outputs["outputSegmentation"].GetID()}
    assert outputs["outputVolume"].GetImageData() is None
    assert outputs["outputSegmentation"].GetSegmentation().GetNumberOfSegments() == 0
    assert outputs["outputVolume"].GetDisplayNode() is None
    assert bench.ui.verdictLabel.text == ""
    bench.check_usable()
    assert outputs["outputVolume"].GetImageData().GetDimensions() == tuple(samples.FIXED.size.tolist())
    assert outputs["outputSegmentation"].GetSegmentation().GetNumberOfSegments() == 2


def test_no_memory_in_this_process(host: Host, bench: runs.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the inputs are read, the answer is read, and while the result is put into the scene."""
    from PDDRegistrationLib.registration import job, outputs
    from PDDRegistrationLib.worker import client as worker_process

    before = whole_scene()
    for place, name in ((job, "imageFromVolume"), (worker_process, "unpack"), (outputs, "gridTransformFromField")):
        with monkeypatch.context() as context:
            context.setattr(place, name, then_raise(getattr(place, name), MemoryError()))
            host.runInEventLoop(lambda: (runs.click(bench.ui.applyButton), bench.end()))
        assert bench.status == "The memory of this machine does not suffice; close other programs, or crop the volumes."
        assert whole_scene() == before, name
        assert runs.arrays(host) == []
    bench.check_usable()


def test_no_memory_in_the_registration_process(
    bench: runs.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.widget.logic.stop()
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "torch.py").write_text("raise MemoryError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "big"))
    bench.run()
    assert bench.status.startswith("the memory of this machine does not suffice; close other programs")
    assert save_report(bench, tmp_path / "r.json", monkeypatch)["failure"]["kind"] == "memory"
    bench.check_inputs_untouched()
    monkeypatch.delenv("PYTHONPATH")
    bench.widget.logic.stop()
    bench.check_usable()


def test_an_unexpected_fault_at_the_start(bench: runs.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from PDDRegistrationLib.registration import job

    with monkeypatch.context() as context:
        context.setattr(job, "imageFromVolume", then_raise(job.imageFromVolume, ZeroDivisionError("planted")))
        with pytest.raises(ZeroDivisionError, match="planted"):
            bench.host.runInEventLoop(lambda: runs.click(bench.ui.applyButton))
    assert bench.status == "The registration could not be started; the Python console says why."
    assert (bench.ui.applyButton.text, bench.ui.applyButton.enabled) == ("Apply", True)
    bench.check_usable()


def test_a_fault_after_the_result_is_in_the_scene(bench: runs.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from PDDRegistrationLib.ui import registration_panel

    with monkeypatch.context() as context:
        fault = then_raise(registration_panel.rememberRun, ZeroDivisionError("planted"))
        context.setattr(registration_panel, "rememberRun", fault)
        context.setattr("logging.exception", lambda *_: None)
        bench.run()  # until the button says Apply again
    assert bench.parameters.outputTransform is not None
    bench.check_usable()


def test_a_launcher_that_is_not_there(bench: runs.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = Path(shutil.which("PythonSlicer"))
    bench.widget.logic.stop()
    there = launcher.read_text()
    launcher.write_text("#!/nowhere/python\n")
    bench.host.runInEventLoop(lambda: (runs.click(bench.ui.applyButton), bench.end()))
    assert bench.status == f"{launcher} cannot be started; install the application again."
    assert runs.leftovers(bench.host) == []
    launcher.write_text(there)
    bench.check_usable()


def test_temporary_files_cannot_be_written(
    host: Host, bench: runs.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no such folder, or its disk is full; another one may be chosen without restarting."""
    from PDDRegistrationLib.worker import client as worker_process

    bench.widget.logic.stop()
    with monkeypatch.context() as context:
        context.setattr(host.app, "_folder", str(tmp_path / "missing"))
        host.runInEventLoop(lambda: (runs.click(bench.ui.applyButton), bench.end()))
        text = "the folder for temporary files cannot be used (No such file or directory); free space or choose another"
        assert bench.status == f"{tmp_path / 'missing'}: {text}"
        assert not bench.ui.saveReportButton.visible
    full = InputError("No space left on device; free space on the disk of the temporary files")
    with monkeypatch.context() as context:
        context.setattr(worker_process, "pack", then_raise(worker_process.pack, full))
        host.runInEventLoop(lambda: (runs.click(bench.ui.applyButton), bench.end()))
        assert bench.status == str(full)
    bench.check_inputs_untouched()
    bench.check_usable()
