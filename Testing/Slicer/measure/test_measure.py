"""Measuring a transform in the scene: what may be chosen, the tables, CSV and plot, and what happens meanwhile."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import clicks, measure_scene
from helpers import mrml_geometry as mrml
from helpers.measure_scene import FIXED, NUDGE, SHIFT
from helpers.mrml_geometry import slicer
from helpers.paths import UI
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import Cancelled, InputError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")

MEASURED = ("fixedVolume", "fixedSegmentation", "movingSegmentation", "fixedPoints", "movingPoints")


@pytest.fixture
def scene(host: Any) -> measure_scene.MeasureScene:
    return measure_scene.fill()


@pytest.fixture
def transform(scene: measure_scene.MeasureScene) -> Any:
    """SHIFT, which is right."""
    return mrml.add_linear(slicer.mrmlScene, np.eye(3), -SHIFT * mrml.RAS, name="Größe, a")


def count(kind: str = "vtkMRMLNode") -> int:
    return slicer.mrmlScene.GetNumberOfNodesByClass(kind)


def cells(table: Any) -> list[dict[str, Any]]:
    """A table node's rows, by VTK alone."""
    columns = [table.GetTable().GetColumn(n) for n in range(table.GetTable().GetNumberOfColumns())]
    return [{c.GetName(): c.GetValue(row) for c in columns} for row in range(table.GetTable().GetNumberOfRows())]


def boxes(*spans: tuple[int, int]) -> Image:
    """Segments that are boxes on a grid of 2 x 3 x 4 mm: label n is the n-th (first, last + 1) voxel along i."""
    grid = Grid((12, 14, 40), np.array([2.0, 3.0, 4.0]), np.array([10.0, -20, 30]), np.diag([1.0, -1.0, -1.0]))
    array = np.zeros(grid.shape, np.uint8)
    for label, (start, stop) in enumerate(spans, 1):
        array[3:9, 4:10, start:stop] = label
    return Image(array, grid)


# --- numbers by hand ---


def test_boxes_that_are_shifted_along_one_axis(host, worker):
    """A box of 10 voxels (2 mm) along x; the moving one is 5 further without, and 1 further with the transform."""
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.selection import MeasureSelection

    fixed = measure_scene.add_segmentation(boxes((10, 20), (30, 34)), "F", {1: "liver", 2: "spleen"})
    moving = measure_scene.add_segmentation(boxes((15, 25), (35, 39)), "M", {1: "Liver ", 2: "spleen"})
    transform = mrml.add_linear(slicer.mrmlScene, np.eye(3), [8.0, 0, 0])  # R: 4 voxels back, to the patient's right
    result = measure(worker, MeasureSelection(transform, fixedSegmentation=fixed, movingSegmentation=moving))
    rows = {row["Segment"]: row for row in cells(result.tables.segments)}
    assert rows["liver"]["Dice before"] == 0.5
    assert rows["liver"]["Dice after"] == 0.9
    assert rows["spleen"]["Dice before"] == 0.0
    assert rows["spleen"]["Dice after"] == 0.75
    assert (rows["liver"]["HD95 before"], rows["liver"]["HD95 after"]) == (10.0, 2.0)
    assert (rows["spleen"]["HD95 before"], rows["spleen"]["HD95 after"]) == (10.0, 2.0)
    assert rows["liver"]["Matched by"] == "name"
    for side, shift in (("before", 0.0), ("after", 8.0)):  # to the left
        itk = sitk.TranslationTransform(3, (shift, 0, 0))
        expected = measure_scene.itk_overlap(boxes((10, 20), (30, 34)), boxes((15, 25), (35, 39)), itk, values=(1, 2))
        for name, value in (("liver", 1), ("spleen", 2)):
            assert rows[name][f"Dice {side}"] == pytest.approx(expected[value]["dice"], abs=1e-4)
            assert rows[name][f"ASD {side}"] == pytest.approx(expected[value]["asd"], abs=2e-3)
            assert rows[name][f"HD95 {side}"] <= expected[value]["hausdorff"]
    means = {row["Measure"]: (row["Before"], row["After"]) for row in cells(result.tables.summary)}
    assert means["Mean Dice of 2 segments"] == ("0.250", "0.825")
    assert means["Mean HD95 of 2 segments"] == ("10.0", "2.0")


def test_without_a_volume_the_moving_organs_are_seen_beyond_the_fixed_ones(host, worker):
    """Segmentations are often cropped to their organs: what lies outside still counts."""
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.selection import MeasureSelection

    whole = boxes((10, 20))
    cropped = Image(np.ascontiguousarray(whole.array[3:9, 4:10, 10:20]), _cropped(whole.grid, (10, 4, 3), (6, 6, 10)))
    fixed = measure_scene.add_segmentation(cropped, "F", {1: "liver"})
    moving = measure_scene.add_segmentation(boxes((10, 30)), "M", {1: "liver"})  # twice as long
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    result = measure(worker, MeasureSelection(transform, fixedSegmentation=fixed, movingSegmentation=moving))
    (row,) = cells(result.tables.segments)
    assert row["Dice after"] == pytest.approx(2 * 10 / 30, abs=1e-4)


def _cropped(grid: Grid, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Grid:
    return Grid(shape, grid.spacing, grid.index_to_point(np.array(start, float)), grid.direction)


def test_points_by_label_and_by_order(host, worker):
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.selection import MeasureSelection

    transform = mrml.add_linear(slicer.mrmlScene, np.eye(3), [0.0, 0, -7.0])
    places = np.array([[0.0, 0, 0], [10, 0, 0], [0, 20, 0]])
    errors = np.array([[0.0, 0, 0], [0, 3, 4], [0, 0, 12]])
    fixed = measure_scene.add_points(places, ("a", "b", "c"), "F")
    moving = measure_scene.add_points((places + errors + [0, 0, 7])[::-1], ("c", "b", "a"), "M")
    result = measure(worker, MeasureSelection(transform, fixedPoints=fixed, movingPoints=moving))
    rows = [(r["Point"], r["TRE before"], r["TRE after"]) for r in cells(result.tables.points)]
    assert rows == [("a", 7.0, 0.0), ("b", round(np.hypot(3, 11), 3), 5.0), ("c", 19.0, 12.0)]
    summary = {row["Measure"]: row for row in cells(result.tables.summary)}
    assert summary["TRE of 3 points, mean, matched by label"]["After"] == "5.67"
    assert summary["TRE of 3 points, median, matched by label"]["After"] == "5.00"
    assert summary["TRE of 3 points, largest, matched by label"]["Unit"] == "mm"
    other = measure_scene.add_points((places + errors + [0, 0, 7]), ("M-1", "M-2", "M-3"), "M2")
    result = measure(worker, MeasureSelection(transform, fixedPoints=fixed, movingPoints=other))
    assert [r["TRE after"] for r in cells(result.tables.points)] == [0.0, 5.0, 12.0]
    assert any("matched by order" in row["Measure"] for row in cells(result.tables.summary))
    assert result.tables.segments is None
    few = measure_scene.add_points(places[:2], ("b", "z"), "few")
    result = measure(worker, MeasureSelection(transform, fixedPoints=fixed, movingPoints=few))
    assert [r["Point"] for r in cells(result.tables.points)] == ["b"]
    assert ("Points without a partner", "3") in [(r["Measure"], r["After"]) for r in cells(result.tables.summary)]


# --- what may be chosen ---


def test_points_that_do_not_belong_together_are_refused(scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import MeasureJob

    fixed = scene.nodes["fixedPoints"]
    two = measure_scene.add_points(measure_scene.LANDMARKS[:2], ("x", "y"), "two")
    twice = measure_scene.add_points(measure_scene.LANDMARKS, ("a", "a", "b"), "twice")
    for moving, message in ((two, "F has 3 points and two has 2, and no label"), (twice, "twice: the label 'a'")):
        with pytest.raises(InputError, match=message):
            MeasureJob(worker, scene.selection(transform, "fixedVolume", fixedPoints=fixed, movingPoints=moving))
    assert not worker.isBusy


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "Choose a fixed volume, two segmentations or two point lists"),
        (("movingVolume",), "Choose a fixed volume"),
        (("fixedVolume", "fixedSegmentation"), "Choose the moving segmentation too"),
        (("movingPoints",), "Choose the fixed point list too"),
    ],
)
def test_incomplete_choices_are_refused(scene, transform, worker, names, message):
    from PDDRegistrationLib.measure.measurement import MeasureJob
    from PDDRegistrationLib.measure.selection import MeasureSelection

    nodes, tables = count(), count("vtkMRMLTableNode")
    with pytest.raises(InputError, match=message):
        MeasureJob(worker, MeasureSelection(transform, **{name: scene.nodes[name] for name in names}))
    assert (count(), count("vtkMRMLTableNode")) == (nodes, tables)


def test_wrong_choices_are_refused(scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import MeasureJob
    from PDDRegistrationLib.measure.selection import MeasureSelection

    organs = scene.nodes["fixedSegmentation"]
    with pytest.raises(InputError, match="Choose a transform"):
        MeasureJob(worker, scene.selection(None))
    with pytest.raises(InputError, match="Fixed organs is chosen for both sides"):
        MeasureJob(worker, MeasureSelection(transform, fixedSegmentation=organs, movingSegmentation=organs))
    with pytest.raises(InputError, match="Größe, a cannot be its own inverse"):
        MeasureJob(worker, scene.selection(transform, inverse=transform))
    scene.nodes["fixedVolume"].SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="Fixed lies under Größe, a"):
        MeasureJob(worker, scene.selection(transform))
    scene.nodes["fixedVolume"].SetAndObserveTransformNodeID(None)
    organs.GetSegmentation().GetNthSegment(0).SetName("heart")
    organs.GetSegmentation().GetNthSegment(1).SetName("brain")
    with pytest.raises(InputError, match="Fixed organs and Moving organs have no segment in common"):
        MeasureJob(worker, scene.selection(transform))


def test_the_transform_names_the_volumes(scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.selection import MeasureSelection

    fixed, moving = scene.nodes["fixedVolume"], scene.nodes["movingVolume"]
    transform.SetNodeReferenceID(transform.GetFixedNodeReferenceRole(), fixed.GetID())
    transform.SetNodeReferenceID(transform.GetMovingNodeReferenceRole(), moving.GetID())
    selection = MeasureSelection(transform).completed()
    assert (selection.fixedVolume, selection.movingVolume) == (fixed, moving)
    similarity = measure(worker, MeasureSelection(transform)).findings.similarity
    assert similarity["after"] > 0.4 > similarity["before"] + 0.2  # noise, interpolated


# --- the tables ---


def test_the_summary_stands_beside_published_numbers(scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.references import REFERENCES

    result = measure(worker, scene.selection(transform))
    rows = {row["Measure"]: row for row in cells(result.tables.summary)}
    dice = rows["Mean Dice of 2 segments"]
    assert "0.80 to 0.90" in dice["Reference"] and "10.1002/mp.12256" in dice["Source"]
    folding = next(row for name, row in rows.items() if name.startswith("Folding in the fixed body"))
    assert (folding["After"], folding["Unit"]) == ("0.000", "%")
    back = rows["There and back with its exact inverse, largest"]
    assert (back["After"], back["Unit"], back["Reference"]) == ("0.00", "mm", "")
    correlation = rows["Correlation of intensities where both bodies are"]
    assert float(correlation["After"]) > float(correlation["Before"])
    assert not any("Verdict" in name for name in rows)
    assert all(reference.source and reference.text for reference in REFERENCES)
    assert all("doi:10." in reference.source for reference in REFERENCES)
    titles = {n: result.tables.segments.GetColumnTitle(n) for n in ("Dice before", "HD95 after")}
    assert titles == {"Dice before": "Dice before", "HD95 after": "HD95 after"}
    assert result.tables.segments.GetColumnUnitLabel("ASD before") == "mm"
    assert result.tables.segments.GetLocked()


def test_the_verdict_and_the_colours(scene, transform, worker):
    """Red are folding and failure, and nothing else."""
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.summary import summaryHtml
    from PDDRegistrationLib.registration.job import REPORT

    good = {"folding_percent": 0.0, "region": "fixed body"}
    for status, jacobian, red in (
        ("ok", good, 0),
        ("failed", good, 1),
        ("doubtful", good | {"folding_percent": 0.4}, 1),
    ):
        transform.SetAttribute(REPORT, f'{{"verdict": {{"status": "{status}"}}}}')
        assert summaryHtml(transform, jacobian).count("color:#") == red, status
    rows = cells(measure(worker, scene.selection(transform, "fixedVolume")).tables.summary)
    assert rows[0]["After"].startswith("Doubtful")
    assert not any("guided" in row["Measure"] for row in rows)
    transform.SetAttribute(REPORT, '{"verdict": {"status": "ok"}, "guided": true}')
    rows = cells(measure(worker, scene.selection(transform, "fixedVolume")).tables.summary)
    assert [row["After"] for row in rows if "guided" in row["Measure"]] == ["their Dice is no evaluation"]
    transform.SetAttribute(REPORT, '{"verdict": ["from the future"]}')
    assert summaryHtml(transform, good) == "Folding in 0.000 % of the fixed body"


def test_segments_that_cannot_be_compared_are_named_and_not_plotted(scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import measure

    fixed = scene.nodes["fixedSegmentation"].GetSegmentation()
    fixed.AddEmptySegment("empty", "bladder")
    moving = scene.nodes["movingSegmentation"].GetSegmentation()
    moving.AddEmptySegment("empty", "bladder")
    moving.AddEmptySegment("other", "tail")
    result = measure(worker, scene.selection(transform))
    assert [row["Segment"] for row in cells(result.tables.segments)] == ["liver", "spleen"]
    rows = {row["Measure"]: row["After"] for row in cells(result.tables.summary)}
    assert rows["Segments without a partner"] == "tail"
    assert rows["Segments that are empty or lie outside the fixed volume"] == "bladder"


def test_a_segment_outside_the_fixed_volume_is_named_and_not_plotted(host, worker):
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.selection import MeasureSelection

    fixed = measure_scene.add_segmentation(boxes((2, 12), (30, 34)), "F", {1: "liver", 2: "spleen"})
    moving = measure_scene.add_segmentation(boxes((2, 12), (30, 34)), "M", {1: "liver", 2: "spleen"})
    grid = boxes().grid
    half = Grid((12, 14, 20), grid.spacing, grid.origin, grid.direction)
    volume = mrml.add_volume(slicer.mrmlScene, np.zeros(half.shape, np.int16), half)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    nodes = {"fixedVolume": volume, "fixedSegmentation": fixed, "movingSegmentation": moving}
    result = measure(worker, MeasureSelection(transform, **nodes))
    assert [(row["Segment"], row["Dice after"]) for row in cells(result.tables.segments)] == [("liver", 1.0)]
    rows = {row["Measure"]: row["After"] for row in cells(result.tables.summary)}
    assert rows["Segments that are empty or lie outside the fixed volume"] == "spleen"


def test_measuring_again_fills_the_same_tables_and_removes_what_is_no_longer_so(scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.tables import measureTablesOf

    first = measure(worker, scene.selection(transform)).tables
    assert {node.GetName() for node in first.nodes.values()} == {
        "Größe, a QA", "Größe, a QA segments", "Größe, a QA points", "Größe, a motion",
    }  # fmt: skip
    other = mrml.add_linear(slicer.mrmlScene, np.eye(3), [0.0, 0, 0], name="other")
    theirs = measure(worker, scene.selection(other, *MEASURED)).tables
    again = measure(worker, scene.selection(transform, "fixedVolume", "fixedSegmentation", "movingSegmentation")).tables
    assert (again.summary, again.segments, again.points) == (first.summary, first.segments, None)
    assert count("vtkMRMLTableNode") == 7
    assert measureTablesOf(other) == theirs
    assert measureTablesOf(None) is None


def test_tables_and_chart_are_found_again_in_a_loaded_scene(host, scene, transform, worker, tmp_path: Path):
    from PDDRegistrationLib.measure.csv_export import exportCsv
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.plot import diceChart
    from PDDRegistrationLib.measure.tables import jacobianOf, measureTablesOf

    tables = measure(worker, scene.selection(transform)).tables
    chart = diceChart(tables.segments, "a").GetName()
    exportCsv(tables, tmp_path / "a.csv")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.closeScene()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    loaded = measureTablesOf(slicer.mrmlScene.GetFirstNodeByName("Größe, a"))
    assert set(loaded.nodes) == {"summary", "segments", "points", "motion"}
    assert jacobianOf(loaded)["folding_percent"] == 0
    exportCsv(loaded, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text("utf-8-sig") == (tmp_path / "a.csv").read_text("utf-8-sig")
    again = diceChart(loaded.segments, "a")
    assert (again.GetName(), again.GetNumberOfPlotSeriesNodes(), count("vtkMRMLPlotChartNode")) == (chart, 2, 1)


# --- CSV and plot ---


def test_csv(scene, transform, worker, tmp_path: Path):
    from PDDRegistrationLib.measure.csv_export import exportCsv
    from PDDRegistrationLib.measure.measurement import measure

    scene.nodes["fixedSegmentation"].GetSegmentation().GetNthSegment(0).SetName('Leber, "groß"')
    scene.nodes["movingSegmentation"].GetSegmentation().GetNthSegment(0).SetName('Leber, "groß"')
    result = measure(worker, scene.selection(transform))
    path = tmp_path / "Größe.csv"
    exportCsv(result.tables, path)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfpart,name,measure,unit,before,after,reference,source\n")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {(row["part"], row["name"], row["measure"]): row for row in rows}
    liver = next(row for row in result.findings.organs if row["name"].startswith("Leber"))
    line = found["segments", 'Leber, "groß"', "Dice"]
    assert (float(line["before"]), float(line["after"])) == pytest.approx(
        (liver["dice_before"], liver["dice_after"]), abs=1e-4
    )
    assert found["segments", "spleen", "HD95"]["unit"] == "mm"
    assert float(found["points", "b", "TRE"]["after"]) == pytest.approx(np.linalg.norm(NUDGE), abs=1e-3)
    mean = found["summary", "", "Mean Dice of 2 segments"]
    assert "mp.12256" in mean["source"]
    assert not (tmp_path / "Größe.csv.part").exists()


def test_a_csv_that_cannot_be_written_leaves_the_old_one(scene, transform, worker, tmp_path, monkeypatch):
    from PDDRegistrationLib.measure.csv_export import exportCsv
    from PDDRegistrationLib.measure.measurement import measure

    tables = measure(worker, scene.selection(transform, "fixedVolume")).tables
    path = tmp_path / "a.csv"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        exportCsv(tables, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]
    assert path.read_text() == "old"
    with pytest.raises(InputError, match="cannot be written"):
        exportCsv(tables, tmp_path / "missing" / "a.csv")


def test_the_plot_has_a_bar_for_every_segment_before_and_after(scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.plot import diceChart

    tables = measure(worker, scene.selection(transform)).tables
    chart = diceChart(tables.segments, "a")
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [(s.GetName(), s.GetYColumnName(), s.GetLabelColumnName()) for s in series] == [
        ("Before", "Dice before", "Segment"), ("After", "Dice after", "Segment"),
    ]  # fmt: skip
    assert all(s.GetTableNode() is tables.segments and s.GetPlotType() == s.PlotTypeBar for s in series)
    assert not series[0].IsXColumnRequired()
    assert series[0].GetColor() != series[1].GetColor()
    assert (chart.GetXAxisRange(), chart.GetXAxisRangeAuto()) == ((0.0, 1.0), False)
    assert (chart.GetYAxisRange(), chart.GetYAxisRangeAuto()) == ((1.5, -0.5), False)  # of two rows, the first on top
    assert diceChart(tables.segments, "a") is chart
    assert (count("vtkMRMLPlotChartNode"), count("vtkMRMLPlotSeriesNode")) == (1, 2)
    slicer.mrmlScene.RemoveNode(series[1])
    again = diceChart(tables.segments, "a")
    assert (again, again.GetNumberOfPlotSeriesNodes()) == (chart, 2)


@pytest.fixture
def plotted(host, scene, transform, worker) -> Iterator[SimpleNamespace]:
    """The chart of a measurement in the host's plot view, with names beside its bars."""
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.plot import diceChart, showChart
    from PDDRegistrationLib.measure.plot_bars import NamedBars

    tables = measure(worker, scene.selection(transform)).tables
    chart = diceChart(tables.segments, "a")
    assert showChart(chart)
    bars = NamedBars(chart, tables.segments)
    yield SimpleNamespace(tables=tables, chart=chart, bars=bars, view=host.layout.plotWidget(0).plotView())
    bars.close()
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)


def tick_labels(view: Any) -> list[str]:
    labels = view.chart().GetAxis(mrml.vtk.vtkAxis.LEFT).GetTickLabels()
    return [labels.GetValue(n) for n in range(labels.GetNumberOfValues())]


def orientations(view: Any) -> set[str]:
    names = {mrml.vtk.vtkPlotBar.HORIZONTAL: "lying", mrml.vtk.vtkPlotBar.VERTICAL: "upright"}
    return {names[view.chart().GetPlot(n).GetOrientation()] for n in range(view.chart().GetNumberOfPlots())}


def test_bars_lie_beside_the_names_of_their_segments(plotted):
    """Two bars of each: grey before, blue after, as long as the numbers of the table."""
    plotted.view.resize(500, 400)
    assert tick_labels(plotted.view) == ["liver", "spleen"]
    assert orientations(plotted.view) == {"lying"}
    picture = plotted.view.image().astype(int)
    blue = (np.abs(picture - [31, 120, 181]).sum(axis=-1) < 12).sum(axis=1)
    lengths = sorted({int(length) for length in blue if length > 50})
    row = cells(plotted.tables.segments)
    axis = plotted.view.chart().GetAxis(mrml.vtk.vtkAxis.BOTTOM)
    whole = axis.GetPoint2()[0] - axis.GetPoint1()[0]  # pixels from 0 to 1
    longest = max(entry["Dice after"] for entry in row)
    assert abs(lengths[-1] - longest * whole) < 6
    upper = np.argmax(blue > 50)
    grey = (np.abs(picture - [158, 158, 158]).sum(axis=-1) < 12).sum(axis=1)
    assert np.argmax(grey > 20) < upper  # before stands above after


def test_another_chart_in_the_view_has_its_own_axis(plotted):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "other")
    node = plotted.view.mrmlPlotViewNode()
    node.SetPlotChartNodeID(other.GetID())
    plotted.view.image()
    assert not {"liver", "spleen"} & set(tick_labels(plotted.view))
    node.SetPlotChartNodeID(plotted.chart.GetID())
    assert tick_labels(plotted.view) == ["liver", "spleen"]
    assert orientations(plotted.view) == {"lying"}
    plotted.bars.close()
    assert orientations(plotted.view) == {"upright"}


def test_a_chart_that_is_removed_leaves_the_view_as_it_was(host, plotted):
    host.closeScene()
    plotted.view.image()
    assert not {"liver", "spleen"} & set(tick_labels(plotted.view))
    assert plotted.view.chart().GetNumberOfPlots() == 0


def test_a_chart_of_the_next_scene_has_no_names_of_the_last_one(host, plotted):
    """Nodes of the next scene get the same IDs."""
    used = plotted.chart.GetID()
    host.closeScene()
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "other")
    plotted.view.mrmlPlotViewNode().SetPlotChartNodeID(other.GetID())
    plotted.view.image()
    assert other.GetID() == used
    assert not {"liver", "spleen"} & set(tick_labels(plotted.view))


def test_the_names_follow_a_second_measurement(plotted):
    from PDDRegistrationLib.measure.columns import SEGMENT_COLUMNS
    from PDDRegistrationLib.measure.tables import fillTable

    rows = [(name, 0.1, 0.8, 9.0, 2.0, 3.0, 1.0, "name") for name in ("heart", "lungs", "aorta")]
    fillTable(plotted.tables.segments, SEGMENT_COLUMNS, rows)
    assert tick_labels(plotted.view) == ["heart", "lungs", "aorta"]
    assert plotted.chart.GetYAxisRange() == (2.5, -0.5)


# --- meanwhile ---


def crowd(width: int) -> Image:
    """100 little boxes on the fixed grid's place, moved by `width` voxels."""
    grid = Grid((50, 50, 20), np.full(3, 2.0), FIXED.centre - 45, np.eye(3))
    array = np.zeros(grid.shape, np.uint8)
    for number in range(100):
        k, j = divmod(number, 10)
        array[5 * k : 5 * k + 3, 5 * j : 5 * j + 3, 4 + width : 10 + width] = number + 1
    return Image(array, grid)


def test_a_hundred_segments_are_measured_elsewhere(host, worker, monkeypatch):
    """The event loop turns while they are, and nothing is computed in this process."""
    import qt

    from pddnet.evaluation import metrics, report
    from PDDRegistrationLib.measure.measurement import MeasureJob
    from PDDRegistrationLib.measure.selection import MeasureSelection

    names = {number: f"segment {number}" for number in range(1, 101)}
    nodes = [measure_scene.add_segmentation(crowd(shift), name, names) for shift, name in ((0, "F"), (2, "M"))]
    transform = mrml.add_linear(slicer.mrmlScene, np.eye(3), [2.0, 0, 0])
    for module, name in ((metrics, "label_table"), (metrics, "surface_distances"), (report, "measured_labels")):
        monkeypatch.setattr(module, name, None)
    ticks, stages, ended = [], [], []
    timer = qt.QTimer()
    timer.timeout.connect(lambda: ticks.append(len(ended)))
    timer.start(0)

    def body() -> bool:
        selection = MeasureSelection(transform, fixedSegmentation=nodes[0], movingSegmentation=nodes[1])
        MeasureJob(worker, selection, lambda *told: stages.append(told), ended.append, ended.append)
        assert ended == []
        ticks.clear()
        return host.waitUntil(lambda: bool(ended), 60)

    assert host.runInEventLoop(body)
    timer.stop()
    assert 0 in ticks  # the window worked before the end
    assert len(stages) >= 1
    fractions = [fraction for fraction, _stage in stages]
    assert fractions == sorted(fractions)
    rows = cells(ended[0].tables.segments)
    assert [row["Segment"] for row in rows] == list(names.values())
    assert {row["Dice before"] for row in rows} == {round(2 * 4 / 12, 4)}
    assert {row["Dice after"] for row in rows} == {round(2 * 5 / 6 / 2, 4)}


@pytest.mark.parametrize("name", ["transform", "movingSegmentation", "fixedVolume"])
def test_a_node_that_is_removed_meanwhile_ends_the_run_without_a_trace(host, scene, transform, worker, name):
    from PDDRegistrationLib.measure.measurement import MeasureJob

    selection = scene.selection(transform)
    failed: list[Any] = []
    job = MeasureJob(worker, selection, onFailed=failed.append)
    node = selection.nodes[name]
    slicer.mrmlScene.RemoveNode(node)
    with pytest.raises(InputError, match=f"{node.GetName()} was removed during the run"):
        job.wait()
    assert [failure.kind for failure in failed] == ["input"]
    assert count("vtkMRMLTableNode") == 0


def test_another_node_with_the_same_id_is_not_the_one(host, scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import MeasureJob

    job = MeasureJob(worker, scene.selection(transform, "fixedVolume"))
    old = [transform.GetID(), scene.nodes["fixedVolume"].GetID()]
    slicer.mrmlScene.Clear(0)
    new = [slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{kind}Node") for kind in ("LinearTransform", "ScalarVolume")]
    assert [node.GetID() for node in new] == old
    with pytest.raises(InputError, match="was removed during the run"):
        job.wait()
    assert count("vtkMRMLTableNode") == 0


def test_a_table_that_cannot_be_filled_leaves_the_scene_as_it_was(scene, transform, worker, monkeypatch):
    from PDDRegistrationLib.measure import tables as measure_tables
    from PDDRegistrationLib.measure.measurement import MeasureJob, measure

    before = measure(worker, scene.selection(transform, *MEASURED)).tables
    known = cells(before.segments)
    scene.nodes["movingSegmentation"].SetAndObserveTransformNodeID(
        mrml.add_linear(slicer.mrmlScene, np.eye(3), [9.0, 0, 0]).GetID()
    )
    nodes, fill, calls = count(), measure_tables.fillTable, []

    def fail_at_the_third(node: Any, *rest: Any) -> None:
        calls.append(node)
        if len(calls) == 3:
            raise RuntimeError("planted")
        fill(node, *rest)

    monkeypatch.setattr(measure_tables, "fillTable", fail_at_the_third)
    failed: list[Any] = []
    job = MeasureJob(worker, scene.selection(transform, *MEASURED), onFailed=failed.append)
    with pytest.raises(RuntimeError, match="planted"):
        job.wait()
    assert (failed[0].kind, count(), cells(before.segments)) == ("internal", nodes, known)


def test_cancelled(scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import MeasureJob, measure

    job = MeasureJob(worker, scene.selection(transform))
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert not job.isRunning
    assert count("vtkMRMLTableNode") == 0
    assert measure(worker, scene.selection(transform)).tables.points is not None


# --- the panel ---


@pytest.fixture
def panel(host, scene, worker) -> Iterator[Any]:
    """The panel alone in the window."""
    from PDDRegistrationLib.ui.measure_panel import MeasurePanel

    widget = slicer.util.loadUI(str(UI / "Measure.ui"))
    widget.setMRMLScene(slicer.mrmlScene)
    panel = MeasurePanel(slicer.util.childWidgetVariables(widget), SimpleNamespace(worker=worker))
    widget.show()
    host.processEvents()
    yield SimpleNamespace(panel=panel, ui=panel.ui, widget=widget)
    panel.close()
    widget.close()


def module_parameters(**nodes: Any) -> SimpleNamespace:
    names = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation", "outputTransform")
    return SimpleNamespace(**{name: nodes.get(name) for name in names})


def measured(host: Any, ui: Any) -> None:
    """Click Measure and wait."""

    def body() -> None:
        assert ui.measureButton.enabled, ui.measureButton.toolTip
        clicks.click(ui.measureButton)
        assert ui.measureButton.text == "Cancel", ui.measureStatusLabel.text
        assert host.waitUntil(lambda: ui.measureButton.text == "Measure", 60)

    host.runInEventLoop(body)


def test_click_by_click(host, scene, transform, panel, tmp_path, monkeypatch):
    import qt

    ui = panel.ui
    panel.panel.show(module_parameters())
    assert (ui.measureButton.enabled, ui.measureButton.toolTip) == (False, "Choose a transform.")
    assert not ui.measureTabs.visible
    for name, node in {"transform": transform, **scene.nodes}.items():
        getattr(ui, f"measure{name[0].upper()}{name[1:]}Selector").setCurrentNode(node)
    measured(host, ui)
    assert ui.measureStatusLabel.text == ""
    assert ui.measureSummaryLabel.text == "Folding in 0.000 % of the fixed body"
    assert ui.measureTabs.visible
    table = ui.measureSegmentsTab.findChildren(qt.QTableWidget)[0]
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == ["liver", "spleen"]
    assert table.horizontalHeaderItem(3).text() == "HD95 before [mm]"
    assert float(table.item(0, 2).text()) > 0.85
    path, asked = tmp_path / "out.csv", []
    assert slicer.util.saveNode(scene.nodes["movingVolume"], str(tmp_path / "moving.nrrd"))
    answer = lambda parent, title, place, kinds: asked.append(place) or str(path)  # noqa: E731
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(answer))
    clicks.click(ui.measureExportButton)
    assert asked == [str(tmp_path / "Größe, a QA.csv")]
    assert path.read_text("utf-8-sig").count("\n") > 15
    clicks.click(ui.measurePlotButton)
    assert count("vtkMRMLPlotChartNode") == 1
    assert ui.measureStatusLabel.text == ""
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByName("Größe, a QA"))
    clicks.click(ui.measureExportButton)
    assert ui.measureStatusLabel.text == "The tables were removed; measure again."


def test_long_texts_of_a_table_can_be_read_and_copied(host, scene, transform, worker):
    import qt

    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.measure.table_view import WIDEST, TableView

    tables = measure(worker, scene.selection(transform)).tables
    container = qt.QWidget()
    container.setLayout(qt.QVBoxLayout())
    view = TableView(container)
    view.show(tables.summary)
    assert max(view.widget.columnWidth(n) for n in range(6)) == WIDEST
    assert "0.80 to 0.90" in view.widget.item(0, 4).toolTip()
    view.show(tables.segments)
    for column in (0, 2):
        view.widget.item(1, column).setSelected(True)
    view._copy()
    assert slicer.app.clipboard().text() == f"spleen\t{view.widget.item(1, 2).text()}"
    view.show(None)
    assert (view.widget.rowCount, view.widget.columnCount) == (0, 0)


def test_slicers_own_views_print_each_unit_once(host, scene, transform, worker):
    from PDDRegistrationLib.measure.measurement import measure

    tables = measure(worker, scene.selection(transform)).tables
    view = slicer.qMRMLTableView()
    view.setMRMLTableNode(tables.segments)
    assert view.texts()[0][1:5] == ["Dice before", "Dice after", "HD95 before [mm]", "HD95 after [mm]"]


def test_a_number_that_is_not_known_is_a_dash_and_an_old_title_names_its_unit_once(host):
    """Slicer's own view prints nan, so the panel has another. The title is that of a table that 0.1 saved."""
    import qt

    from PDDRegistrationLib.measure.columns import Column
    from PDDRegistrationLib.measure.table_view import TableView
    from PDDRegistrationLib.measure.tables import fillTable

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    fillTable(node, [Column("HD95 before", "HD95 before, mm", "how far", "mm", 3)], [(None,), (2.5,)])
    container = qt.QWidget()
    container.setLayout(qt.QVBoxLayout())
    panel, own = TableView(container), slicer.qMRMLTableView()
    panel.show(node)
    own.setMRMLTableNode(node)
    assert own.texts() == (["HD95 before, mm [mm]"], [["nan"], ["2.5"]])
    assert panel.widget.horizontalHeaderItem(0).text() == "HD95 before [mm]"
    assert [panel.widget.item(row, 0).text() for row in range(2)] == ["-", "2.5"]


def test_the_last_result_is_offered_and_a_transform_brings_its_volumes(host, scene, transform, panel):
    ui, nodes = panel.ui, scene.nodes
    names = ("fixedVolume", "movingVolume", "fixedSegmentation", "movingSegmentation")
    panel.panel.show(module_parameters(outputTransform=transform, **{name: nodes[name] for name in names}))
    for name in ("transform", *names):
        selector = getattr(ui, f"measure{name[0].upper()}{name[1:]}Selector")
        assert selector.currentNode() is (transform if name == "transform" else nodes[name]), name
    assert ui.measureButton.enabled
    volumes = [mrml.add_volume(slicer.mrmlScene, np.zeros((4, 4, 4), np.int16), FIXED, name) for name in "AB"]
    other = mrml.add_linear(slicer.mrmlScene, np.eye(3), [0.0, 0, 0], name="other")
    for role, volume in zip(
        (other.GetFixedNodeReferenceRole(), other.GetMovingNodeReferenceRole()), volumes, strict=True
    ):
        other.SetNodeReferenceID(role, volume.GetID())
    ui.measureTransformSelector.setCurrentNode(other)
    assert [ui.measureFixedVolumeSelector.currentNode(), ui.measureMovingVolumeSelector.currentNode()] == volumes
    panel.panel.show(None)
    panel.panel.show(module_parameters(outputTransform=transform))
    assert ui.measureTransformSelector.currentNode() is other  # the user's choice stays


def test_cancel_and_mistakes_in_the_panel(host, scene, transform, panel):
    ui = panel.ui
    panel.panel.show(module_parameters(outputTransform=transform, fixedVolume=scene.nodes["fixedVolume"]))
    scene.nodes["fixedVolume"].SetAndObserveTransformNodeID(transform.GetID())
    clicks.click(ui.measureButton)
    assert "Fixed lies under Größe, a" in ui.measureStatusLabel.text
    scene.nodes["fixedVolume"].SetAndObserveTransformNodeID(None)

    def body() -> None:
        clicks.click(ui.measureButton)
        clicks.click(ui.measureButton)
        assert ui.measureStatusLabel.text == "Cancelling..."
        assert host.waitUntil(lambda: ui.measureButton.text == "Measure", 30)

    with clicks.every_click_counts():
        host.runInEventLoop(body)
    assert "cancel" in ui.measureStatusLabel.text.lower()
    assert count("vtkMRMLTableNode") == 0
    measured(host, ui)
    assert count("vtkMRMLTableNode") == 1


def test_a_double_click_measures_once(host, scene, transform, panel, worker, monkeypatch):
    """The wait cursor lets the window work, and so the second click comes while the first one is being handled."""
    submitted = []
    original = type(worker).submit
    monkeypatch.setattr(
        type(worker), "submit", lambda *arguments: (submitted.append(arguments), original(*arguments))[1]
    )
    ui = panel.ui
    panel.panel.show(module_parameters(outputTransform=transform, fixedVolume=scene.nodes["fixedVolume"]))

    def body() -> None:
        clicks.double_click(ui.measureButton)
        assert (ui.measureButton.text, ui.measureButton.enabled) == ("Cancel", True)
        assert host.waitUntil(lambda: ui.measureButton.text == "Measure", 30)

    host.runInEventLoop(body)
    assert len(submitted) == 1
    assert ui.measureStatusLabel.text == ""
    assert count("vtkMRMLTableNode") == 1


def test_closing_leaves_no_observer(host, scene, transform, panel):
    panel.panel.show(module_parameters(outputTransform=transform))
    node = slicer.mrmlScene.GetSingletonNode("PDDRegistrationQA", "vtkMRMLScriptedModuleNode")
    watched = node.HasObserver("ModifiedEvent")
    panel.panel.close()
    assert (watched, bool(node.HasObserver("ModifiedEvent"))) == (1, False)


def test_every_control_says_what_it_is_for():
    import xml.etree.ElementTree as ET

    root = ET.parse(UI / "Measure.ui").getroot()
    for widget in root.iter("widget"):
        name = widget.get("name")
        if widget.get("class") in ("qMRMLNodeComboBox", "QPushButton"):
            tips = [p for p in widget.iter("property") if p.get("name") == "toolTip"]
            assert tips, name
            assert name == "measureButton" or tips[0].findtext("string"), name
        assert name == "Measure" or name.startswith("measure"), name  # they live among the module's own widgets
