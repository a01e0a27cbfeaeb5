"""The panel with small volumes: what keeps Apply from being pressed, what a click leaves in the scene, and again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import clicks, samples
from helpers import mrml_geometry as mrml
from helpers.geometry import rotation
from helpers.mrml_geometry import RAS, slicer
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS

if TYPE_CHECKING:
    from host.host import Host

NAME = "PDDRegistration"
TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure~"
    "SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)
SOME = np.array([[5.0, -8, 6], [-14, 3, 9], [11, 10, -12], [0, 0, 0], [-4, -12, -10]])  # mm from the body's centre


@dataclass
class Scene:
    """The panel, and two volumes that it can register in a fifth of a second; each has an organ."""

    host: Host
    widget: object
    fixed: object
    moving: object
    fixedOrgans: object
    movingOrgans: object

    @property
    def ui(self) -> object:
        return self.widget.ui

    @property
    def parameters(self) -> object:
        return self.widget.logic.getParameterNode()

    def select(self, **names: object) -> None:
        """Nodes for the selectors: select(fixedVolume=..., ...)."""
        for name, node in names.items():
            getattr(self.ui, f"{name}Selector").setCurrentNode(node)

    def add(self, className: str, name: str) -> object:
        return slicer.mrmlScene.AddNewNodeByClass(className, name)

    def register(self, **names: object) -> object:
        """Choose nodes, click Apply, wait; the transform that is chosen then."""
        self.select(**{"fixedVolume": self.fixed, "movingVolume": self.moving} | names)
        self.parameters.preset = "fast"
        clicks.apply(self.host, self.widget)
        assert self.ui.verdictLabel.text, self.ui.statusLabel.text
        return self.ui.outputTransformSelector.currentNode()


@pytest.fixture(scope="module")
def widget(running_host: Host) -> Iterator[object]:
    """The module, loaded once: its process, with torch in it, serves all tests."""
    running_host.setTesting(True)
    running_host.clear()
    yield running_host.loadModule(clicks.MODULE)
    running_host.unloadModule(NAME)
    running_host.clear()


@pytest.fixture
def scene(running_host: Host, widget: object) -> Scene:
    running_host.closeScene()
    fixed, moving = clicks.small_images()
    nodes = [
        mrml.add_volume(slicer.mrmlScene, image.array, image.grid, name)
        for image, name in ((fixed, "Fixed"), (moving, "Moving"))
    ]
    centre = samples.FIXED.centre
    organs = [
        add_organs(name, samples.labels(grid, place))
        for name, grid, place in (
            ("Fixed organs", samples.FIXED, centre),
            ("Moving organs", samples.MOVING, centre + samples.SHIFT),
        )
    ]
    return Scene(running_host, widget, *nodes, *organs)


def add_organs(name: str, labels: Image) -> object:
    """A segmentation with the segments ball and egg of `samples.labels`, and one without voxels between them."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    data = mrml.vtk_image(labels.array, slicer.vtkOrientedImageData)
    data.SetGeometryFromImageToWorldMatrix(mrml.vtk_matrix(mrml.ijk_to_ras(labels.grid)))
    for identifier, value, colour in (("ball", 1, (0.1, 0.6, 0.9)), ("none", 2, (1, 0, 0)), ("egg", 3, (0.9, 0.8, 0))):
        segment = slicer.vtkSegment()
        segment.SetName(f"the {identifier}")
        segment.SetColor(*colour)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), TERMINOLOGY.replace("Liver", identifier))
        if identifier != "none":
            segment.SetLabelValue(value)
            segment.AddRepresentation("Binary labelmap", data)
        node.GetSegmentation().AddSegment(segment, identifier)
    return node


def placed_points(node: object, points: np.ndarray) -> np.ndarray:
    """Where the node's own coordinates have what the world shows at LPS points, by MRML alone."""
    return mrml.from_world(node, points * RAS) * RAS


def inner() -> np.ndarray:
    """LPS points in the fixed body."""
    return samples.FIXED.centre + SOME


# --- what is missing ---


def incomplete(scene: Scene, case: str) -> str:
    """Make a choice that cannot be carried out; returns what the tooltip must contain."""
    linear, grid = "vtkMRMLLinearTransformNode", "vtkMRMLGridTransformNode"
    chosen = {"fixedVolume": scene.fixed, "movingVolume": scene.moving}
    if case == "no fixed volume":
        scene.select(movingVolume=scene.moving)
        return "Choose a fixed volume."
    if case == "no moving volume":
        scene.select(fixedVolume=scene.fixed)
        return "Choose a moving volume."
    if case in ("the output is the fixed volume", "the output is the moving volume"):
        scene.select(**chosen, outputVolume=getattr(scene, case.split()[-2]))
        return f"{case.split()[-2].capitalize()} is an input; choose another output."
    if case == "the output is the moving segmentation":
        scene.select(**chosen, movingSegmentation=scene.movingOrgans, outputSegmentation=scene.movingOrgans)
        return "Moving organs is an input; choose another output."
    if case == "nothing to fill the output segmentation from":
        scene.select(**chosen, outputSegmentation=scene.add("vtkMRMLSegmentationNode", "Warped organs"))
        return "Choose the moving segmentation that goes into Warped organs"
    transform = scene.add(grid, "Given")
    scene.select(**chosen, outputTransform=transform, movingSegmentation=scene.movingOrgans)
    scene.select(fixedSegmentation=scene.fixedOrgans)
    under = {"fixed volume": scene.fixed, "moving volume": scene.moving, "fixed segmentation": scene.fixedOrgans}
    under |= {"moving segmentation": scene.movingOrgans}
    node, parent = under[case.removeprefix("under the output: ").removesuffix(", indirectly")], transform
    if case.endswith("indirectly"):
        parent = scene.add(linear, "between")
        parent.SetAndObserveTransformNodeID(transform.GetID())
    node.SetAndObserveTransformNodeID(parent.GetID())
    scene.parameters.Modified()
    return f"{node.GetName()} lies under Given, which the result would replace; choose another output."


CASES = (
    "no fixed volume",
    "no moving volume",
    "the output is the fixed volume",
    "the output is the moving volume",
    "the output is the moving segmentation",
    "nothing to fill the output segmentation from",
    "under the output: fixed volume",
    "under the output: fixed volume, indirectly",
    "under the output: moving volume",
    "under the output: fixed segmentation",
    "under the output: moving segmentation",
)


@pytest.mark.parametrize("case", CASES)
def test_apply_is_disabled_and_says_what_is_wrong(scene: Scene, case: str):
    expected = incomplete(scene, case)
    button = scene.ui.applyButton
    assert (button.enabled, button.text) == (False, "Apply")
    assert button.toolTip.startswith(expected)
    assert (scene.ui.reasonLabel.visible, scene.ui.reasonLabel.text) == (True, button.toolTip)
    assert scene.ui.reasonLabel.y < button.y
    clicks.click(button)
    assert (scene.ui.progressBar.visible, scene.ui.statusLabel.text) == (False, "")


def test_apply_is_enabled_as_soon_as_both_volumes_are_chosen(scene: Scene):
    assert scene.ui.applyButton.toolTip == "Choose a fixed volume."
    clicks.choose(scene.ui.fixedVolumeSelector, "Fixed")
    assert scene.ui.applyButton.toolTip == "Choose a moving volume."
    clicks.choose(scene.ui.movingVolumeSelector, "Moving")
    assert scene.ui.applyButton.enabled
    assert not scene.ui.reasonLabel.visible
    assert scene.ui.applyButton.toolTip == "Register the moving volume to the fixed one."
    slicer.mrmlScene.RemoveNode(scene.moving)
    assert (scene.ui.applyButton.enabled, scene.ui.applyButton.toolTip) == (False, "Choose a moving volume.")


def test_apply_waits_while_a_sequence_or_a_measurement_runs(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """In the process that would register; a request behind theirs would stand at "Starting"."""
    from PDDRegistrationLib.worker.client import Worker

    scene.select(fixedVolume=scene.fixed, movingVolume=scene.moving)
    sent: list[object] = []
    monkeypatch.setattr(Worker, "isBusy", property(lambda worker: True))
    monkeypatch.setattr(Worker, "submit", lambda *arguments: sent.append(arguments))
    clicks.click(scene.ui.applyButton)
    assert scene.ui.statusLabel.text == "Something else is being computed; start when it has ended."
    assert (scene.ui.applyButton.text, scene.ui.applyButton.enabled, sent) == ("Apply", True, [])
    scene.ui.statusLabel.text = ""


def test_a_deleted_node_is_no_longer_chosen_and_nothing_takes_its_place(scene: Scene):
    """Slicer's selectors would choose the next node of the list: the fixed volume as moving, an older transform to
    overwrite, other segmentations."""
    ui, parameters = scene.ui, scene.parameters
    older, output = (scene.add("vtkMRMLGridTransformNode", name) for name in ("Older", "Output"))
    parameters.fixedVolume, parameters.movingVolume, parameters.outputTransform = scene.fixed, scene.moving, output
    parameters.fixedSegmentation, parameters.movingSegmentation = scene.fixedOrgans, scene.movingOrgans
    scene.widget.measureUi.measureTransformSelector.setCurrentNode(output)
    scene.widget.compareUi.applyNodeSelector.setCurrentNode(scene.movingOrgans)
    for node in (output, scene.movingOrgans, scene.fixed):
        slicer.mrmlScene.RemoveNode(node)
    assert (parameters.outputTransform, parameters.movingSegmentation, parameters.fixedVolume) == (None, None, None)
    assert (parameters.movingVolume, parameters.fixedSegmentation) == (scene.moving, scene.fixedOrgans)
    assert older.GetScene() is not None
    assert scene.widget.measureUi.measureTransformSelector.currentNode() is None
    assert scene.widget.compareUi.applyNodeSelector.currentNode() is None
    assert not ui.applyButton.enabled


# --- widgets and parameters ---


def test_every_preset_explains_itself(scene: Scene):
    assert [scene.ui.presetComboBox.itemText(n) for n in range(scene.ui.presetComboBox.count)] == list(PRESETS)
    assert (scene.parameters.preset, scene.ui.presetComboBox.currentText) == ("default", "default")
    for name in (*reversed(PRESETS), "fast"):
        clicks.choose(scene.ui.presetComboBox, name)
        assert scene.parameters.preset == name
        assert scene.ui.presetNote.text.startswith(PRESETS[name].purpose)


def test_the_device_is_chosen_by_its_name(scene: Scene):
    box = scene.ui.deviceComboBox
    assert [box.itemData(n) for n in range(box.count)] == ["auto", "cpu", "cuda"]
    assert (scene.parameters.device, box.currentText) == ("auto", "automatic")
    clicks.choose(box, "CPU")
    assert scene.parameters.device == "cpu"


def test_the_panel_follows_the_parameter_node(scene: Scene):
    output = scene.add("vtkMRMLScalarVolumeNode", "Warped")
    parameters, ui = scene.parameters, scene.ui
    parameters.fixedVolume, parameters.movingVolume, parameters.outputVolume = scene.fixed, scene.moving, output
    parameters.movingSegmentation, parameters.preset, parameters.device = scene.movingOrgans, "paper", "cuda"
    assert ui.fixedVolumeSelector.currentNode() is scene.fixed
    assert ui.movingVolumeSelector.currentNode() is scene.moving
    assert ui.outputVolumeSelector.currentNode() is output
    assert ui.movingSegmentationSelector.currentNode() is scene.movingOrgans
    assert (ui.presetComboBox.currentText, ui.deviceComboBox.currentText) == ("paper", "GPU (CUDA)")
    assert ui.presetNote.text.startswith(PRESETS["paper"].purpose)
    assert ui.applyButton.enabled
    parameters.movingVolume = None
    assert (ui.movingVolumeSelector.currentNode(), ui.applyButton.enabled) == (None, False)


def test_the_parameter_node_follows_the_panel(scene: Scene):
    names = ("Volume", "Segmentation")
    outputs = [scene.add(f"vtkMRML{kind}Node", "Out") for kind in ("ScalarVolume", "Segmentation", "GridTransform")]
    chosen = {"fixedVolume": scene.fixed, "movingVolume": scene.moving, "fixedSegmentation": scene.fixedOrgans}
    chosen |= {"movingSegmentation": scene.movingOrgans, "outputTransform": outputs[2]}
    chosen |= {f"output{name}": output for name, output in zip(names, outputs[:2], strict=True)}
    scene.select(**chosen)
    assert {name: getattr(scene.parameters, name) for name in chosen} == chosen
    scene.select(**dict.fromkeys(chosen))
    assert {name: getattr(scene.parameters, name) for name in chosen} == dict.fromkeys(chosen)


def test_choices_survive_leaving_the_module_and_coming_back(scene: Scene):
    """Meanwhile the panel does not follow, and afterwards it shows what is chosen then."""
    scene.select(fixedVolume=scene.fixed, movingVolume=scene.moving, fixedSegmentation=scene.fixedOrgans)
    clicks.choose(scene.ui.presetComboBox, "fast")
    scene.host.window.leave()
    scene.parameters.device = "cpu"
    assert scene.ui.deviceComboBox.currentText == "automatic"
    scene.host.window.moduleSelector().selectModule("")
    scene.host.window.moduleSelector().selectModule(NAME)
    ui, parameters = scene.ui, scene.parameters
    assert (ui.fixedVolumeSelector.currentNode(), ui.movingVolumeSelector.currentNode()) == (scene.fixed, scene.moving)
    assert (parameters.fixedVolume, parameters.fixedSegmentation) == (scene.fixed, scene.fixedOrgans)
    assert (ui.presetComboBox.currentText, parameters.preset) == ("fast", "fast")
    assert (ui.deviceComboBox.currentText, parameters.device) == ("CPU", "cpu")
    assert ui.applyButton.enabled


def test_only_what_fits_can_be_chosen(scene: Scene):
    """No label maps and vectors as scans, no B-spline as the result; outputs can be made in the panel."""
    for kind in ("LabelMapVolume", "VectorVolume", "BSplineTransform"):
        scene.add(f"vtkMRML{kind}Node", "unfit")
    assert scene.ui.fixedVolumeSelector.nodes() == scene.ui.movingVolumeSelector.nodes() == (scene.fixed, scene.moving)
    assert scene.ui.outputTransformSelector.nodes() == ()
    made = scene.ui.outputVolumeSelector.addNode()
    assert (made.GetName(), scene.parameters.outputVolume) == ("PDD volume", made)


# --- runs ---


@pytest.mark.slow
def test_a_run_finds_the_shift_and_measures_the_organs(scene: Scene):
    """The moving body is the fixed one, 17 mm away (7, -13, 9)."""
    transform = scene.register(fixedSegmentation=scene.fixedOrgans, movingSegmentation=scene.movingOrgans)
    found = clicks.moved(transform.GetTransformFromParent(), inner()) - inner()
    assert np.linalg.norm(found - samples.SHIFT, axis=1).max() < 4.0
    assert (transform.GetName(), scene.parameters.outputTransform) == ("Moving to Fixed", transform)
    assert np.abs(placed_points(scene.moving, inner()) - inner() - found).max() < 1e-3
    assert "Mean Dice of 2 organs" in scene.ui.verdictLabel.text
    assert "preset fast" in scene.ui.verdictLabel.text


@pytest.mark.slow
def test_a_chosen_transform_is_overwritten_and_without_one_a_new_one_is_made(scene: Scene):
    given = scene.add("vtkMRMLGridTransformNode", "Given")
    assert scene.register(outputTransform=given) is given
    assert np.abs(clicks.moved(given.GetTransformFromParent(), inner()) - inner()).max() > 5
    assert scene.register(outputTransform=None).GetName() == "Moving to Fixed"
    assert scene.register(outputTransform=None).GetName() == "Moving to Fixed_1"
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLGridTransformNode") == 3


@pytest.mark.slow
def test_the_result_of_an_earlier_run_is_shown_with_its_transform(scene: Scene):
    first = scene.register()
    said = scene.ui.verdictLabel.text
    scene.select(outputTransform=None)
    assert scene.ui.verdictLabel.text == ""
    second = scene.register(fixedSegmentation=scene.fixedOrgans, movingSegmentation=scene.movingOrgans)
    assert "organs" in scene.ui.verdictLabel.text
    assert "organs" not in said
    scene.select(outputTransform=first)
    assert scene.ui.verdictLabel.text == said
    scene.select(outputTransform=second)
    assert "organs" in scene.ui.verdictLabel.text


@pytest.mark.slow
def test_a_second_run_starts_from_where_the_moving_volume_was(scene: Scene):
    """Once into the same transform, once into a new one: the same field, and nothing is stacked."""
    first = scene.register(movingSegmentation=scene.movingOrgans)
    field = clicks.field_of_node(first)[0].copy()
    assert scene.register() is first
    assert np.array_equal(clicks.field_of_node(first)[0], field)
    second = scene.register(outputTransform=None)
    assert second is not first
    assert np.array_equal(clicks.field_of_node(second)[0], field)
    for node in (scene.moving, scene.movingOrgans):
        assert node.GetParentTransformNode() is second
    assert (first.GetParentTransformNode(), second.GetParentTransformNode()) == (None, None)


@pytest.mark.slow
def test_organs_placed_while_the_volume_was_resampled_can_be_registered_again(scene: Scene):
    first = scene.register(
        movingSegmentation=scene.movingOrgans, outputVolume=scene.add("vtkMRMLScalarVolumeNode", "Warped")
    )
    assert scene.movingOrgans.GetParentTransformNode() is first
    assert scene.register() is first
    assert scene.movingOrgans.GetParentTransformNode() is first


@pytest.mark.slow
def test_a_transform_that_places_another_scan_is_not_overwritten(scene: Scene):
    first = scene.register()
    other = mrml.add_volume(slicer.mrmlScene, *_parts(clicks.small_images()[1]), "Other")
    scene.select(movingVolume=other)
    assert not scene.ui.applyButton.enabled
    assert scene.ui.applyButton.toolTip.startswith("Moving lies under Moving to Fixed, which the result would replace")
    second = scene.register(movingVolume=other, outputTransform=None)
    assert (scene.moving.GetParentTransformNode(), other.GetParentTransformNode()) == (first, second)


def _parts(image: Image) -> tuple[np.ndarray, object]:
    return image.array, image.grid


@pytest.mark.slow
def test_outputs_get_the_moving_scan_on_the_fixed_voxels(scene: Scene):
    """Against ITK's resampling under the transform that MRML saved; the moving nodes are left alone."""
    scene.moving.GetDisplayNode().AutoWindowLevelOff()
    scene.moving.GetDisplayNode().SetWindowLevel(321, 45)
    volume, organs = (scene.add(f"vtkMRML{kind}Node", "Warped") for kind in ("ScalarVolume", "Segmentation"))
    transform = scene.register(movingSegmentation=scene.movingOrgans, outputVolume=volume, outputSegmentation=organs)
    assert (scene.moving.GetParentTransformNode(), scene.movingOrgans.GetParentTransformNode()) == (None, None)
    assert (volume.GetParentTransformNode(), organs.GetParentTransformNode()) == (None, None)
    display = volume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (321, 45, 0)

    judge = itk_transform(scene, transform)
    fixed, moving = (image.to_sitk() for image in clicks.small_images())
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, judge, sitk.sitkLinear, -1000))
    array = slicer.util.arrayFromVolume(volume)
    assert (array.dtype, array.shape) == (np.int16, samples.FIXED.shape)
    assert np.abs(array.astype(int) - expected).max() <= 1
    assert np.abs(mrml_matrix(volume) - mrml_matrix(scene.fixed)).max() < 1e-9

    labels = samples.labels(samples.MOVING, samples.FIXED.centre + samples.SHIFT).to_sitk()
    expected = sitk.GetArrayFromImage(sitk.Resample(labels, fixed, judge, sitk.sitkNearestNeighbor, 0))
    for identifier, value in (("ball", 1), ("egg", 3)):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(organs, identifier, scene.fixed) > 0
        assert mask.sum() > 30
        assert (mask != (expected == value)).mean() < 1e-4


def itk_transform(scene: Scene, transform: object) -> sitk.Transform:
    path = scene.host.temporaryPath / "judge.h5"
    assert slicer.util.saveNode(transform, str(path))
    return clicks.read_field(path)


def mrml_matrix(volume: object) -> np.ndarray:
    matrix = mrml.vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


@pytest.mark.slow
def test_the_output_segmentation_keeps_names_colours_and_terminology(scene: Scene):
    """Of all segments in their order, the one without voxels too."""
    organs = scene.add("vtkMRMLSegmentationNode", "Warped organs")
    scene.register(movingSegmentation=scene.movingOrgans, outputSegmentation=organs)
    assert described(organs) == described(scene.movingOrgans)
    assert [name for _, name, _, _ in described(organs)] == ["the ball", "the none", "the egg"]
    assert slicer.util.arrayFromSegmentBinaryLabelmap(organs, "none", scene.fixed).sum() == 0
    assert scene.moving.GetParentTransformNode() is not None


def described(node: object) -> list[tuple]:
    segmentation, result = node.GetSegmentation(), []
    for number in range(segmentation.GetNumberOfSegments()):
        segment, terminology = segmentation.GetNthSegment(number), mrml.vtk.reference("")
        segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminology)
        result.append((segmentation.GetNthSegmentID(number), segment.GetName(), segment.GetColor(), str(terminology)))
    return result


@pytest.mark.slow
def test_a_volume_can_be_registered_to_itself(scene: Scene):
    """It stays where it is, and the transform moves its body by less than a voxel."""
    transform = scene.register(movingVolume=scene.fixed, fixedSegmentation=scene.fixedOrgans)
    assert scene.fixed.GetParentTransformNode() is None
    found = clicks.moved(transform.GetTransformFromParent(), inner()) - inner()
    assert np.linalg.norm(found, axis=1).max() < 2.5


@pytest.mark.slow
def test_a_parent_of_the_moving_volume_is_kept_and_its_other_children_stay(scene: Scene):
    """The moving scan's voxels lie elsewhere, and a parent turns it back: the same transform as without, and the scan
    ends where it belongs, while a second node under that parent does not move."""
    plain = scene.register()
    field = clicks.field_of_node(plain)
    scene.moving.SetAndObserveTransformNodeID(None)
    turn, shift = rotation(20, -15, 40), np.array([30.0, -40.0, 55.0])
    parent = mrml.add_linear(slicer.mrmlScene, turn, shift)
    there = np.linalg.inv(mrml_matrix_of(turn, shift)) @ mrml_matrix(scene.moving)
    scene.moving.SetIJKToRASMatrix(mrml.vtk_matrix(there))
    second = scene.add("vtkMRMLMarkupsFiducialNode", "second")
    second.AddControlPoint(mrml.vtk.vtkVector3d(1.0, 2.0, 3.0))
    for node in (scene.moving, second):
        node.SetAndObserveTransformNodeID(parent.GetID())
    before = np.array(second.GetNthControlPointPositionWorld(0))

    transform = scene.register(outputTransform=None)
    array, grid = clicks.field_of_node(transform)
    assert np.abs(grid - field[1]).max() < 1e-4
    assert np.linalg.norm(array - field[0], axis=-1).max() < 0.01
    mapped = clicks.moved(transform.GetTransformFromParent(), inner()) * RAS
    own = (mapped - shift) @ turn  # the parent's inverse
    assert np.abs(mrml.from_world(scene.moving, inner() * RAS) - own).max() < 1e-3
    assert second.GetParentTransformNode() is parent
    assert np.abs(np.array(second.GetNthControlPointPositionWorld(0)) - before).max() == 0
    assert parent.GetParentTransformNode() is None


def mrml_matrix_of(turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, shift
    return matrix


@pytest.mark.slow
def test_the_views_show_the_output_volume_where_there_is_one(scene: Scene):
    volume = scene.add("vtkMRMLScalarVolumeNode", "Warped")
    scene.register(outputVolume=volume)
    composite = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == scene.fixed.GetID()
    assert (composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()) == (volume.GetID(), 0.5)


@pytest.mark.slow
def test_another_results_output_volume_is_not_shown_for_a_transform(scene: Scene):
    first = scene.register()
    volume, organs = (scene.add(f"vtkMRML{kind}Node", "Warped") for kind in ("ScalarVolume", "Segmentation"))
    chosen = {"movingSegmentation": scene.movingOrgans, "outputVolume": volume, "outputSegmentation": organs}
    second = scene.register(outputTransform=None, **chosen)
    composite = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    shown = []
    for transform in (second, first):
        scene.select(outputTransform=transform)
        scene.widget._comparePanel.start()
        shown.append((composite.GetForegroundVolumeID(), scene.widget._comparePanel._session.nodes.warpedSegmentation))
    assert shown == [(volume.GetID(), organs), (scene.moving.GetID(), None)]


def test_the_panel_refuses_what_the_process_refuses(scene: Scene):
    """A volume of one value passes the panel's check; the process says what is wrong, in a sentence."""
    slicer.util.arrayFromVolume(scene.moving)[:] = 7
    scene.select(fixedVolume=scene.fixed, movingVolume=scene.moving)
    clicks.apply(scene.host, scene.widget)
    assert scene.ui.statusLabel.text.startswith("moving volume: every voxel has the same value (7)")
    assert (scene.ui.verdictLabel.text, scene.ui.saveReportButton.visible) == ("", False)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLGridTransformNode") == 0


def test_the_module_is_the_one_of_this_folder():
    assert sys.modules[NAME].__file__ == str(clicks.MODULE)
