"""The section Batch: pairs of the scene or of a table, a verdict in each row, a click that loads it, cancel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers import samples
from helpers.batch_section import BatchSection, find_shift
from helpers.mrml_geometry import RAS, slicer
from helpers.runs import add_volume, click, leftovers

if TYPE_CHECKING:
    from host.host import Host

BUTTON = "Register the pairs"


@pytest.fixture
def section(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchSection]:
    find_shift(monkeypatch)
    host.closeScene()
    section = BatchSection(tmp_path / "results")
    section.widget.show()  # its rows are clicked
    yield section
    section.panel.close()
    section.widget.hide()
    assert leftovers(host) == []


def table_of(folder: Path, *ids: str, broken: str = "") -> Path:
    """A table of pairs of one fixed scan; the moving scan of `broken` is missing."""
    files = samples.write_pair(folder)
    moving = {name: Path(files["M"]).name if name != broken else "none.nii.gz" for name in ids}
    path = folder / "pairs.csv"
    path.write_text("fixed,moving,id\n" + "".join(f"F.nii.gz,{moving[name]},{name}\n" for name in ids), "utf-8")
    return path


def volumes() -> list[str]:
    return [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]


def test_it_says_why_it_cannot_be_started(section: BatchSection, tmp_path: Path) -> None:
    ui = section.ui
    told = [ui.batchReasonLabel.text]
    section.parameters.fixedVolume = add_volume(samples.ramp(samples.FIXED), "Fixed")
    told.append(ui.batchReasonLabel.text)
    add_volume(samples.ramp(samples.MOVING), "Moving")
    told.append(ui.batchReasonLabel.text)
    section.tick(0)
    told.append(ui.batchReasonLabel.text)
    assert told == [
        "Choose a fixed volume under Inputs: the others are laid over it.",
        "The scene has no other volume; load those to be laid over the fixed one.",
        "Tick the pairs to register.",
        "Choose a folder for the results.",
    ]
    assert not ui.batchButton.enabled
    ui.batchFolderPathLineEdit.currentPath = str(tmp_path)
    assert ui.batchButton.enabled and not ui.batchReasonLabel.visible
    ui.batchSourceComboBox.setCurrentIndex(1)
    assert ui.batchReasonLabel.text == "Choose a table: a CSV file with the columns fixed and moving."
    (tmp_path / "pairs.csv").write_text("fixed\na.nii\n", "utf-8")
    ui.batchTablePathLineEdit.currentPath = str(tmp_path / "pairs.csv")
    assert "there is no column moving" in ui.batchReasonLabel.text
    assert not ui.batchButton.enabled
    section.choose_table(table_of(tmp_path, "p1"))
    section.worker.isBusy = True
    click(ui.batchButton)
    assert "Something else is being computed" in section.status
    assert section.worker.requests == []


def test_a_table_is_registered_row_by_row_and_only_paths_travel(section: BatchSection, tmp_path: Path) -> None:
    section.choose_table(table_of(tmp_path, "p1", "p2", "p3"))
    section.tick(1, False)
    section.parameters.captureRange = 30.0
    click(section.ui.batchButton)
    assert section.ui.batchButton.text == "Cancel"
    section.worker.progress(0.5, "match 1")
    assert section.ui.batchProgressBar.value == 25
    assert section.status == "1 of 2, p1: Matching, stage 1"
    assert section.cells == [("p1", "registering", ""), ("p2", "", ""), ("p3", "waiting", "")]
    section.worker.answer()
    assert section.cells[0] == ("p1", "ok", "-")
    section.worker.answer()
    assert section.ui.batchButton.text == BUTTON
    assert section.status == "2 of 2 pairs are registered. Click a row to load its result."
    assert volumes() == []
    first = section.worker.requests[0]
    assert first["pair"] == {
        "id": "p1",
        "files": {"fixed": str(tmp_path / "F.nii.gz"), "moving": str(tmp_path / "M.nii.gz")},
        "series": {},
    }
    assert (first["settings"]["preset"], first["settings"]["adjust"]) == ("fast", {"capture_range": 30.0})
    assert summary(section) == [["p1", "done", "ok"], ["p3", "done", "ok"]]
    assert not (section.folder / "summary.html").exists()


def summary(section: BatchSection) -> list[list[str]]:
    """Name, state and verdict of each line of summary.csv."""
    lines = (section.folder / "summary.csv").read_text("utf-8").splitlines()
    return [line.split(",")[:3] for line in lines[1:]]


def test_a_second_run_keeps_what_is_known_of_the_first(section: BatchSection, tmp_path: Path) -> None:
    section.choose_table(table_of(tmp_path, "p1", "p2", "p3", "p4", broken="p2"))
    for row in (2, 3):
        section.tick(row, False)
    click(section.ui.batchButton)
    section.worker.answer()
    section.worker.answer()
    for row in range(4):
        section.tick(row, row == 2)
    section.panel._doubleClick._ends = 0.0
    click(section.ui.batchButton)
    section.worker.progress(0.5, "match 1")
    assert section.ui.batchProgressBar.value == 50
    assert section.status == "1 of 1, p3: Matching, stage 1"
    section.worker.answer()
    assert section.status == "1 of 1 pairs are registered. Click a row to load its result."
    assert [cells[1] for cells in section.cells] == ["ok", "not registered", "ok", ""]
    assert summary(section) == [["p2", "not done", ""], ["p1", "done", "ok"], ["p3", "done", "ok"]]
    section.click_row(0)
    assert len(section.shown) == 1
    section.click_row(1)
    assert section.status.startswith("p2: ")


def test_only_the_user_ticks(section: BatchSection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[int]] = []
    monkeypatch.setattr(section.panel._table, "_onTicked", lambda: told.append(section.panel._table.ticked))
    section.choose_table(table_of(tmp_path, "p1", "p2", "p3"))
    section.panel._table.lock(True)
    section.panel._table.lock(False)
    assert told == []
    section.tick(1, False)
    assert told == [[0, 2]]


def test_a_click_loads_the_row_alone(section: BatchSection, tmp_path: Path) -> None:
    section.choose_table(table_of(tmp_path, "p1", "p2"))
    click(section.ui.batchButton)
    section.worker.answer()
    section.click_row(1)  # not done yet
    assert section.shown == []
    section.click_row(0, 0)  # the tick
    assert section.shown == []
    section.click_row(0)  # while the other one is registered
    (pair,) = section.shown
    assert volumes() == ["F", "M"]
    point = samples.FIXED.centre + [3.0, -8.0, 11.0]
    moved = pair.transform.GetTransformFromParent().TransformPoint((point * RAS).tolist())
    np.testing.assert_allclose(moved * RAS, point + samples.SHIFT, atol=1e-3)
    assert pair.movingVolume.GetParentTransformNode() is pair.transform
    matrix = pair.fixedVolume.GetOrigin()
    np.testing.assert_allclose(matrix * RAS, samples.FIXED.origin, atol=1e-4)
    from PDDRegistrationLib.registration.job import reportOf

    assert reportOf(pair.transform)["verdict"]["status"] == "ok"
    section.worker.answer()
    section.short.isBusy = True
    section.click_row(1)
    assert "load it when that has ended" in section.status
    section.short.isBusy = False
    for _ in range(2):
        section.click_row(1)
    assert volumes() == ["F", "M"], "what is there is used again"
    assert len(slicer.util.getNodesByClass("vtkMRMLGridTransformNode")) == 2
    assert section.status == "p2 is loaded; its verdict stands above."


def distance_of_bodies(pair: Any) -> float:
    """How far apart, in mm, corresponding places of a pair's scans are displayed; `samples.SHIFT` was found."""
    from PDDRegistrationLib.scene.geometry import transformBetween

    place = samples.FIXED.centre + [3.0, -8.0, 11.0]
    shown = [
        transformBetween(volume.GetParentTransformNode(), None).TransformPoint((point * RAS).tolist())
        for volume, point in ((pair.fixedVolume, place), (pair.movingVolume, place + samples.SHIFT))
    ]
    return float(np.linalg.norm(np.subtract(*shown)))


def parents(node: Any) -> list[str]:
    from PDDRegistrationLib.scene.nodes import parentChain

    return [parent.GetName() for parent in parentChain(node)]


def test_a_pair_registered_both_ways_lies_together_whichever_is_shown(section: BatchSection, tmp_path: Path) -> None:
    samples.write_pair(tmp_path)
    path = tmp_path / "pairs.csv"
    path.write_text("fixed,moving,id\nF.nii.gz,M.nii.gz,there\nM.nii.gz,F.nii.gz,back\n", "utf-8")
    section.choose_table(path)
    click(section.ui.batchButton)
    for _ in range(2):
        section.worker.answer()
    for row in (0, 1, 0):
        section.click_row(row)
        pair = section.shown[-1]
        assert pair.fixedVolume.GetName() == "FM"[row]
        assert distance_of_bodies(pair) < 1e-3
        assert parents(pair.fixedVolume) == []
        assert parents(pair.movingVolume) == [pair.transform.GetName()]


def test_pairs_in_a_row_are_shown_over_the_first_fixed_scan(section: BatchSection, tmp_path: Path) -> None:
    (tmp_path / "N.nii.gz").write_bytes(Path(samples.write_pair(tmp_path)["M"]).read_bytes())
    path = tmp_path / "pairs.csv"
    path.write_text("fixed,moving,id\nF.nii.gz,M.nii.gz,1\nM.nii.gz,N.nii.gz,2\nN.nii.gz,F.nii.gz,3\n", "utf-8")
    section.choose_table(path)
    click(section.ui.batchButton)
    for _ in range(3):
        section.worker.answer()
    section.click_row(0)
    section.click_row(1)
    first, second = section.shown
    assert parents(second.movingVolume) == ["N to M", "M to F"]
    assert (distance_of_bodies(first), distance_of_bodies(second)) == pytest.approx((0, 0), abs=1e-3)
    section.click_row(2)  # what rests on F goes back to its own places
    assert parents(second.movingVolume) == []
    assert distance_of_bodies(section.shown[-1]) < 1e-3
    section.click_row(0)
    assert distance_of_bodies(section.shown[-1]) < 1e-3


def test_a_fixed_scan_that_lies_under_an_earlier_result_stays_there_with_the_pair(section: BatchSection) -> None:
    from PDDRegistrationLib.scene.placement import placeUnder, setRegistrationReferences

    names = {"Fixed": samples.FIXED, "Moving": samples.MOVING, "Reference": samples.MOVING}
    fixed, _moving, reference = (add_volume(samples.ramp(grid), name) for name, grid in names.items())
    earlier = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "earlier")
    matrix = np.eye(4)
    matrix[0, 3] = 100.0
    earlier.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    setRegistrationReferences(earlier, reference, fixed)
    placeUnder(fixed, earlier)
    section.parameters.fixedVolume = fixed
    section.ui.batchFolderPathLineEdit.currentPath = str(section.folder)
    section.tick(0)
    click(section.ui.batchButton)
    section.worker.answer()
    section.click_row(0)
    (pair,) = section.shown
    assert parents(fixed) == ["earlier"]
    assert distance_of_bodies(pair) < 1e-3


def test_a_row_that_fails_names_its_reason_and_the_others_go_on(section: BatchSection, tmp_path: Path) -> None:
    from PDDRegistrationLib.worker.failure import Failure

    section.choose_table(table_of(tmp_path, "p1", "p2", "p3", broken="p1"))
    click(section.ui.batchButton)
    section.worker.answer()
    section.worker.answer(Failure("died", "The registration process ended unexpectedly (exit code 9)."))
    section.worker.answer()
    assert [cells[1] for cells in section.cells] == ["not registered", "not registered", "ok"]
    assert section.status.endswith("Not registered: p1, p2.")
    section.click_row(0)
    assert section.status == f"p1: {tmp_path / 'none.nii.gz'}: no such file or folder; correct the path"
    assert "exit code 9" in section.ui.batchPairsTable.item(1, 2).toolTip()
    assert sorted(path.name for path in section.folder.iterdir()) == ["dataset_description.json", "p3", "summary.csv"]
    summary = (section.folder / "summary.csv").read_text("utf-8")
    assert "p2,not done" in summary and "exit code 9" in summary


def test_without_torch_the_batch_ends_at_once(section: BatchSection, tmp_path: Path) -> None:
    from PDDRegistrationLib.worker.failure import Failure

    section.choose_table(table_of(tmp_path, "p1", "p2"))
    click(section.ui.batchButton)
    section.worker.answer(Failure("torch_missing", "PyTorch cannot be loaded."))
    assert len(section.worker.requests) == 1
    assert section.status.startswith("PyTorch cannot be loaded.")
    assert [cells[1] for cells in section.cells] == ["", ""]


def test_cancel_keeps_what_is_done(section: BatchSection, tmp_path: Path) -> None:
    section.choose_table(table_of(tmp_path, "p1", "p2", "p3"))
    click(section.ui.batchButton)
    click(section.ui.batchButton)  # the second click of a double click
    section.worker.answer()
    section.panel._doubleClick._ends = 0.0
    click(section.ui.batchButton)
    assert section.ui.batchButton.text == BUTTON
    assert section.status == "Cancelled. 1 of 3 pairs are registered. Click a row to load its result."
    assert [cells[1] for cells in section.cells] == ["ok", "", ""]
    assert (section.folder / "p1" / "report.json").is_file()
    assert not (section.folder / "p2").exists()
    section.click_row(0)
    assert len(section.shown) == 1
    click(section.ui.batchButton)  # and the rest, later
    for _ in range(3):
        section.worker.answer()
    assert [cells[1] for cells in section.cells] == ["ok", "ok", "ok"]


def test_what_was_made_earlier_is_shown_and_loaded(section: BatchSection, tmp_path: Path) -> None:
    section.choose_table(table_of(tmp_path, "p1", "p2"))
    section.tick(1, False)
    click(section.ui.batchButton)
    section.worker.answer()
    section.ui.batchFolderPathLineEdit.currentPath = str(tmp_path)
    assert [cells[1] for cells in section.cells] == ["", ""]
    section.ui.batchFolderPathLineEdit.currentPath = str(section.folder)
    assert [cells[1] for cells in section.cells] == ["ok", ""]
    section.click_row(0)
    assert len(section.shown) == 1
    samples.save(samples.ramp(samples.FIXED), tmp_path / "F.nii.gz")  # another scan now
    section.panel.show(None)
    section.panel.show(section.parameters)
    assert [cells[1] for cells in section.cells] == ["", ""]


@pytest.fixture
def scene(section: BatchSection) -> dict[str, Any]:
    """A fixed volume and two others of one name, chosen to be registered."""
    images = {"Fixed": samples.FIXED, "a": samples.MOVING, "b": samples.MOVING}
    nodes = {key: add_volume(samples.ramp(grid), key if key == "Fixed" else "CT") for key, grid in images.items()}
    section.parameters.fixedVolume = nodes["Fixed"]
    section.ui.batchFolderPathLineEdit.currentPath = str(section.folder)
    for row in (0, 1):
        section.tick(row)
    return nodes


def test_volumes_of_the_scene_are_laid_over_the_fixed_one(
    section: BatchSection, scene: dict[str, Any], host: Host
) -> None:
    assert section.ui.batchFixedNameLabel.text == "Fixed"
    assert section.cells == [("CT_to_Fixed", "", ""), ("CT-2_to_Fixed", "", "")]
    click(section.ui.batchButton)
    (folder,) = leftovers(host)
    assert {path.name for path in folder.iterdir()} >= {"Fixed.nrrd", "CT.nrrd"}
    section.worker.answer()
    assert {path.name for path in folder.iterdir()} >= {"Fixed.nrrd", "CT-2.nrrd"}
    assert not (folder / "CT.nrrd").exists()
    section.worker.answer()
    assert leftovers(host) == []
    section.click_row(1)
    (pair,) = section.shown
    assert pair.movingVolume is scene["b"] and pair.fixedVolume is scene["Fixed"]
    assert scene["b"].GetParentTransformNode() is pair.transform
    assert scene["a"].GetParentTransformNode() is None


def verdict_of(pair: Any) -> str:
    from PDDRegistrationLib.registration.job import reportOf

    return reportOf(pair.transform)["verdict"]["status"]


@pytest.mark.parametrize("names", [("A", "B"), ("Same", "Same")], ids=["two names", "one name"])
def test_another_fixed_volume_has_results_of_its_own(
    section: BatchSection, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (add_volume(samples.ramp(samples.FIXED), name) for name in names)
    add_volume(samples.ramp(samples.MOVING), "CT")
    section.ui.batchFolderPathLineEdit.currentPath = str(section.folder)
    section.parameters.fixedVolume = first
    section.tick(1)
    click(section.ui.batchButton)
    section.worker.answer()
    assert section.cells[1][1] == "ok"
    section.parameters.fixedVolume = second
    assert section.cells[1][1] == "", "nothing is known of the other pair"
    section.click_row(1)
    assert section.shown == []
    monkeypatch.setattr("pddnet.pipeline.register", samples.fake_register("failed"))
    section.panel._doubleClick._ends = 0.0
    click(section.ui.batchButton)  # the volume is still ticked
    section.worker.answer()
    assert section.cells[1][1] == "failed"
    section.parameters.fixedVolume = first
    assert section.cells[1][1] == "ok"
    section.click_row(1)
    section.parameters.fixedVolume = second
    section.click_row(1)
    assert [pair.fixedVolume for pair in section.shown] == [first, second]
    assert [verdict_of(pair) for pair in section.shown] == ["ok", "failed"]
    assert len({pair.transform.GetID() for pair in section.shown}) == 2
    assert len(list(section.folder.glob("*/report.json"))) == 2
    assert [line[1:] for line in summary(section)] == [["done", "failed"], ["done", "ok"]]


def test_pairs_of_long_names_have_folders(section: BatchSection) -> None:
    """The name of a folder has at most 100 characters, and the volumes' are told apart."""
    section.parameters.fixedVolume = add_volume(samples.ramp(samples.FIXED), "f" * 90)
    for _ in range(2):
        add_volume(samples.ramp(samples.MOVING), "m" * 90)
    names = ["m" * 40, "m" * 40 + "-2"]
    assert [cells[0] for cells in section.cells] == [f"{name}_to_{'f' * 40}" for name in names]


def test_what_a_run_will_fill_is_not_offered(section: BatchSection, scene: dict[str, Any]) -> None:
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Jacobian")
    section.parameters.outputJacobian = output
    assert [cells[0] for cells in section.cells] == ["CT_to_Fixed", "CT-2_to_Fixed"]
    section.parameters.outputJacobian = None
    assert [cells[0] for cells in section.cells] == ["CT_to_Fixed", "CT-2_to_Fixed", "Jacobian_to_Fixed"]


def test_a_volume_that_is_gone_is_named(section: BatchSection, scene: dict[str, Any]) -> None:
    click(section.ui.batchButton)
    slicer.mrmlScene.RemoveNode(scene["b"])
    section.worker.answer()
    assert "Not registered: CT-2_to_Fixed" in section.status
    assert [cells[:2] for cells in section.cells] == [("CT_to_Fixed", "ok")], "the list is that of the scene again"
    slicer.mrmlScene.RemoveNode(scene["a"])
    assert section.cells == []


def test_a_volume_that_takes_over_a_name_has_not_its_results(section: BatchSection, scene: dict[str, Any]) -> None:
    click(section.ui.batchButton)
    for _ in range(2):
        section.worker.answer()
    slicer.mrmlScene.RemoveNode(scene["a"])
    assert section.cells == [("CT_to_Fixed", "", "")]
    section.click_row(0)
    assert section.shown == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "The memory of this machine does not suffice; close other programs, or crop the volumes."),
        (ZeroDivisionError("planted"), "The pair could not be read; the Python console says why."),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["the first pair", "the second pair"])
def test_a_volume_that_cannot_be_read_costs_one_pair(
    section: BatchSection,
    scene: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
    first: bool,
) -> None:
    from PDDRegistrationLib.scene import scan_files

    original, broken = scan_files.imageFromVolume, scene["a" if first else "b"]

    def faulty(node: Any, *arguments: Any) -> Any:
        if node is broken:
            raise error
        return original(node, *arguments)

    monkeypatch.setattr(scan_files, "imageFromVolume", faulty)
    monkeypatch.setattr("logging.exception", lambda *_: None)
    click(section.ui.batchButton)
    section.worker.answer()
    assert section.worker.open is None
    assert section.ui.batchButton.text == BUTTON
    verdicts = ["not registered", "ok"] if first else ["ok", "not registered"]
    assert [cells[1] for cells in section.cells] == verdicts
    assert section.status.startswith("1 of 2 pairs are registered.")
    section.click_row(0 if first else 1)
    assert section.status == f"{section.cells[0 if first else 1][0]}: {reason}"


def test_a_fault_in_a_callback_ends_neither_the_batch_nor_the_summary(
    section: BatchSection, scene: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("logging.exception", lambda *_: None)
    monkeypatch.setattr(section.panel, "_onRow", fail)
    monkeypatch.setattr("pddnet.batch.run.Batch.write_summaries", fail)
    click(section.ui.batchButton)
    for _ in range(2):
        section.worker.answer()
    assert section.ui.batchButton.text == BUTTON
    assert section.status.startswith("2 of 2 pairs are registered.")
    assert section.status.endswith("The summary could not be written; the Python console says why.")


def test_an_unexpected_fault_at_the_start_is_told(
    section: BatchSection, scene: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(section.panel.logic, "startBatch", fail)
    with pytest.raises(ZeroDivisionError, match="planted"):  # for the Python console
        section.panel._onClicked()
    assert section.status == "The batch could not be started; the Python console says why."
    assert (section.ui.batchButton.text, section.ui.batchButton.enabled) == (BUTTON, True)
    assert [cells[1] for cells in section.cells] == ["", ""]


def test_an_unexpected_fault_while_a_pair_is_loaded_is_told(
    section: BatchSection, scene: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("planted")

    click(section.ui.batchButton)
    for _ in range(2):
        section.worker.answer()
    monkeypatch.setattr("PDDRegistrationLib.ui.batch_panel.loadPair", fail)
    with pytest.raises(ZeroDivisionError, match="planted"):
        section.panel._onChosen(0)
    assert section.status == "The pair could not be loaded; the Python console says why."


def test_closing_the_scene_leaves_nothing_but_the_files(
    section: BatchSection, scene: dict[str, Any], host: Host
) -> None:
    click(section.ui.batchButton)
    section.worker.answer()
    section.panel.close()  # as the module does when the scene begins to close
    slicer.mrmlScene.Clear()
    assert leftovers(host) == []
    assert section.cells == []
    assert (section.folder / "CT_to_Fixed" / "report.json").is_file()
    assert not (section.folder / "CT-2_to_Fixed").exists()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")
    section.panel.show(type(section.parameters)(node))
    assert section.ui.batchButton.text == BUTTON


def test_volumes_that_come_in_a_batch_of_changes_are_listed(section: BatchSection) -> None:
    """As those of a DICOM import do."""
    section.parameters.fixedVolume = add_volume(samples.ramp(samples.FIXED), "Fixed")
    scene = slicer.mrmlScene
    scene.StartState(scene.BatchProcessState)
    add_volume(samples.ramp(samples.MOVING), "CT")
    assert section.cells == []
    scene.EndState(scene.BatchProcessState)
    assert section.cells == [("CT_to_Fixed", "", "")]
    assert section.ui.batchReasonLabel.text == "Tick the pairs to register."


def test_it_leaves_no_observer(section: BatchSection, scene: dict[str, Any]) -> None:
    for _ in range(3):
        section.panel.show(section.parameters)
    assert section.panel._observers.count == 4
    section.panel.show(None)
    assert section.panel._observers.count == 0
    add_volume(samples.ramp(samples.MOVING), "another")
    assert section.cells == []
