"""The motion of segments under a transform node: table, CSV lines, and arrows in the 3-D views."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from vtk.util.numpy_support import vtk_to_numpy

from helpers import clicks, measure_scene
from helpers import mrml_geometry as mrml
from helpers.geometry import rotation, sitk_points
from helpers.measure_scene import FIXED
from helpers.mrml_geometry import RAS, slicer
from helpers.paths import UI
from pddnet.core.image import Image

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")

TURN = rotation(5, -9, 14)
CHOSEN = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation")


def turn() -> sitk.AffineTransform:
    """Fixed to moving points, LPS mm."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(TURN.ravel().tolist())
    transform.SetCenter((FIXED.centre + [20.0, 0, -10]).tolist())
    transform.SetTranslation([4.0, -6.0, 9.0])
    return transform


@pytest.fixture
def scene(host: Any) -> measure_scene.MeasureScene:
    """The moving scan is the fixed one, turned."""
    return measure_scene.fill(turn())


@pytest.fixture
def transform(scene: measure_scene.MeasureScene) -> Any:
    """Slicer's node of it: from the moving to the fixed scan, RAS."""
    back = turn().GetInverse()
    matrix = np.array(back.GetMatrix()).reshape(3, 3)
    shift = np.array(back.TransformPoint((0.0, 0.0, 0.0)))
    return mrml.add_linear(slicer.mrmlScene, np.diag(RAS) @ matrix @ np.diag(RAS), shift * RAS, name="T")


def expected(organs: Image, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre and shift of an organ, RAS mm, by ITK."""
    points = organs.grid.points()[organs.array == label]
    return points.mean(axis=0) * RAS, (sitk_points(turn(), points) - points).mean(axis=0) * RAS


def triple(table: Any, name: str, row: int) -> np.ndarray:
    return np.array([table.GetTable().GetColumnByName(f"{name} {axis}").GetValue(row) for axis in "RAS"])


def value(table: Any, name: str, row: int) -> float:
    return table.GetTable().GetColumnByName(name).GetValue(row)


def test_the_table_tells_shift_rotation_and_volume(scene, transform, worker) -> None:
    from PDDRegistrationLib.measure.measurement import measure

    table = measure(worker, scene.selection(transform, *CHOSEN)).tables.motion
    assert [value(table, "Segment", row) for row in (0, 1)] == ["liver", "spleen"]
    organs = scene.images["fixed"]
    for row, label in enumerate((1, 3)):
        centre, shift = expected(organs, label)
        assert np.abs(triple(table, "Centre", row) - centre).max() < 0.06  # one digit
        assert np.abs(triple(table, "Shift", row) - shift).max() < 0.06
        volume = np.count_nonzero(organs.array == label) * FIXED.spacing.prod() / 1000
        assert value(table, "Volume fixed", row) == pytest.approx(volume, abs=0.06)
        assert value(table, "Volume moving", row) == pytest.approx(volume, abs=0.06)
        angle = np.degrees(np.arccos((np.trace(TURN) - 1) / 2))
        assert value(table, "Rotation", row) == pytest.approx(angle, abs=0.06)
    assert (table.GetName(), table.GetColumnUnitLabel("Shift R")) == ("T motion", "mm")


def test_the_csv_has_its_lines(scene, transform, worker, tmp_path: Path) -> None:
    from PDDRegistrationLib.measure.csv_export import exportCsv
    from PDDRegistrationLib.measure.measurement import measure

    tables = measure(worker, scene.selection(transform, *CHOSEN)).tables
    exportCsv(tables, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as stream:
        lines = {(row["name"], row["measure"]): row for row in csv.DictReader(stream) if row["part"] == "motion"}
    assert len(lines) == 2 * 7
    assert float(lines["spleen", "Shift A"]["after"]) == value(tables.motion, "Shift A", 1)
    assert lines["spleen", "Shift A"]["before"] == ""
    volume = lines["liver", "Volume"]
    assert (volume["unit"], float(volume["before"])) == ("ml", value(tables.motion, "Volume fixed", 0))


def test_arrows_lead_from_the_fixed_to_the_moving_place(scene, transform, worker) -> None:
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.motion import arrowsOf, removeArrows, showArrows

    table = measure(worker, scene.selection(transform, *CHOSEN)).tables.motion
    kinds = [f"vtkMRMLModel{kind}Node" for kind in ("", "Display", "Storage")]
    nodes = [slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in kinds]
    model = showArrows(transform, table)
    assert showArrows(transform, table) is model is arrowsOf(transform)
    points = vtk_to_numpy(model.GetPolyData().GetPoints().GetData())
    for row, label in enumerate((1, 3)):
        centre, shift = expected(scene.images["fixed"], label)
        tip = centre + shift
        assert np.linalg.norm(points - tip, axis=1).min() < 0.2, row
        along = (points - centre) @ (shift / np.linalg.norm(shift))
        assert np.linalg.norm(points[np.abs(along) < 0.2] - centre, axis=1).min() < 2.0  # the shaft's rim
    assert model.GetDisplayNode().GetVisibility()
    assert model.GetParentTransformNode() is None
    removeArrows(transform)
    assert arrowsOf(transform) is None
    assert [slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in kinds] == nodes


def test_the_button_shows_arrows_that_follow_the_next_measurement(host, scene, transform, worker) -> None:
    import qt

    from PDDRegistrationLib.measure.motion import arrowsOf
    from PDDRegistrationLib.ui.measure_panel import MeasurePanel

    widget = slicer.util.loadUI(str(UI / "Measure.ui"))
    widget.setMRMLScene(slicer.mrmlScene)
    panel = MeasurePanel(slicer.util.childWidgetVariables(widget), SimpleNamespace(worker=worker))
    widget.show()
    names = (*CHOSEN, "outputTransform")
    chosen = {**{name: scene.nodes[name] for name in CHOSEN}, "outputTransform": transform}
    panel.show(SimpleNamespace(**{name: chosen[name] for name in names}))
    ui = panel.ui
    assert not ui.measureArrowsButton.enabled

    def measured() -> None:
        clicks.click(ui.measureButton)
        assert host.waitUntil(lambda: ui.measureButton.text == "Measure", 60), ui.measureStatusLabel.text

    host.runInEventLoop(measured)
    table = ui.measureMotionTab.findChildren(qt.QTableWidget)[0]
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == ["liver", "spleen"]
    clicks.click(ui.measureArrowsButton)
    model = arrowsOf(transform)
    before = model.GetPolyData().GetBounds()
    identity = mrml.add_linear(slicer.mrmlScene, np.eye(3), [0.0, 0, 25.0])
    transform.SetMatrixTransformToParent(identity.GetMatrixTransformToParent())
    host.runInEventLoop(measured)
    assert arrowsOf(transform) is model
    assert model.GetPolyData().GetBounds() != before
    assert ui.measureArrowsButton.checked
    clicks.click(ui.measureArrowsButton)
    assert arrowsOf(transform) is None
    clicks.click(ui.measureArrowsButton)
    ui.measureFixedSegmentationSelector.setCurrentNode(None)
    ui.measureMovingSegmentationSelector.setCurrentNode(None)
    host.runInEventLoop(measured)  # nothing tells a motion now
    assert arrowsOf(transform) is None
    assert (ui.measureArrowsButton.checked, ui.measureArrowsButton.enabled) == (False, False)
    panel.close()
    widget.close()
