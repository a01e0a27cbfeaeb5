"""The section Atlas segmentation: segments at the right place with their looks, all or nothing, and what is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vtk

from helpers import samples
from helpers.atlas_section import LOOKS, TERMINOLOGY, AtlasSection, array_of, write_atlas
from helpers.batch_section import find_shift
from helpers.mrml_geometry import RAS, slicer
from helpers.runs import add_segmentation, add_volume, click, leftovers
from pddnet.evaluation.metrics import dice
from pddnet.phantom.phantom import LABELS, full_view, virtual_patient

if TYPE_CHECKING:
    from host.host import Host

BUTTON = "Segment by the atlases"
TRUTH = samples.labels(samples.FIXED, samples.FIXED.centre).array
LIVER = next(number for number, name in LABELS.items() if name == "liver")


@pytest.fixture
def section(host: Host) -> Iterator[AtlasSection]:
    host.closeScene()
    section = AtlasSection()
    section.ui.atlasCollapsibleButton.collapsed = False
    section.widget.show()
    yield section
    section.panel.close()
    section.widget.hide()
    assert leftovers(host) == []


@pytest.fixture
def scan(section: AtlasSection, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fixed volume on an oblique grid; every registration finds `samples.SHIFT`."""
    find_shift(monkeypatch)
    section.parameters.fixedVolume = add_volume(samples.ramp(samples.FIXED), "CT")
    return section.parameters.fixedVolume


def nodes() -> set[str]:
    found = slicer.util.getNodesByClass("vtkMRMLNode")
    return {node.GetID() for node in found if not node.IsA("vtkMRMLScriptedModuleNode")}


def result() -> tuple[Any, Any]:
    """The segmentation and the disagreement in the scene."""
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return segmentation, slicer.util.getNode("CT disagreement of atlases")


def test_it_says_why_it_cannot_be_started(section: AtlasSection, tmp_path: Path) -> None:
    told = [section.found]
    section.parameters.fixedVolume = add_volume(samples.ramp(samples.FIXED), "CT")
    told.append(section.found)
    section.choose_scene()
    told.append(section.found)
    assert told == [
        "Choose a fixed volume under Inputs: it is segmented.",
        "Choose a folder of atlases: scans with label maps.",
        "No other volume of the scene has a segmentation; load some, or choose a folder of atlases.",
    ]
    assert section.ui.atlasScanNameLabel.text == "CT"
    section.ui.atlasSourceComboBox.setCurrentIndex(0)
    section.choose(tmp_path)
    assert section.found.startswith(f"{tmp_path}: there is no atlas in this folder; it needs NAME.nii.gz with")
    assert not section.ui.atlasButton.enabled
    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    assert section.found == "Atlases (1): a"
    assert section.ui.atlasButton.enabled
    section.parameters.preset = "multimodal"
    assert "is not for CT" in section.found
    assert not section.ui.atlasButton.enabled


def test_segments_lie_at_the_right_place_with_their_looks(
    section: AtlasSection, scan: Any, tmp_path: Path, host: Host
) -> None:
    for name in "ab":
        write_atlas(tmp_path / "atlases", name)
    section.choose(tmp_path / "atlases")
    section.ui.atlasMethodComboBox.setCurrentIndex(2)
    section.parameters.captureRange = 30.0
    click(section.ui.atlasButton)
    assert section.ui.atlasButton.text == "Cancel", section.status
    section.worker.progress(0.5, "b: match 1")
    assert (section.ui.atlasProgressBar.value, section.status) == (50, "b: Matching, stage 1")
    section.worker.answer()
    assert section.status == "2 of 2 atlases."
    assert section.ui.atlasButton.text == BUTTON and not section.ui.atlasProgressBar.visible
    assert "--method=majority" in section.worker.requests[0]["arguments"]
    assert section.worker.requests[0]["adjust"] == {"capture_range": 30.0}
    segmentation, disagreement = result()
    assert segmentation.GetName() == "CT segmented by atlases"
    for organ, number in (("liver", 1), ("spleen", 3)):
        found = array_of(segmentation, organ, scan)
        assert (dice(found, number == TRUTH) or 0.0) > 0.75
        centre = samples.FIXED.points()[found].mean(axis=0)
        true = samples.FIXED.points()[number == TRUTH].mean(axis=0)
        np.testing.assert_allclose(centre, true, atol=2.0)  # mm
    segments = segmentation.GetSegmentation()
    liver = segments.GetSegment(segments.GetSegmentIdBySegmentName("liver"))
    assert liver.GetColor() == pytest.approx(LOOKS["liver"][0])
    value = vtk.reference("")
    assert liver.GetTag("TerminologyEntry", value) and str(value) == TERMINOLOGY
    spleen = segments.GetSegment(segments.GetSegmentIdBySegmentName("spleen"))
    assert max(spleen.GetColor()) - min(spleen.GetColor()) > 0.3, "a colour of its own"
    made = {"fixedVolume": "CT", "method": "majority", "atlases": ["a", "b"]}
    for node in (segmentation, disagreement):
        assert json.loads(node.GetAttribute("PDDRegistration.Inputs")) == made
        assert node.GetAttribute("PDDRegistration.Preset") == "fast (changed)"
    role = segmentation.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReference(role) is scan
    np.testing.assert_allclose(np.array(disagreement.GetOrigin()) * RAS, samples.FIXED.origin, atol=1e-4)
    assert not slicer.util.arrayFromVolume(disagreement).any(), "both atlases say the same"
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    layers = {(node.GetBackgroundVolumeID(), node.GetForegroundVolumeID()) for node in composites}
    assert layers == {(scan.GetID(), disagreement.GetID())}
    assert segmentation.GetDisplayNode().GetVisibility() and segmentation.GetDisplayNode().GetOpacity2DFill() == 0.0
    assert leftovers(host) == []


def test_where_atlases_disagree_is_told_and_a_broken_one_is_named(
    section: AtlasSection, scan: Any, tmp_path: Path
) -> None:
    """The spleen of one atlas lies 10 mm away; what cannot be read is dropped."""
    folder = tmp_path / "atlases"
    for name, shift in (("a", 0.0), ("b", 0.0), ("far", 10.0)):
        write_atlas(folder, name, samples.SHIFT + [0.0, 0.0, shift])
    write_atlas(folder, "broken")
    (folder / "broken.seg.nrrd").write_bytes(b"no image")
    section.choose(folder)
    click(section.ui.atlasButton)
    section.worker.answer()
    text = "3 of 4 atlases; look first at: {organs} (disagreement). Not used: broken; point here for the reasons."
    assert section.status in [text.format(organs=organs) for organs in ("spleen", "spleen, liver")]
    assert "broken.seg.nrrd" in section.ui.atlasStatusLabel.toolTip
    segmentation, disagreement = result()
    found, shares = array_of(segmentation, "spleen", scan), slicer.util.arrayFromVolume(disagreement)
    assert 0.2 < float(shares[found].mean()) < 0.5, "one of three"
    assert np.unique(shares).tolist() == pytest.approx([0.0, 1 / 3], abs=1e-6)
    display = disagreement.GetDisplayNode()
    assert (display.GetApplyThreshold(), display.GetLowerThreshold()) == (1, 0.05), "the scan shows where all agree"


def test_cancel_leaves_nothing(section: AtlasSection, scan: Any, tmp_path: Path, host: Host) -> None:
    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    before = nodes()
    click(section.ui.atlasButton)
    assert len(leftovers(host)) == 1
    click(section.ui.atlasButton)  # the second click of a double click
    assert section.ui.atlasButton.text == "Cancel"
    section.panel._doubleClick._ends = 0.0
    click(section.ui.atlasButton)
    assert section.status == "Cancelled; nothing was changed."
    assert section.ui.atlasButton.text == BUTTON and section.ui.atlasButton.enabled
    assert nodes() == before
    assert leftovers(host) == []


def test_a_scan_that_is_gone_is_named_and_nothing_is_added(section: AtlasSection, scan: Any, tmp_path: Path) -> None:
    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    click(section.ui.atlasButton)
    slicer.mrmlScene.RemoveNode(scan)
    before = nodes()
    section.worker.answer()
    assert section.status == "CT was removed during the run; nothing was changed. Choose again."
    assert nodes() == before


def test_a_scan_that_is_moved_is_named_and_nothing_is_added(section: AtlasSection, scan: Any, tmp_path: Path) -> None:
    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    click(section.ui.atlasButton)
    bed = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "bed")
    turn = vtk.vtkTransform()
    turn.RotateZ(180.0)
    bed.SetMatrixTransformToParent(turn.GetMatrix())
    scan.SetAndObserveTransformNodeID(bed.GetID())
    before = nodes()
    section.worker.answer()
    assert section.status.startswith("CT was moved during the run, so the result does not fit")
    assert nodes() == before


def test_what_cannot_be_put_into_the_scene_leaves_nothing(
    section: AtlasSection, scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segmentation is there already when the disagreement fails."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    before = nodes()
    monkeypatch.setattr("PDDRegistrationLib.registration.atlas_result.fillMap", fail)
    click(section.ui.atlasButton)
    section.worker.answer()
    assert section.status.startswith("The memory of this machine does not suffice")
    assert nodes() == before


def test_the_result_lies_where_a_parent_puts_the_scan(section: AtlasSection, scan: Any, tmp_path: Path) -> None:
    """A parent turns and moves the scan; the atlas lies where the scan is in the world."""
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    turn = vtk.vtkTransform()
    turn.Translate(15.0, -20.0, 30.0)
    parent.SetMatrixTransformToParent(turn.GetMatrix())
    scan.SetAndObserveTransformNodeID(parent.GetID())
    moved = np.array([15.0, -20.0, 30.0]) * RAS
    grid = samples.MOVING
    shifted = type(grid)(grid.shape, grid.spacing, grid.origin + moved, grid.direction)
    folder = tmp_path / "atlases"
    write_atlas(folder, "a", samples.SHIFT, grid=shifted, centre=samples.FIXED.centre + moved)
    section.choose(folder)
    click(section.ui.atlasButton)
    section.worker.answer()
    segmentation, _disagreement = result()
    centre = np.array(segmentation.GetSegmentCenterRAS(segmentation.GetSegmentation().GetNthSegmentID(0))) * RAS
    np.testing.assert_allclose(centre, samples.FIXED.centre + moved, atol=4.0)  # of the box; voxels of 4 mm


def test_segmented_volumes_of_the_scene_are_atlases(
    section: AtlasSection, scan: Any, tmp_path: Path, host: Host
) -> None:
    """Two volumes of one name; a third has no segmentation, and a result is no atlas."""
    for _ in range(2):
        volume = add_volume(samples.ramp(samples.MOVING), "Old CT")
        own = add_segmentation(samples.labels(samples.MOVING, samples.FIXED.centre + samples.SHIFT), "organs")
        own.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    add_volume(samples.ramp(samples.MOVING), "Without")
    section.choose_scene()
    assert section.found == "Atlases (2): Old CT, Old CT"
    assert not section.ui.atlasFolderPathLineEdit.visible
    click(section.ui.atlasButton)
    (folder,) = leftovers(host)
    names = sorted(path.name for path in (folder / "atlases").iterdir())
    assert names == ["Old-CT-2.nrrd", "Old-CT-2.seg.nrrd", "Old-CT.nrrd", "Old-CT.seg.nrrd"]
    section.worker.answer()
    assert section.status == "2 of 2 atlases."
    segmentation = slicer.util.getNode("CT segmented by atlases")
    for organ, number in (("liver", 1), ("spleen", 3)):
        assert (dice(array_of(segmentation, organ, scan), number == TRUTH) or 0.0) > 0.75
    colours = [node.GetSegmentation().GetNthSegment(0).GetColor() for node in (segmentation, own)]
    assert colours[0] == pytest.approx(colours[1], abs=1e-5)
    section.parameters.fixedVolume = slicer.util.getNode("Without")
    assert section.found == "Atlases (2): Old CT, Old CT"


def test_a_process_that_dies_and_one_that_is_busy_are_told(
    section: AtlasSection, scan: Any, tmp_path: Path, host: Host
) -> None:
    from PDDRegistrationLib.worker.failure import Failure

    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    section.worker.isBusy = True
    click(section.ui.atlasButton)
    assert section.status == "Something else is being computed; start when it has ended."
    assert section.worker.requests == []
    section.worker.isBusy = False
    before = nodes()
    click(section.ui.atlasButton)
    section.worker.answer(Failure("died", "The registration process ended unexpectedly (exit code 9)."))
    assert section.status == "The registration process ended unexpectedly (exit code 9)."
    assert section.ui.atlasButton.text == BUTTON
    assert nodes() == before and leftovers(host) == []


def test_an_unexpected_fault_at_the_start_is_told(
    section: AtlasSection, scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("planted")

    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    monkeypatch.setattr("PDDRegistrationLib.registration.atlas_job.AtlasJob._request", fail)
    with pytest.raises(ZeroDivisionError, match="planted"):  # for the Python console
        section.panel._onClicked()
    assert section.status == "The segmentation could not be started; the Python console says why."
    assert (section.ui.atlasButton.text, section.ui.atlasButton.enabled) == (BUTTON, True)


def test_folders_that_cannot_be_read_are_told_or_passed_over(
    section: AtlasSection, scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk has folders that are the system's; and a disk may be gone."""
    folder = tmp_path / "atlases"
    write_atlas(folder, "a")
    (folder / "System Volume Information").mkdir()
    original, closed = Path.iterdir, ["System Volume Information"]

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)  # permissions do not stop root
    section.choose(folder)
    assert section.found == "Atlases (1): a"
    closed.append("atlases")
    section.panel.show(section.parameters)
    assert section.found == f"{folder}: the folder cannot be read (Permission denied); choose another one."
    assert not section.ui.atlasButton.enabled


def test_a_result_after_the_module_was_left_does_not_change_the_views(
    section: AtlasSection, scan: Any, tmp_path: Path
) -> None:
    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    click(section.ui.atlasButton)
    section.panel.show(None)  # as the module does when another one is opened
    slicer.util.setSliceViewerLayers(background=None, foreground=None)
    section.worker.answer()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {(node.GetBackgroundVolumeID(), node.GetForegroundVolumeID()) for node in composites} == {(None, None)}
    assert result()[0].GetName() == "CT segmented by atlases"
    section.panel.show(section.parameters)
    assert (section.status, section.ui.atlasButton.text) == ("1 of 1 atlases.", BUTTON)


def test_segmentations_that_come_in_a_batch_of_changes_are_listed(section: AtlasSection, scan: Any) -> None:
    section.choose_scene()
    scene = slicer.mrmlScene
    scene.StartState(scene.BatchProcessState)
    volume = add_volume(samples.ramp(samples.MOVING), "Old CT")
    own = add_segmentation(samples.labels(samples.MOVING, samples.FIXED.centre), "organs")
    own.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    assert section.found.startswith("No other volume of the scene has a segmentation")
    scene.EndState(scene.BatchProcessState)
    assert section.found == "Atlases (1): Old CT"


def test_closing_the_scene_ends_a_run(section: AtlasSection, scan: Any, tmp_path: Path, host: Host) -> None:
    write_atlas(tmp_path / "atlases", "a")
    section.choose(tmp_path / "atlases")
    click(section.ui.atlasButton)
    section.panel.close()  # as the module does when the scene begins to close
    slicer.mrmlScene.Clear()
    assert section.panel._observers.count == 0 and not section.ui.atlasButton.enabled
    assert leftovers(host) == []
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")
    section.panel.show(type(section.parameters)(node))
    assert section.found == "Choose a fixed volume under Inputs: it is segmented."
    section.panel.show(None)


@pytest.mark.slow
def test_the_liver_of_a_painted_patient_is_found(section: AtlasSection, tmp_path: Path) -> None:
    """Real registrations of three patients at 8 mm, by the code of the process."""
    patients = {seed: virtual_patient(seed, full_view(seed, 8.0)) for seed in (11, 12, 13)}
    for seed in (12, 13):
        folder = tmp_path / "atlases" / f"p{seed}"
        folder.mkdir(parents=True)
        samples.save(patients[seed].image, folder / "ct.nii.gz")
        samples.save(patients[seed].labels, folder / "labels.nii.gz")
    names = {str(number): name for number, name in LABELS.items()}
    (tmp_path / "atlases" / "labels.json").write_text(json.dumps(names), "utf-8")
    volume = add_volume(patients[11].image, "CT")
    section.parameters.fixedVolume = volume
    section.choose(tmp_path / "atlases")
    click(section.ui.atlasButton)
    section.worker.answer()
    assert section.status.startswith("2 of 2 atlases"), section.status
    found = array_of(result()[0], "liver", volume)
    truth = patients[11].labels.array == LIVER
    before = [patients[seed].labels.resample(patients[11].image.grid, labels=True).array == LIVER for seed in (12, 13)]
    overlap = dice(found, truth) or 0.0
    assert overlap > 0.8
    assert overlap > 0.05 + max(dice(each, truth) or 0.0 for each in before)
