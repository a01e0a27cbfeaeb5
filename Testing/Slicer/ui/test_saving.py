"""Scenes that are saved while Compare shows something: the file holds them as they are without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helpers import clicks
from helpers.compare_scene import Pair, make_pair
from helpers.mrml_geometry import slicer

if TYPE_CHECKING:
    from host.host import Host

VIEWS = ("Red", "Green", "Yellow")


@pytest.fixture
def pair(host: Host) -> Pair:
    return make_pair(host)


@pytest.fixture
def panel(host: Host, pair: Pair) -> Any:
    """The section Compare of the module's panel, with the pair offered."""
    panel = host.loadModule(clicks.MODULE)._comparePanel
    panel.show(pair.transform, *pair.nodes[:4])
    return panel


def layers(host: Host) -> list[tuple[str | None, ...]]:
    """Background and foreground of each view by name; "lost" for an ID without a node."""
    found = []
    for view in VIEWS:
        composite = host.layout.sliceWidget(view).sliceLogic().GetSliceCompositeNode()
        identifiers = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
        nodes = [slicer.mrmlScene.GetNodeByID(each) if each else None for each in identifiers]
        found.append(
            tuple(
                node.GetName() if node else ("lost" if each else None)
                for each, node in zip(identifiers, nodes, strict=True)
            )
        )
    return found


def planes(host: Host) -> list[list[float]]:
    """The normal of each view's plane, RAS."""
    matrices = [host.layout.sliceWidget(view).mrmlSliceNode().GetSliceToRAS() for view in VIEWS]
    return [[matrix.GetElement(row, 2) for row in range(3)] for matrix in matrices]


def look(name: str) -> tuple[Any, ...]:
    """How a segmentation is drawn in slices."""
    display = slicer.util.getNode(name).GetDisplayNode()
    look = display.GetVisibility2D(), display.GetVisibility2DFill(), display.GetSliceIntersectionThickness()
    return *look, display.GetViewNodeIDs()


def use(host: Host, ui: Any, tool: str) -> None:
    if tool == "align":
        clicks.choose(ui.alignPlaceComboBox, "organ")
    if tool == "overlay":
        clicks.choose(ui.overlayComboBox, "Displacement")
    else:
        clicks.click(getattr(ui, f"{tool}Button"))
    host.processEvents(0.05)


WAYS = [(tool, ".mrb") for tool in ("before", "checkerboard", "overlay", "sideBySide", "linkedViews", "align", "grid")]


@pytest.mark.parametrize(("tool", "ending"), [*WAYS, ("before", ".mrml"), ("before", "")])
def test_a_scene_saved_meanwhile_holds_no_trace_of_it(
    host: Host, pair: Pair, panel: Any, tmp_path: Path, tool: str, ending: str
):
    without = [look(name) for name in ("fixed organ", "moving organ")]
    use(host, panel.ui, tool)
    shown, drawn = layers(host), [look(name) for name in ("fixed organ", "moving organ")]
    path = tmp_path / f"scene{ending}"
    assert slicer.util.saveScene(str(path))
    host.processEvents(0.05)
    assert layers(host) == shown  # and everything goes on
    assert [look(name) for name in ("fixed organ", "moving organ")] == drawn
    assert panel.ui.compareButton.checked or tool == "grid"

    text = scene_text(path)
    assert "PDDRegistration.Helper" not in text
    if ending != ".mrb":
        assert ", before" not in text
        return
    host.closeScene()
    host.unloadModule("PDDRegistration")  # it must not be needed for that
    slicer.util.loadScene(str(path))
    host.processEvents(0.05)
    assert layers(host) == [("fixed", None)] * 3
    assert [look(name) for name in ("fixed organ", "moving organ")] == without


def test_a_scene_saved_side_by_side_keeps_the_planes_of_its_views(host: Host, panel: Any, tmp_path: Path):
    """Side by side, Yellow shows the plane of Red; in the file it shows its own."""
    before = planes(host)
    clicks.click(panel.ui.sideBySideButton)
    host.processEvents(0.05)
    meanwhile = planes(host)
    assert meanwhile[0] == meanwhile[2] == before[0] != before[2]
    for name in ("scene", "copy"):  # the second one before the window works again
        assert slicer.util.saveScene(str(tmp_path / f"{name}.mrb"))
    host.processEvents(0.05)
    assert planes(host) == meanwhile
    host.closeScene()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert planes(host) == before


def scene_text(path: Path) -> str:
    """The .mrml file of a scene saved one way or the other."""
    import zipfile

    if path.is_dir():
        (path,) = path.glob("*.mrml")
    if path.suffix == ".mrml":
        return path.read_text("utf-8")
    with zipfile.ZipFile(path) as bundle:
        (name,) = [name for name in bundle.namelist() if name.endswith(".mrml")]
        return bundle.read(name).decode("utf-8")


def test_views_that_were_empty_are_saved_with_the_fixed_scan(host: Host, panel: Any, tmp_path: Path):
    for view in VIEWS:
        host.layout.sliceWidget(view).sliceLogic().GetSliceCompositeNode().SetBackgroundVolumeID(None)
    clicks.click(panel.ui.beforeButton)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.closeScene()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert layers(host) == [("fixed", None)] * 3


def test_a_comparison_that_ends_before_the_window_works_again_leaves_the_scene_in_order(
    host: Host, panel: Any, tmp_path: Path
):
    before = layers(host), look("moving organ")
    clicks.click(panel.ui.beforeButton)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    panel.close()
    host.processEvents(0.05)
    assert (layers(host), look("moving organ")) == before
