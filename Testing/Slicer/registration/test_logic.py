"""The module without its panel: PDDRegistrationLogic, the self test as Slicer runs it, sample data, descriptions."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers import clicks, samples
from helpers import mrml_geometry as mrml
from helpers.mrml_geometry import slicer
from helpers.paths import environment
from pddnet.errors import InputError

if TYPE_CHECKING:
    from host.host import Host

NAME = "PDDRegistration"
STAGES = ["start", "prepare", "structures", "align", "match 1", "finish", "warp", "measure"]  # of the preset 'fast'
SELF_TEST = """
import json, sys
from host.host import startHost
host = startHost()
import slicer, unittest
widget = host.loadModule({module!r})
suite = unittest.TestLoader().loadTestsFromName("PDDRegistration")
result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
faults = [text for _, text in result.failures + result.errors]


def click():
    parameters = widget.logic.getParameterNode()
    parameters.fixedVolume, parameters.movingVolume = (slicer.util.getNode(name) for name in ("PDDFixed", "PDDMoving"))
    parameters.preset = "fast"
    widget.ui.applyButton.click()
    assert host.waitUntil(lambda: bool(widget.ui.verdictLabel.text), 100), widget.ui.statusLabel.text


host.runInEventLoop(click)
torch = sorted(name for name in sys.modules if name.split(".")[0] == "torch")
print(json.dumps({{"run": result.testsRun, "skipped": len(result.skipped), "faults": faults, "torch": torch}}))
host.closeApplication()
host.close()
"""


@pytest.fixture
def pair(running_host: Host, logic: Any) -> tuple[Any, Any]:
    """Two small volumes, the second one SHIFT away."""
    running_host.closeScene()
    images = zip(clicks.small_images(), ("Fixed", "Moving"), strict=True)
    return tuple(mrml.add_volume(slicer.mrmlScene, image.array, image.grid, name) for image, name in images)


def count(kind: str = "vtkMRMLNode") -> int:
    return slicer.mrmlScene.GetNumberOfNodesByClass(kind)


# --- register and start ---


@pytest.mark.slow
def test_register_blocks_and_returns_what_it_left_in_the_scene(logic, pair):
    fixed, moving = pair
    steps: list[tuple[float, str]] = []
    result = logic.register(fixed, moving, preset="fast", progress=lambda *step: steps.append(step))
    assert result.transform.GetClassName() == "vtkMRMLGridTransformNode"
    assert moving.GetParentTransformNode() is result.transform
    assert (result.volume, result.segmentation) == (moving, None)
    points = samples.FIXED.centre + np.array([[0, 0, 0], [8.0, -6, 4], [-5, 9, -7]])
    found = clicks.moved(result.transform.GetTransformFromParent(), points) - points
    assert np.linalg.norm(found - samples.SHIFT, axis=1).max() < 4.0
    assert (result.report["preset"], result.report["device"], result.report["organs"]) == ("fast", "cpu", [])
    fractions = [fraction for fraction, _stage in steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, pytest.approx(0.95, abs=0.05))
    assert list(dict.fromkeys(stage for _fraction, stage in steps)) == STAGES


@pytest.mark.slow
def test_the_panel_and_the_logic_share_nothing_but_the_scene(logic, pair):
    """Outputs by keyword; the parameter node is not touched, the moving volume stays."""
    fixed, moving = pair
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Warped")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Given")
    result = logic.register(fixed, moving, preset="fast", outputVolume=output, outputTransform=transform)
    assert (result.transform, result.volume) == (transform, output)
    assert output.GetImageData().GetDimensions() == fixed.GetImageData().GetDimensions()
    assert moving.GetParentTransformNode() is None
    assert logic.getParameterNode().outputTransform is None


@pytest.mark.slow
def test_an_exception_in_progress_cancels_and_is_raised(logic, pair):
    nodes = count()

    def progress(fraction: float, stage: str) -> None:
        if stage == "align":
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        logic.register(*pair, preset="fast", progress=progress)
    assert (count(), pair[1].GetParentTransformNode()) == (nodes, None)
    assert logic.register(*pair, preset="fast").transform is not None


@pytest.mark.slow
def test_start_returns_at_once_and_calls_back_once(running_host: Host, logic, pair):
    from PDDRegistrationLib.registration.job import Selection

    heard: list[tuple[str, Any]] = []
    selection = Selection(*pair, preset="fast")
    calls = [lambda *told, name=name: heard.append((name, told)) for name in ("progress", "finished", "failed")]

    def body() -> bool:
        job = logic.start(selection, *calls)
        assert job.isRunning
        assert not [name for name, _ in heard if name != "progress"]
        return running_host.waitUntil(lambda: not job.isRunning, 60)

    assert running_host.runInEventLoop(body)
    names = [name for name, _ in heard]
    assert (names.count("finished"), names.count("failed"), names[-1]) == (1, 0, "finished")
    assert names.count("progress") >= len(STAGES) - 1
    assert heard[-1][1][0].transform is pair[1].GetParentTransformNode()


def flat(node: Any) -> Any:
    slicer.util.arrayFromVolume(node)[:] = 7
    return node


def coloured(node: Any) -> Any:
    vectors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Colours")
    vectors.SetAndObserveImageData(mrml.vtk_image(np.zeros((8, 8, 8, 3), np.uint8)))
    return vectors


def empty(node: Any) -> Any:
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda node: None, "Choose a fixed and a moving volume"),
        (empty, "Empty: the volume has no voxels"),
        (coloured, r"Colours: the volume has 3 values per voxel"),
        (flat, r"moving volume: every voxel has the same value \(7\)"),
    ],
    ids=["none", "empty", "colours", "flat"],
)
def test_a_bad_node_is_an_input_error(logic, pair, change, message):
    moving = change(pair[1])
    nodes = count()
    with pytest.raises(InputError, match=message):
        logic.register(pair[0], moving, preset="fast")
    assert count() == nodes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "best"}, "there is no preset 'best'; choose one of default, followup, breathing, mind, fast"),
        ({"preset": "fast", "device": "abacus"}, "there is no device 'abacus'; choose one of auto, cpu, cuda"),
    ],
)
def test_an_unknown_setting_is_an_input_error(logic, pair, options, message):
    nodes = count()
    with pytest.raises(InputError, match=message):
        logic.register(*pair, **options)
    assert count() == nodes


def test_an_output_of_another_kind_is_an_input_error(logic, pair):
    linear = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Linear")
    with pytest.raises(InputError, match="Linear is no grid transform"):
        logic.register(*pair, preset="fast", outputTransform=linear)


# --- the self test ---


@pytest.mark.slow
def test_the_self_test_passes_test_by_test_in_an_application_of_its_own_without_torch(tmp_path: Path):
    """As slicer.testing.runUnitTest loads it, `loadTestsFromName`: every test_* alone, and the base class's runTest.
    After these two registrations, and one by a click, that process has not imported torch."""
    program = tmp_path / "self_test.py"
    program.write_text(SELF_TEST.format(module=str(clicks.MODULE)), "utf-8")
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=300, env=environment()
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.strip().splitlines()[-1])
    assert outcome == {"run": 4, "skipped": 0, "faults": [], "torch": []}
    for name in ("test_measure_sample_pair", "test_register_sample_pair", "test_resample_sample_pair"):
        assert f"{name} (PDDRegistration.PDDRegistrationTest" in done.stderr


def test_reload_and_test_runs_every_test_in_an_empty_scene(logic, monkeypatch):
    test = sys.modules[NAME].PDDRegistrationTest
    ran: list[tuple[str, int]] = []
    names = unittest.TestLoader().getTestCaseNames(test)
    for name in names:
        monkeypatch.setattr(test, name, lambda self, name=name: ran.append((name, count("vtkMRMLVolumeNode"))))
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "left over")
    slicer.selfTests[NAME](msec=0)
    assert sorted(ran) == [(name, 0) for name in names]
    assert len(names) == 3


@pytest.mark.parametrize("way", ["runTest", "unittest"])
def test_without_torch_the_self_test_measures_and_skips_what_registers(logic, monkeypatch, way: str):
    """As CTest runs it on a machine that builds the extension, and as Reload and Test does."""
    from PDDRegistrationLib.worker import torch_setup

    module = sys.modules[NAME]
    measured: list[bool] = []
    monkeypatch.setattr(torch_setup, "torchInstalled", lambda: False)
    monkeypatch.setattr(module.PDDRegistrationTest, "test_measure_sample_pair", lambda self: measured.append(True))
    said: list[str] = []
    monkeypatch.setattr(module.PDDRegistrationTest, "delayDisplay", lambda self, text, *_: said.append(text))
    if way == "runTest":
        slicer.selfTests[NAME](msec=0)
    else:
        result = unittest.TestResult()
        unittest.TestLoader().loadTestsFromTestCase(module.PDDRegistrationTest).run(result)
        assert result.wasSuccessful()
        said = [reason for _test, reason in result.skipped]
    assert measured == [True]
    assert len(said) == 2
    assert all(text.startswith("PyTorch is not installed") for text in said)


@pytest.mark.slow
def test_the_self_test_measures_without_torch(logic):
    """The shift of the landmarks puts organs on organs; were it the wrong way round, they would lie further apart."""
    module = sys.modules[NAME]
    test = module.PDDRegistrationTest("test_measure_sample_pair")
    test.setUp()
    test.test_measure_sample_pair()
    test.setUp()
    right = test._landmarkShift
    test._landmarkShift = lambda nodes: [-length for length in right(nodes)]
    with pytest.raises(AssertionError):
        test.test_measure_sample_pair()


@pytest.mark.parametrize("fault", ["shifted", "inverted"])
def test_the_self_test_notices_a_wrong_transform(logic, fault: str):
    """Its measure of the landmarks: a shift that is about right, against one 30 mm too far or the wrong way round."""
    test = sys.modules[NAME].PDDRegistrationTest
    nodes = logic.loadSamplePair()
    fixed, moving = (points(nodes[f"{side}Points"]) for side in ("fixed", "moving"))
    common = [name for name in fixed if name in moving]
    shift = np.median([moving[name] - fixed[name] for name in common], axis=0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "about right")
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    transform.SetMatrixTransformFromParent(mrml.vtk_matrix(matrix))
    right = test._landmarkError(nodes, transform)
    matrix[:3, 3] = shift + [30, 0, 0] if fault == "shifted" else -shift
    transform.SetMatrixTransformFromParent(mrml.vtk_matrix(matrix))
    assert right < 15
    assert test._landmarkError(nodes, transform) > 20


def points(node: Any) -> dict[str, np.ndarray]:
    numbers = range(node.GetNumberOfControlPoints())
    return {node.GetNthControlPointLabel(n): np.array(node.GetNthControlPointPositionWorld(n)) for n in numbers}


# --- sample data ---


SAMPLES = [
    "PDDFixed", "PDDFixed landmarks", "PDDFixed organs", "PDDMoving", "PDDMoving landmarks", "PDDMoving organs",
]  # fmt: skip


@pytest.fixture
def source(running_host: Host, logic) -> Any:
    """The pair as the Sample Data module has it, in an empty scene."""
    import SampleData

    running_host.closeScene()
    sys.modules[NAME].registerSampleData()  # as at the application's start
    (source,) = SampleData.SampleDataLogic.sampleDataSourcesByCategory(NAME)
    return source


def loaded_names() -> list[str]:
    kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsFiducialNode")
    return sorted(node.GetName() for kind in kinds for node in slicer.util.getNodesByClass(kind))


def test_the_button_of_the_sample_pair_loads_it_whole_and_shows_it(source):
    clicks.click_sample(source)
    assert loaded_names() == SAMPLES
    fixed = slicer.util.getNode("PDDFixed")
    for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert node.GetBackgroundVolumeID() == fixed.GetID()


def test_a_second_pair_has_names_of_its_own(source):
    """And its segmentations belong to its volumes."""
    for _ in range(2):
        clicks.click_sample(source)
    second = [name.replace("PDDFixed", "PDDFixed_1").replace("PDDMoving", "PDDMoving_1") for name in SAMPLES]
    assert loaded_names() == sorted(SAMPLES + second)
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    for name in ("PDDFixed", "PDDMoving", "PDDFixed_1", "PDDMoving_1"):
        organs = slicer.util.getNode(f"{name} organs")
        assert organs.GetNodeReference(role) is slicer.util.getNode(name)


def test_saving_a_scene_does_not_write_into_the_module(logic):
    """The nodes have no files: what is drawn into the sample's segments must not replace what is installed."""
    for node in logic.loadSamplePair().values():
        assert node.GetStorageNode() is None or not node.GetStorageNode().GetFileName()


def test_the_sample_pair_is_offered_and_loads_whole(source):
    """Landmarks against the files (LPS there, RAS here), segments against labels.json, volumes against headers."""
    import SampleData
    import SimpleITK as sitk

    assert source.sampleName == "PDDRegistrationPair"
    assert Path(source.thumbnailFileName).is_file()
    loaded = SampleData.SampleDataLogic().downloadSamples("PDDRegistrationPair")
    assert sorted(node.GetName() for node in loaded) == SAMPLES == loaded_names()
    nodes = {node.GetName(): node for node in loaded}
    for side, name in (("fixed", "PDDFixed"), ("moving", "PDDMoving")):
        image = sitk.ReadImage(str(clicks.SAMPLE_DATA / f"{side}.nii.gz"))
        corners = [image.TransformIndexToPhysicalPoint(p) for p in ((0, 0, 0), [n - 1 for n in image.GetSize()])]
        bounds = [0.0] * 6
        nodes[name].GetRASBounds(bounds)
        middle = (np.array(bounds[::2]) + bounds[1::2]) / 2
        assert np.abs(middle - np.mean(corners, axis=0) * clicks.RAS).max() < 1e-3
        display = nodes[name].GetDisplayNode()
        assert (display.GetWindow(), display.GetLevel()) == (400, 40)

        segmentation = nodes[f"{name} organs"].GetSegmentation()
        found = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(clicks.SAMPLE_DATA / f"{side}_labels.nii.gz")))
        values = {value: text for value, text in clicks.label_names().items() if (labels == value).any()}
        assert {segment.GetLabelValue(): segment.GetName() for segment in found} == values
        assert len({segment.GetColor() for segment in found}) >= 10

        rows = (clicks.SAMPLE_DATA / f"{side}_landmarks.csv").read_text("utf-8").split()[1:]
        stored = {row.split(",")[0].replace("_", " "): np.array(row.split(",")[1:], float) for row in rows}
        shown = points(nodes[f"{name} landmarks"])
        assert shown.keys() == stored.keys()
        assert max(np.abs(shown[label] - stored[label] * clicks.RAS).max() for label in shown) < 1e-9


# --- what Slicer shows of the module ---


def test_the_module_describes_itself(logic):
    module = slicer.modules.pddregistration
    assert (module.title, module.categories) == ("PDD Registration", ["Registration"])
    assert module.dependencies == [
        "Markups", "Plots", "Segmentations", "Sequences", "SubjectHierarchy", "Tables", "Transforms", "Volumes",
    ]  # fmt: skip
    assert module.contributors
    assert all(len(name.split()) > 1 for name in module.contributors)
    assert "not a medical device" in module.helpText
    assert "Heinrich" in module.acknowledgementText
    assert not module.icon.isNull()


def test_everything_that_can_be_used_has_a_tooltip(logic):
    """All of them different, and each one a sentence."""
    ui = slicer.modules.PDDRegistrationWidget.ui
    endings = ("Selector", "ComboBox", "SpinBox", "CheckBox", "Button")
    names = [name for name in vars(ui) if name.endswith(endings) and not name.endswith("CollapsibleButton")]
    assert len(names) == 39
    tips = [getattr(ui, name).toolTip for name in names]
    assert all(tip.endswith(".") and len(tip) > 20 for tip in tips), dict(zip(names, tips, strict=True))
    assert len(set(tips)) == len(tips)


def test_every_node_parameter_has_its_selector(logic):
    ui, parameters = slicer.modules.PDDRegistrationWidget.ui, logic.getParameterNode()
    bound = {widget.property("SlicerParameterName") for widget in vars(ui).values()} - {None}
    by_hand = {"preset", "device", "fixedMaskSegment", "movingMaskSegment", "captureRange", "controlSpacing"}
    by_hand |= {"smoothness", "optimisationSteps", "inverseConsistency", "transformType", "intensity"}
    assert bound.isdisjoint(by_hand)
    assert bound | by_hand == set(parameters.allParameters)
