"""Node selectors, files, and sample data in the host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import clicks

if TYPE_CHECKING:
    from host.host import Host

SCALAR, LABELS = "vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode"


@pytest.fixture
def scene(host: Host):
    import slicer

    return slicer.mrmlScene


@pytest.fixture
def selector(scene):
    import slicer

    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = [SCALAR]
    selector.noneEnabled = True
    selector.setMRMLScene(scene)
    yield selector
    selector.setMRMLScene(None)


def texts(selector) -> list[str]:
    import qt

    combo = selector.findChildren(qt.QComboBox)[0]
    return [combo.itemText(index) for index in range(combo.count) if combo.itemText(index)]


def choose(selector, text: str) -> None:
    """As a user does it with the mouse."""
    import qt

    combo = selector.findChildren(qt.QComboBox)[0]
    index = combo.findText(text)
    assert index >= 0, f"{text} is not among {texts(selector)}"
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


def test_nodes_come_and_go(scene, selector):
    first = scene.AddNewNodeByClass(SCALAR, "first")
    second = scene.AddNewNodeByClass(SCALAR, "second")
    scene.AddNewNodeByClass("vtkMRMLTextNode", "text")
    assert [node.GetName() for node in selector.nodes()] == ["first", "second"]
    assert selector.currentNode() is None
    selector.setCurrentNode(second)
    scene.RemoveNode(first)
    assert (selector.currentNode(), selector.currentNodeID, selector.nodeCount()) == (second, second.GetID(), 1)
    scene.RemoveNode(second)
    assert (selector.currentNode(), selector.currentNodeID) == (None, "")


def test_without_none_the_first_node_is_chosen(scene, selector):
    selector.noneEnabled = False
    node = scene.AddNewNodeByClass(SCALAR, "a")
    other = scene.AddNewNodeByClass(SCALAR, "b")
    assert selector.currentNode() is node
    scene.RemoveNode(node)
    assert selector.currentNode() is other


def test_subclasses_hidden_nodes_and_attributes_are_filtered(scene, selector):
    volume, labels = scene.AddNewNodeByClass(SCALAR, "a"), scene.AddNewNodeByClass(LABELS, "b")
    hidden = scene.AddNewNodeByClass(SCALAR, "c")
    scene.StartState(scene.BatchProcessState)  # an end without a beginning would unlink the slice views for good
    hidden.SetHideFromEditors(True)
    scene.EndState(scene.BatchProcessState)
    assert selector.nodes() == (volume, labels)
    selector.showChildNodeTypes = False
    assert selector.nodes() == (volume,)
    selector.showHidden = True
    assert selector.nodes() == (volume, hidden)
    hidden.SetAttribute("use", "mask")
    selector.addAttribute(SCALAR, "use", "mask")
    assert selector.nodes() == (hidden,)
    selector.removeAttribute(SCALAR, "use")
    selector.showChildNodeTypes, selector.hideChildNodeTypes = True, [LABELS]
    assert selector.nodes() == (volume, hidden)


def test_a_user_creates_renames_and_deletes(host: Host, scene, selector):
    selector.renameEnabled, selector.baseName = True, "Warped"
    added = []
    selector.connect("nodeAddedByUserAction(vtkMRMLNode*)", added.append)
    assert texts(selector) == ["None", "Create new Volume"]
    choose(selector, "Create new Volume")
    choose(selector, "Create new Volume")
    assert [node.GetName() for node in selector.nodes()] == ["Warped", "Warped_1"]
    assert added == list(selector.nodes())
    assert selector.currentNode().GetName() == "Warped_1"
    host.setTesting(False)
    with host.answerDialogs():
        host.runInEventLoop(lambda: choose(selector, "Rename current node"))
    choose(selector, "Delete current node")
    assert [node.GetName() for node in selector.nodes()] == ["Warped"]


def test_entries_follow_what_is_enabled(scene, selector):
    scene.AddNewNodeByClass(SCALAR, "a")
    assert texts(selector) == ["None", "a", "Create new Volume", "Delete current node"]
    selector.addEnabled, selector.removeEnabled, selector.renameEnabled = False, False, True
    selector.noneDisplay = "(nothing)"
    assert texts(selector) == ["(nothing)", "a", "Rename current node"]
    selector.noneEnabled, selector.renameEnabled = False, False
    assert texts(selector) == ["a"]


def test_a_renamed_node_is_shown_by_its_new_name(scene, selector):
    node, names = scene.AddNewNodeByClass(SCALAR, "old"), []
    selector.setCurrentNode(node)
    selector.connect("currentNodeRenamed(QString)", names.append)
    node.SetName("new")
    assert texts(selector)[1] == "new"
    assert names == ["new"]


def test_a_destroyed_selector_no_longer_watches_the_scene(host: Host, scene):
    import slicer

    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = [SCALAR]
    selector.setMRMLScene(scene)
    selector.delete()
    host.runInEventLoop(lambda: scene.AddNewNodeByClass(SCALAR, "a"))


def test_a_volume_is_loaded_in_its_place(host: Host, tmp_path: Path):
    """The file's LPS geometry in the node's RAS matrix, a formula: x and y change sign."""
    import slicer

    image = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    image.SetOrigin((10, -20, 30))
    image.SetSpacing((1, 2, 3))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    path = tmp_path / "Müllers Kopf.nii.gz"
    sitk.WriteImage(image, str(path))
    node = slicer.util.loadVolume(str(path), {"name": "head"})
    matrix = slicer.util.vtkMatrixFromArray(np.zeros((4, 4)))
    node.GetIJKToRASMatrix(matrix)
    expected = [[0, -2, 0, -10], [1, 0, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrix), expected, atol=1e-5)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), sitk.GetArrayFromImage(image))
    assert node.GetName() == "head"
    assert host.layout.sliceWidget("Red").sliceLogic().GetSliceCompositeNode().GetBackgroundVolumeID() == node.GetID()


def test_segments_can_be_read_as_arrays(host: Host, tmp_path: Path):
    import slicer

    labels = np.zeros((8, 9, 10), np.uint8)
    labels[2:5, 3:6, 4:8], labels[6, 1, 1:3] = 1, 2
    path = tmp_path / "organs.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(path))
    node = slicer.util.loadSegmentation(str(path))
    volume = slicer.util.loadLabelVolume(str(path), {})
    segments = node.GetSegmentation()
    assert segments.GetNumberOfSegments() == 2
    for index in range(2):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segments.GetNthSegmentID(index), volume)
        np.testing.assert_array_equal(found, labels == index + 1)


def test_a_missing_file_is_an_error_that_names_it(host: Host, tmp_path: Path):
    import slicer

    with pytest.raises(RuntimeError, match=r"nothing\.nrrd does not exist"):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"), {})


def test_temporary_files_stay_in_the_hosts_folder(host: Host):
    import slicer

    folder = Path(slicer.util.tempDirectory())
    assert folder.is_dir()
    assert folder.parent == Path(slicer.app.temporaryPath) == host.temporaryPath
    assert Path(slicer.app.slicerUserSettingsFilePath).parent == host.temporaryPath


def test_sample_data_is_loaded_from_this_machine_only(host: Host, tmp_path: Path):
    import SampleData
    import slicer

    path = tmp_path / "a b.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), np.int16)), str(path))
    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    register(category="Own", sampleName="Here", uris=path.as_uri(), fileNames="x.nrrd", nodeNames="One")
    register(category="Own", sampleName="There", uris="https://example.org/y", fileNames="y.nrrd", nodeNames="Two")
    clicked: list[str] = []
    register(
        category="Own", sampleName="Made", uris=path.as_uri(), fileNames="x.nrrd", nodeNames="Three",
        customDownloader=lambda source: clicked.append(source.sampleName),
    )  # fmt: skip
    assert SampleData.downloadSample("Here").GetName() == "One"
    (loaded,) = SampleData.downloadSamples("Made")  # by name, the custom downloader is not called
    assert (loaded.GetName(), loaded.GetStorageNode(), clicked) == ("Three", None, [])
    clicks.click_sample(slicer.modules.sampleDataSources["Own"][2])
    assert clicked == ["Made"]
    assert [source.sampleName for source in slicer.modules.sampleDataSources["Own"]] == ["Here", "There", "Made"]
    if SampleData.__name__.startswith("host."):  # with SLICER_PYTHON it is Slicer's own, which would ask the network
        with pytest.raises(RuntimeError, match="fetches nothing"):
            SampleData.downloadSample("There")


def test_a_modules_reader_gets_the_files_of_its_type(host: Host, tmp_path: Path):
    """As qSlicerScriptedFileReader calls it: the class gets its parent, and stores the IDs of what it loaded there."""
    import slicer
    import vtk

    class Reader:
        def __init__(self, parent: object) -> None:
            self.parent = parent

        def description(self) -> str:
            return "Notes"

        def fileType(self) -> str:
            return "Note"

        def extensions(self) -> list[str]:
            return ["Notes (*.note)"]

        def load(self, properties: dict[str, object]) -> bool:
            name = str(properties["name"])
            self.parent.loadedNodes = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", name).GetID()]
            return True

    manager, loaded = slicer.app.coreIOManager(), vtk.vtkCollection()
    manager.registerReader("Notes", Reader)
    paths = {suffix: tmp_path / f"a{suffix}" for suffix in (".note", ".txt")}
    for path in paths.values():
        path.write_text("")
    assert manager.loadNodes("Note", {"fileName": str(paths[".note"]), "name": "One"}, loaded)
    assert not manager.loadNodes("Note", {"fileName": str(paths[".txt"]), "name": "Two"}, loaded)
    assert [loaded.GetItemAsObject(n).GetName() for n in range(loaded.GetNumberOfItems())] == ["One"]
    manager.forgetReader("Notes")
    assert not manager.loadNodes("Note", {"fileName": str(paths[".note"]), "name": "Three"}, loaded)


def test_deleting_the_chosen_node_chooses_the_next_one_or_the_last(host: Host):
    """Slicer's list keeps its row while the node goes; it says so before the node has left the scene."""
    import slicer

    add = slicer.mrmlScene.AddNewNodeByClass
    nodes = [add("vtkMRMLScalarVolumeNode", name) for name in "ABC"]
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes, selector.noneEnabled = ["vtkMRMLScalarVolumeNode"], True
    selector.setMRMLScene(slicer.mrmlScene)
    heard: list[tuple[str, bool]] = []
    selector.setCurrentNode(nodes[1])
    selector.connect(
        "currentNodeChanged(vtkMRMLNode*)",
        lambda node: heard.append((node.GetName() if node else "", nodes[1].GetScene() is not None)),
    )
    slicer.mrmlScene.RemoveNode(nodes[1])
    slicer.mrmlScene.RemoveNode(nodes[2])
    slicer.mrmlScene.RemoveNode(nodes[0])
    assert heard == [("C", True), ("A", False), ("", False)]
    selector.setMRMLScene(None)
