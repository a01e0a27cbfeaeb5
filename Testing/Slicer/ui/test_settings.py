"""Settings of the panel: advanced ones, what they cost, the device, parameter sets, defaults, time left, the log."""

from __future__ import annotations

from typing import Any

import pytest

from helpers import clicks, runs, samples
from helpers.mrml_geometry import slicer
from helpers.runs import Bench
from pddnet.core.presets import PRESETS
from pddnet.errors import InputError

pytestmark = pytest.mark.slow

SPINS = {
    "captureRange": ("captureRangeSpinBox", 60.0, {"capture_range": 60.0}),
    "controlSpacing": ("controlSpacingSpinBox", 12.5, {"control_spacing": 12.5}),
    "smoothness": ("smoothnessSpinBox", 2.5, {"smoothness": 2.5}),
    "optimisationSteps": ("optimisationStepsSpinBox", 0, {"iterations": 0}),
}


def adjust(bench: Bench) -> dict[str, Any]:
    from PDDRegistrationLib.ui.registration_panel import selectionOf

    return dict(selectionOf(bench.parameters).adjust)


@pytest.fixture
def advanced(bench: Bench) -> Bench:
    """The section is open."""
    bench.ui.advancedCollapsibleButton.collapsed = False
    bench.host.processEvents()
    return bench


# --- intensity ---


def test_what_the_values_are_can_be_said_and_reaches_the_worker(bench: Bench):
    from PDDRegistrationLib.registration.job import reportOf
    from PDDRegistrationLib.ui.registration_panel import selectionOf

    assert selectionOf(bench.parameters).intensity == "auto"
    clicks.choose(bench.ui.intensityComboBox, "1024 too high")
    assert selectionOf(bench.parameters).intensity == "offset-1024"
    stored = bench.nodes["movingVolume"]
    slicer.util.updateVolumeFromArray(stored, slicer.util.arrayFromVolume(stored).astype("int16") + 1024)
    bench.choose(intensity="auto")
    bench.run()
    assert bench.status == ""
    warnings = reportOf(bench.parameters.outputTransform)["warnings"]
    assert [text for text in warnings if text.startswith("moving volume: the values are HU + 1024")]


# --- advanced ---


def test_all_is_as_the_preset_says_until_it_is_changed(advanced: Bench):
    assert adjust(advanced) == {}
    texts = {name: getattr(advanced.ui, widget).text for name, (widget, _, _) in SPINS.items()}
    assert texts == {
        "captureRange": "as the preset says (40 mm)",
        "controlSpacing": "as the preset says (20 mm)",
        "smoothness": "as the preset says (1 x)",
        "optimisationSteps": "as the preset says (20)",
    }
    assert advanced.ui.inverseConsistencyComboBox.currentText == "as the preset says (one way)"
    advanced.choose(preset="default")
    assert advanced.ui.inverseConsistencyComboBox.currentText == "as the preset says (both ways)"
    advanced.choose(preset="paper")
    assert advanced.ui.controlSpacingSpinBox.text == "as the preset says (32 points per axis)"
    assert advanced.ui.captureRangeSpinBox.text == "as the preset says (70 mm)"


@pytest.mark.parametrize("name", SPINS)
def test_a_number_is_typed_and_taken_back(advanced: Bench, name: str):
    widget, value, expected = SPINS[name]
    box = getattr(advanced.ui, widget)
    clicks.type_into(box, f"{value:g}")
    assert getattr(advanced.parameters, name) == value
    assert adjust(advanced) == expected
    assert box.toolTip
    if name != "optimisationSteps":
        assert box.suffix in (" mm", " x")
    box.stepDown() if name == "optimisationSteps" else clicks.type_into(box, "0")
    if name == "optimisationSteps":
        clicks.type_into(box, "-1")
    assert adjust(advanced) == {}
    assert box.text.startswith("as the preset says")


def test_both_ways_or_one(advanced: Bench):
    for text, expected in (("both ways", True), ("one way", False)):
        clicks.choose(advanced.ui.inverseConsistencyComboBox, text)
        assert adjust(advanced) == {"both_ways": expected}
    clicks.choose(advanced.ui.inverseConsistencyComboBox, "as the preset")
    assert adjust(advanced) == {}


def test_what_is_out_of_bounds_keeps_apply_off(advanced: Bench):
    clicks.type_into(advanced.ui.captureRangeSpinBox, "2")
    assert not advanced.ui.applyButton.enabled
    assert advanced.ui.applyButton.toolTip.startswith("capture range: 2 is outside 4 to 100 mm")
    clicks.type_into(advanced.ui.captureRangeSpinBox, "24")
    assert advanced.ui.applyButton.enabled


@pytest.mark.slow
def test_a_run_uses_them_and_the_result_says_so(advanced: Bench):
    """A bend, which the deformation undoes: of one that is left out no consistency would be told."""
    for side, image in zip(("fixedVolume", "movingVolume"), samples.bent_pair(), strict=True):
        slicer.util.updateVolumeFromArray(advanced.nodes[side], image.array)
    advanced.choose(captureRange=16.0, controlSpacing=12.0, optimisationSteps=5, inverseConsistency="both")
    advanced.run()
    assert "preset fast (changed)" in advanced.ui.verdictLabel.text
    from PDDRegistrationLib.registration.job import reportOf

    report = reportOf(advanced.parameters.outputTransform)
    assert 0.1 < report["inverse_consistency_mm"] < 4.0  # the preset is one way
    assert [text for text in report["warnings"] if "left out" in text] == []
    assert advanced.error_at_the_centre() < 6.0


def test_the_check_box_asks_for_a_diffeomorphic_transform(bench: Bench) -> None:
    from PDDRegistrationLib.ui.registration_panel import selectionOf

    box = bench.ui.diffeomorphicCheckBox
    assert (box.checked, selectionOf(bench.parameters).diffeomorphic) == (False, False)
    box.click()
    assert (bench.parameters.diffeomorphic, selectionOf(bench.parameters).diffeomorphic) == (True, True)


def test_a_scene_with_unknown_words_opens(bench: Bench):
    bench.choose(inverseConsistency="three ways")
    assert (bench.parameters.inverseConsistency, adjust(bench)) == ("", {})
    assert "'three ways', which does not exist here" in bench.status


# --- preset and device ---


@pytest.mark.slow
def test_the_preset_tells_how_long_its_last_run_took_here(bench: Bench):
    slicer.app.userSettings().remove("PDDRegistration")
    bench.choose(preset="default")
    assert bench.ui.presetNote.text == PRESETS["default"].purpose
    bench.choose(preset="fast")
    bench.run()
    from PDDRegistrationLib.registration.job import reportOf

    report = reportOf(bench.parameters.outputTransform)
    seconds = f"{report['seconds']['total']:.0f}\N{NO-BREAK SPACE}s"
    assert bench.ui.presetNote.text == f"{PRESETS['fast'].purpose}; last run here: {seconds}"
    assert "device cpu;" in bench.ui.presetNote.toolTip
    bench.choose(smoothness=2.0)
    bench.run()
    assert slicer.app.userSettings().value("PDDRegistration/LastRun/fast (changed)") is None
    bench.choose(preset="default")
    assert bench.ui.presetNote.text == PRESETS["default"].purpose


NO_FOLDER = "/nowhere: the folder for temporary files cannot be used (gone); free space or choose another"
NO_MEMORY = "The memory of this machine does not suffice; close other programs, or crop the volumes."


@pytest.mark.parametrize(("error", "text"), [(InputError(NO_FOLDER), NO_FOLDER), (MemoryError(), NO_MEMORY)])
def test_a_gpu_check_that_cannot_be_sent_says_why_and_can_be_asked_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(bench.worker), "submit", fail)
    bench.widget._panel._settings._onCheckClicked()
    assert (bench.ui.deviceCheckButton.enabled, bench.status) == (True, text)


def test_the_device_list_names_the_gpu_and_its_memory(bench: Bench):
    """This machine may have none: then it says that; what a GPU's answer would show is checked with one."""
    box = bench.ui.deviceComboBox

    def body() -> None:
        clicks.click(bench.ui.deviceCheckButton)
        assert not bench.ui.deviceCheckButton.enabled
        assert bench.host.waitUntil(lambda: bench.ui.deviceCheckButton.enabled, 60)

    bench.host.runInEventLoop(body)
    assert box.itemText(2).startswith("GPU (CUDA): ")
    settings = bench.widget._panel._settings
    settings.showGpu({"name": "NVIDIA RTX A2000", "memory_free": 9.87e9, "memory_total": 12.6e9})
    assert box.itemText(2) == "GPU (CUDA): NVIDIA RTX A2000, 9.9 of 12.6 GB free"
    assert (box.itemData(2), bench.parameters.device) == ("cuda", "auto")
    settings.showGpu(None)
    assert box.itemText(2) == "GPU (CUDA): none found"


# --- parameter sets ---


def test_a_new_set_begins_as_a_copy_and_both_are_kept(bench: Bench):
    bench.choose(guide=True, captureRange=24.0, fixedMask=bench.nodes["fixedSegmentation"])
    (jacobian,) = [bench.ui.outputJacobianSelector.addNode()]
    first = bench.parameters.parameterNode
    second = bench.ui.parameterSetSelector.addNode()
    assert second.GetName() == "PDD parameters"
    assert bench.parameters.parameterNode is second
    assert (bench.parameters.guide, bench.parameters.captureRange) == (True, 24.0)
    assert bench.parameters.fixedMask is bench.nodes["fixedSegmentation"]
    assert bench.parameters.movingVolume is bench.nodes["movingVolume"]
    assert bench.parameters.outputJacobian is None  # two set-ups would overwrite each other's
    bench.choose(captureRange=60.0, preset="paper")
    assert bench.ui.presetComboBox.currentText == "paper"
    bench.ui.parameterSetSelector.setCurrentNode(first)
    assert (bench.parameters.captureRange, bench.ui.presetComboBox.currentText) == (24.0, "fast")
    assert bench.parameters.outputJacobian is jacobian
    assert bench.ui.captureRangeSpinBox.value == 24.0
    bench.ui.parameterSetSelector.setCurrentNode(second)
    assert bench.ui.captureRangeSpinBox.value == 60.0


def test_a_removed_set_gives_way_to_another(bench: Bench):
    first = bench.parameters.parameterNode
    bench.ui.parameterSetSelector.addNode()
    bench.choose(captureRange=60.0)
    bench.ui.parameterSetSelector.removeCurrentNode()
    assert bench.parameters.parameterNode is first
    assert bench.ui.captureRangeSpinBox.value == 0.0
    assert bench.ui.applyButton.enabled


def test_compare_goes_on_when_a_set_is_made_and_removed(bench: Bench):
    """In a set without a result nothing can be compared, but no view is empty."""
    compare = bench.widget.compareUi.compareButton
    views = [bench.host.layout.sliceWidget(view).sliceLogic() for view in bench.host.layout.sliceViewNames()]
    composites = [logic.GetSliceCompositeNode() for logic in views]
    for composite in composites:
        composite.SetBackgroundVolumeID(None)
    bench.run()
    result, fixed, moving = bench.parameters.outputTransform, bench.nodes["fixedVolume"], bench.nodes["movingVolume"]
    assert compare.checked
    bench.ui.parameterSetSelector.addNode()
    assert (bench.parameters.outputTransform, compare.enabled, compare.checked) == (None, False, False)
    assert {composite.GetBackgroundVolumeID() for composite in composites} == {fixed.GetID()}
    bench.ui.parameterSetSelector.removeCurrentNode()
    assert bench.parameters.outputTransform is result
    assert compare.checked
    assert {composite.GetForegroundVolumeID() for composite in composites} == {moving.GetID()}
    clicks.click(compare)
    bench.ui.parameterSetSelector.addNode()
    bench.ui.parameterSetSelector.removeCurrentNode()
    assert not compare.checked  # it was off


def test_sets_are_saved_with_the_scene_and_the_chosen_one_too(bench: Bench, tmp_path):
    bench.ui.parameterSetSelector.addNode().SetName("wide")
    bench.choose(captureRange=60.0)
    path = tmp_path / "scene.mrml"
    assert slicer.util.saveScene(str(path))
    bench.host.closeScene()
    assert bench.ui.captureRangeSpinBox.value == 0.0
    slicer.util.loadScene(str(path))
    bench.host.processEvents()
    assert bench.parameters.parameterNode.GetName() == "wide"
    assert (bench.parameters.captureRange, bench.ui.captureRangeSpinBox.value) == (60.0, 60.0)
    assert bench.ui.parameterSetSelector.nodeCount() == 2


@pytest.mark.slow
def test_a_run_belongs_to_the_set_that_it_was_started_from(bench: Bench):
    first = bench.parameters
    made: list[Any] = []

    def change(stage: str) -> None:
        if not made:
            made.append(bench.ui.parameterSetSelector.addNode())

    bench.run(during=change)
    assert first.outputTransform is not None
    assert bench.parameters.parameterNode is made[0]
    assert bench.parameters.outputTransform is None


# --- defaults ---


def enter(bench: Bench) -> None:
    bench.widget.parent.exit()
    bench.widget.parent.enter()


NODES = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation")


def forget(bench: Bench) -> None:
    bench.choose(**dict.fromkeys(NODES))


def test_two_volumes_and_their_segmentations_are_chosen_on_entering(bench: Bench):
    forget(bench)
    for name, volume in (("Fixed organs", "fixedVolume"), ("Moving organs", "movingVolume")):
        slicer.util.getNode(name).SetReferenceImageGeometryParameterFromVolumeNode(bench.nodes[volume])
    assert not bench.ui.applyButton.enabled
    enter(bench)
    assert {name: getattr(bench.parameters, name) for name in NODES} == bench.nodes
    assert bench.ui.applyButton.enabled


def test_the_names_say_which_is_fixed_and_whose_organs_they_are(bench: Bench):
    forget(bench)
    bench.nodes["fixedVolume"].SetName("Moving one")
    bench.nodes["movingVolume"].SetName("CT")
    slicer.util.getNode("Moving organs").SetName("CT organs")
    enter(bench)
    assert bench.parameters.movingVolume is bench.nodes["fixedVolume"]
    assert bench.parameters.fixedVolume is bench.nodes["movingVolume"]
    assert bench.parameters.fixedSegmentation.GetName() == "CT organs"
    assert bench.parameters.movingSegmentation is None  # "Fixed organs" could be anyone's


@pytest.mark.parametrize("case", ["a third volume", "one volume", "a choice was made", "an output was chosen"])
def test_in_doubt_nothing_is_chosen(bench: Bench, case: str):
    forget(bench)
    if case == "a third volume":
        runs.add_volume(clicks.small_images()[0], "third")
    elif case == "one volume":
        slicer.mrmlScene.RemoveNode(bench.nodes["movingVolume"])
    elif case == "a choice was made":
        bench.choose(movingVolume=bench.nodes["fixedVolume"])
    else:
        bench.choose(outputTransform=slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode"))
    before = {name: getattr(bench.parameters, name) for name in NODES}
    enter(bench)
    assert {name: getattr(bench.parameters, name) for name in NODES} == before
    assert not bench.ui.applyButton.enabled


# --- while it runs ---


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "share", "text"),
    [
        (0.5, 0.5, "%p %"),  # too early to say
        (10.0, 0.04, "%p %"),
        (20.0, 0.26, "%p %, about 60 s left"),  # a quarter in 20 s
        (60.0, 0.21, "%p %, about 4 min left"),  # 60 * 0.79 / 0.2 = 237 s
        (30.0, 0.95, "%p %, a few seconds left"),
    ],
)
def test_the_time_left_follows_from_what_is_done(bench: Bench, seconds: float, share: float, text: str):
    from PDDRegistrationLib.ui.time_left import TimeLeft

    clock = Clock()
    left = TimeLeft(clock)
    assert left.text(0.0) == "%p %"
    clock.now += 7  # PyTorch is loaded
    assert left.text(0.01) == "%p %"
    clock.now += seconds
    assert left.text(share) == text


@pytest.mark.slow
def test_the_log_tells_what_was_done_and_can_be_copied(bench: Bench):
    bench.ui.logText.clear()
    bench.choose(smoothness=2.0)
    bench.run()
    text = bench.ui.logText.toPlainText()
    for part in (
        "Moving^Patient to Fixed^Patient", "preset fast, device auto, smoothness 2.0", "fixed: 26 x 22 x 18 voxels of",
        "Starting", "Matching, stage 1", "Measuring", "on cpu", "total ",
    ):  # fmt: skip
        assert part in text, text
    assert text.index("Starting") < text.index("Matching, stage 1") < text.index("total ")
    bench.ui.logCollapsibleButton.collapsed = False
    bench.host.processEvents()
    clicks.click(bench.ui.copyLogButton)
    assert slicer.app.clipboard().text() == text
    slicer.util.arrayFromVolume(bench.nodes["movingVolume"])[:] = 7
    bench.run()
    assert "input: moving volume: every voxel has the same value (7)" in bench.ui.logText.toPlainText()


@pytest.mark.slow
def test_all_but_the_basic_controls_is_folded_away(running_host: Any):
    widget = running_host.loadModule(clicks.MODULE)
    try:
        sections = ("start", "moreOutputs", "advanced", "log")
        assert all(getattr(widget.ui, f"{name}CollapsibleButton").collapsed for name in sections)
        assert not any(getattr(widget.ui, f"{n}CollapsibleButton").collapsed for n in ("inputs", "outputs", "settings"))
    finally:
        running_host.unloadModule("PDDRegistration")
