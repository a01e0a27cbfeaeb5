"""The rest of the tutorial by clicks: further outputs, settings, two parameter sets, Compare, Apply to, Measure, and a
second run that starts from landmarks and is guided. The sample pair with the preset 'fast', which is too coarse for it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import clicks
from helpers.mrml_geometry import RAS, slicer
from helpers.runs import fingerprint

pytestmark = pytest.mark.slow

MAPS = {"outputInverse": "inverse", "outputJacobian": "Jacobian", "outputSpread": "spread"}


@dataclass
class Tour:
    """What was seen on the way."""

    widget: Any
    host: Any
    folder: Path
    chosen: dict[str, str] = field(default_factory=dict)  # by itself, on entering
    bars: list[str] = field(default_factory=list)  # the progress bar's words during the first run
    verdicts: list[str] = field(default_factory=list)
    transforms: list[sitk.Transform] = field(default_factory=list)  # of both runs, as MRML saved them
    inverse: sitk.Transform | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)  # the voxels after the first run
    pictures: dict[str, np.ndarray] = field(default_factory=dict)  # the view Red, by tool
    places: dict[str, np.ndarray] = field(default_factory=dict)  # of the moving landmarks, RAS
    table: list[list[str]] = field(default_factory=list)  # the exported measurement
    sets: list[tuple[str, float]] = field(default_factory=list)
    log: str = ""

    @property
    def ui(self) -> Any:
        return self.widget.ui


@pytest.fixture(scope="module")
def tour(running_host: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    running_host.setTesting(True)
    running_host.clear()
    tour = Tour(running_host.loadModule(clicks.MODULE), running_host, tmp_path_factory.mktemp("tour"))
    with pytest.MonkeyPatch.context() as patch:
        for step in (load, set_up, register, compare, apply_to, measure, nudge):
            running_host.runInEventLoop(lambda step=step: step(tour, patch))
    yield tour
    running_host.unloadModule("PDDRegistration")
    running_host.clear()


def load(tour: Tour, patch: pytest.MonkeyPatch) -> None:
    """Sample Data, and then this module: both volumes and segmentations are chosen."""
    import SampleData

    selector = tour.host.window.moduleSelector()
    selector.selectModule("")
    (source,) = SampleData.SampleDataLogic.sampleDataSourcesByCategory("PDDRegistration")
    SampleData.SampleDataLogic().downloadFromSource(source)
    selector.selectModule("PDDRegistration")
    for name in ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation"):
        node = getattr(tour.ui, f"{name}Selector").currentNode()
        tour.chosen[name] = node.GetName() if node else ""


def set_up(tour: Tour, patch: pytest.MonkeyPatch) -> None:
    """Further outputs, made by their selectors; a preset; a second parameter set with a wider search."""
    ui = tour.ui
    for section in (ui.moreOutputsCollapsibleButton, ui.advancedCollapsibleButton):
        clicks.unfold(section)
        tour.host.processEvents(0.05)
    for name in MAPS:
        clicks.pick(getattr(ui, f"{name}Selector"), "Create new")
    clicks.choose(ui.presetComboBox, "fast")
    clicks.pick(ui.parameterSetSelector, "Create new")
    clicks.type_into(ui.captureRangeSpinBox, "64")
    tour.sets.append((ui.parameterSetSelector.currentNode().GetName(), ui.captureRangeSpinBox.value))
    clicks.choose(ui.parameterSetSelector, "PDDRegistration")
    tour.sets.append((ui.parameterSetSelector.currentNode().GetName(), ui.captureRangeSpinBox.value))


def register(tour: Tour, patch: pytest.MonkeyPatch) -> None:
    ui = tour.ui
    assert ui.applyButton.enabled, ui.applyButton.toolTip
    clicks.click(ui.applyButton)

    def over() -> bool:
        if ui.progressBar.visible and ui.progressBar.format not in tour.bars[-1:]:
            tour.bars.append(ui.progressBar.format)
        return ui.applyButton.text == clicks.APPLY

    assert tour.host.waitUntil(over, 300)
    keep_result(tour)
    for name in ("outputJacobian", "outputSpread"):
        tour.maps[name] = slicer.util.arrayFromVolume(getattr(ui, f"{name}Selector").currentNode()).copy()
    assert slicer.util.saveNode(ui.outputInverseSelector.currentNode(), str(tour.folder / "inverse.h5"))
    tour.inverse = clicks.read_field(tour.folder / "inverse.h5")


def keep_result(tour: Tour) -> None:
    path = tour.folder / f"{len(tour.transforms)}.h5"
    tour.verdicts.append(tour.ui.verdictLabel.text)
    assert slicer.util.saveNode(tour.ui.outputTransformSelector.currentNode(), str(path)), tour.ui.statusLabel.text
    tour.transforms.append(clicks.read_field(path))
    tour.log = tour.ui.logText.toPlainText()


def compare(tour: Tour, patch: pytest.MonkeyPatch) -> None:
    """Each tool once; what the view Red shows is kept."""
    import qt
    from PySide6.QtTest import QTest

    ui = tour.widget.compareUi

    def look(name: str) -> None:
        tour.host.processEvents(0.2)
        tour.pictures[name] = tour.host.viewImage("Red").astype(int)

    look("after")
    for name in ("before", "checkerboard", "grid", "glyphs", "contours"):
        button = getattr(ui, f"{name}Button")
        clicks.click(button)
        look(name)
        clicks.click(button)
    look("after again")
    slider = ui.blendSlider.findChildren(qt.QSlider)[0]
    slider.setFocus()
    for key, name in ((qt.Qt.Key_Home, "only fixed"), (qt.Qt.Key_End, "only moving")):
        QTest.keyClick(slider, key)
        look(name)
    clicks.pick(ui.overlayComboBox, "Spread")
    assert tour.host.waitUntil(lambda: ui.compareStatusLabel.text == "", 60)
    look("spread")
    clicks.pick(ui.overlayComboBox, "(none)")
    clicks.click(ui.compareButton)
    look("off")


def landmarks() -> np.ndarray:
    node = slicer.util.getNode("PDDMoving landmarks")
    count = range(node.GetNumberOfControlPoints())
    return np.array([node.GetNthControlPointPositionWorld(n) for n in count])


def apply_to(tour: Tour, patch: pytest.MonkeyPatch) -> None:
    """The moving landmarks go where the fixed scan has them, and back."""
    ui = tour.widget.compareUi
    clicks.pick(ui.applyNodeSelector, "PDDMoving landmarks")
    tour.places["before"] = landmarks()
    clicks.click(ui.applyToButton)
    tour.places["applied"] = landmarks()
    clicks.click(ui.undoButton)
    tour.places["undone"] = landmarks()


def measure(tour: Tour, patch: pytest.MonkeyPatch) -> None:
    import qt

    ui = tour.widget.measureUi
    clicks.unfold(ui.measureCollapsibleButton)
    tour.host.processEvents(0.1)
    clicks.pick(ui.measureFixedPointsSelector, "PDDFixed landmarks")
    clicks.pick(ui.measureMovingPointsSelector, "PDDMoving landmarks")
    clicks.pick(ui.measureInverseSelector, "PDDMoving to PDDFixed inverse")
    assert ui.measureButton.enabled, ui.measureButton.toolTip
    clicks.click(ui.measureButton)
    assert tour.host.waitUntil(lambda: ui.measureExportButton.enabled, 120), ui.measureStatusLabel.text
    path = tour.folder / "measures.csv"
    patch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(lambda *_: str(path)))
    clicks.click(ui.measureExportButton)
    clicks.click(ui.measurePlotButton)
    tour.table = list(csv.reader(path.read_text("utf-8-sig").splitlines()))


def nudge(tour: Tour, patch: pytest.MonkeyPatch) -> None:
    """Start from the landmarks, guided by the organs, into a new transform."""
    ui = tour.ui
    clicks.unfold(ui.startCollapsibleButton)
    tour.host.processEvents(0.1)
    clicks.pick(ui.fixedPointsSelector, "PDDFixed landmarks")
    clicks.pick(ui.movingPointsSelector, "PDDMoving landmarks")
    clicks.click(ui.guideCheckBox)
    clicks.pick(ui.outputTransformSelector, "(new transform)")
    clicks.click(ui.applyButton)
    assert tour.host.waitUntil(lambda: ui.applyButton.text == clicks.APPLY, 300)
    keep_result(tour)


# --- what came out ---


def test_the_inputs_are_chosen_by_themselves(tour: Tour):
    assert tour.chosen == {
        "fixedVolume": "PDDFixed",
        "movingVolume": "PDDMoving",
        "fixedSegmentation": "PDDFixed organs",
        "movingSegmentation": "PDDMoving organs",
    }


def test_two_sets_hold_two_settings(tour: Tour):
    assert tour.sets == [("PDD parameters", 64.0), ("PDDRegistration", 0.0)]


def test_the_bar_tells_percent_and_then_the_time_left(tour: Tour):
    assert tour.bars[0] == "%p %"
    assert any(re.fullmatch(r"%p %, (about \d+ (s|min)|a few seconds) left", words) for words in tour.bars)


def test_further_outputs_are_called_after_the_inputs_and_hold_numbers(tour: Tour):
    for name, word in MAPS.items():
        chosen = getattr(tour.ui, f"{name}Selector").currentNode()
        assert chosen.GetName() == f"PDDMoving to PDDFixed {word}"
    points = landmark_pairs()[0]
    there = np.array([tour.transforms[0].TransformPoint(point) for point in points.tolist()])
    back = np.array([tour.inverse.TransformPoint(point) for point in there.tolist()])
    assert np.median(np.linalg.norm(there - points, axis=1)) > 40
    assert np.median(np.linalg.norm(back - points, axis=1)) < 0.5
    jacobian, spread = tour.maps.values()
    judge = sitk.GetArrayFromImage(
        sitk.DisplacementFieldJacobianDeterminant(tour.transforms[0].GetDisplacementField(), True)
    )
    assert jacobian.shape == judge.shape
    inner = (slice(2, -2),) * 3
    assert np.percentile(np.abs(jacobian - judge)[inner], 99) < 0.05
    assert 1 < spread[spread > 0].mean() < 40


def differing(tour: Tour, first: str, second: str) -> float:
    """Share of the pixels that are not alike."""
    return float((np.abs(tour.pictures[first] - tour.pictures[second]).max(axis=-1) > 12).mean())


@pytest.mark.parametrize(
    "tool", ["before", "checkerboard", "grid", "glyphs", "contours", "only fixed", "spread", "off"]
)
def test_every_tool_changes_the_view(tour: Tour, tool: str):
    assert differing(tour, "after", tool) > 0.005


def test_the_tools_leave_the_view_as_it_was(tour: Tour):
    assert differing(tour, "after", "after again") < 0.001
    assert differing(tour, "only fixed", "only moving") > 0.05


def test_apply_to_takes_the_landmarks_over_and_undo_brings_them_back(tour: Tour):
    """MRML's inverse of the transform, against the inverse that ITK reads."""
    expected = np.array([tour.inverse.TransformPoint(point) for point in (tour.places["before"] * RAS).tolist()]) * RAS
    apart = np.linalg.norm(tour.places["applied"] - expected, axis=1)
    assert np.median(apart) < 0.5
    assert np.array_equal(tour.places["undone"], tour.places["before"])


def landmark_pairs() -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) LPS points of the files that both patients have, in the order of the fixed ones."""
    sides = []
    for side in ("fixed", "moving"):
        rows = csv.DictReader((clicks.SAMPLE_DATA / f"{side}_landmarks.csv").read_text("utf-8").splitlines())
        sides.append({row["name"]: [float(row[axis]) for axis in "xyz"] for row in rows})
    common = [name for name in sides[0] if name in sides[1]]
    return tuple(np.array([side[name] for name in common]) for side in sides)


def row(tour: Tour, begins: str) -> list[float | None]:
    """A line of the exported summary: the numbers before and after."""
    line = next(line for line in tour.table if len(line) > 4 and line[2].startswith(begins))
    return [float(word) if word else None for word in line[4:6]]


def test_the_measurement_is_what_itk_finds(tour: Tour):
    """Dice and the error at landmarks by the saved transform and the files."""
    fixed, moving = (sitk.ReadImage(str(clicks.SAMPLE_DATA / f"{side}_labels.nii.gz")) for side in ("fixed", "moving"))
    warped = sitk.Resample(moving, fixed, tour.transforms[0], sitk.sitkNearestNeighbor, 0)
    values = clicks.dice(sitk.GetArrayFromImage(fixed), sitk.GetArrayFromImage(warped))
    shown = [value for value in np.unique(sitk.GetArrayFromImage(moving)) if value and values.get(value, 0) > 0]
    assert row(tour, "Mean Dice of")[1] == pytest.approx(np.mean([values[v] for v in shown]), abs=0.02)
    points, partners = landmark_pairs()
    moved = np.array([tour.transforms[0].TransformPoint(point) for point in points.tolist()])
    errors = np.linalg.norm(moved - partners, axis=1)
    before = np.median(np.linalg.norm(points - partners, axis=1))
    assert row(tour, "TRE of 18 points, median") == pytest.approx([before, np.median(errors)], abs=0.02)
    assert row(tour, "There and back with the chosen inverse, mean")[1] < 0.5


def test_a_start_from_landmarks_brings_them_nearer_and_the_result_says_what_led_it(tour: Tour):
    points, partners = landmark_pairs()
    medians = [
        np.median(np.linalg.norm([t.TransformPoint(p) for p in points.tolist()] - partners, axis=1))
        for t in tour.transforms
    ]
    assert medians[1] < 12
    assert medians[1] < medians[0] + 1
    assert "before" in tour.verdicts[0]
    assert "guided" not in tour.verdicts[0]
    assert "at the start" in tour.verdicts[1]
    assert "guided by them, so no evaluation" in tour.verdicts[1]
    assert "with initial transform, fixed labels" in tour.log
    assert tour.log.count("Matching, stage 1") == 2


def test_the_second_run_made_a_transform_of_its_own_and_took_the_landmarks_along(tour: Tour):
    second = slicer.util.getNode("PDDMoving to PDDFixed_1")
    assert tour.ui.outputTransformSelector.currentNode() is second
    for name in ("PDDMoving", "PDDMoving organs", "PDDMoving landmarks"):
        assert slicer.util.getNode(name).GetParentTransformNode() is second, name
    for name in ("PDDFixed", "PDDFixed organs", "PDDFixed landmarks"):
        assert slicer.util.getNode(name).GetParentTransformNode() is None, name
    assert fingerprint(slicer.util.getNode("PDDMoving to PDDFixed"))
