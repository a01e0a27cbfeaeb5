"""`make screenshots`: pictures of the module before and after a registration, drawn without a screen."""

from __future__ import annotations

import sys
from pathlib import Path

from host.host import Host, startHost
from host.requirements import missing

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "Resources" / "Screenshots"
THUMBNAIL = ROOT / "PDDRegistration" / "Resources" / "Icons" / "PDDRegistrationPair.png"  # for the Sample Data module
SECONDS = 600.0  # a registration may take so long


def main() -> int:
    """Draw all pictures; 0 if they were written."""
    if reason := missing():
        print(f"The pictures cannot be drawn: {reason}", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    host = startHost()
    try:
        host.runInEventLoop(lambda: draw(host))
        return 0
    finally:
        host.closeApplication()
        host.close()


def draw(host: Host) -> None:
    """inputs.png: the pair as loaded; result.png: after Apply; transform.png: its grid; panel.png: the panel alone;
    page.png: the first sheet of the result's page; linked.png: the undistorted scan beside the fixed one;
    measure.png: Compare and Measure; motion.png: the table of motion and its arrows; sections.png: all that is folded
    away at first; dark.png: in a dark theme."""
    import slicer

    from host.sample_scene import open_pair

    widget, nodes = open_pair(host)
    host.screenshot(FOLDER / "inputs.png")
    widget.ui.applyButton.click()
    if not host.waitUntil(lambda: bool(widget.ui.verdictLabel.text), SECONDS):
        raise RuntimeError(f"The registration gave no verdict: {widget.ui.statusLabel.text}")
    layers = {"background": nodes["fixed"], "foreground": nodes["moving"], "foregroundOpacity": 0.5}
    slicer.util.setSliceViewerLayers(**layers)
    slicer.util.resetThreeDViews()
    host.screenshot(FOLDER / "result.png")
    host.screenshot(FOLDER / "panel.png", widget=widget.parent)
    draw_thumbnail(host)
    draw_page(widget)
    show_linked(host, widget)
    show_grid(nodes)
    host.screenshot(FOLDER / "transform.png")
    show_measures(host, widget, nodes)
    host.screenshot(FOLDER / "measure.png", size=(1400, 1080))
    show_motion(widget, nodes)
    host.processEvents(0.3)
    host.screenshot(FOLDER / "motion.png", size=(1400, 1080))
    widget.measureUi.measureArrowsButton.click()
    nodes["movingSegmentation"].GetDisplayNode().SetOpacity3D(1.0)
    show_sections(widget, nodes)
    host.processEvents(0.3)
    host.screenshot(FOLDER / "sections.png", size=(1400, 1300), widget=widget.parent)
    darken()
    host.screenshot(FOLDER / "dark.png", size=(1400, 1300))


def draw_page(widget: object) -> None:
    """The first sheet of the PDF, by what lays it out."""
    from pddnet.page.pdf import sheets
    from pddnet.worker.page_task import drawn_page

    request = widget._panel._page._subject.request()
    page = drawn_page(**{name: value for name, value in request.items() if name not in ("do", "pdf")})
    path = FOLDER / "page.png"
    sheets(page).sheets[0].savefig(path, dpi=80)
    shrink(path)


def shrink(path: Path, width: int = 0) -> None:
    """Store a picture with few colours, and no wider than this."""
    from PIL import Image

    picture = Image.open(path).convert("RGB")
    if width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.LANCZOS)
    few = picture.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def show_linked(host: Host, widget: object) -> None:
    """The mouse in the fixed patient's liver, and the cross in the moving patient's."""
    from helpers import pointing

    widget.compareUi.linkedViewsButton.click()
    host.processEvents(0.3)
    centre = next(fit for fit in widget._panel._structures._rows if fit["name"] == "liver")["centre_lps_mm"]
    place = (-centre[0], -centre[1], centre[2])
    view = host.layout.sliceWidget("Red").sliceLogic()
    view.SetSliceOffset(centre[2])
    pointing.point_at(host, "Red", place)
    host.processEvents(0.3)
    host.screenshot(FOLDER / "linked.png")  # another size would move the scan below the mouse
    shrink(FOLDER / "linked.png", 1050)
    pointing.leave(host, "Red")
    widget.compareUi.linkedViewsButton.click()
    widget.compareUi.compareButton.click()
    host.processEvents(0.3)


def show_motion(widget: object, nodes: dict[str, object]) -> None:
    """How the organs move, in the panel and as arrows in the 3-D view."""
    import slicer

    ui = widget.measureUi
    widget.compareUi.compareCollapsibleButton.collapsed = True
    nodes["movingSegmentation"].GetDisplayNode().SetOpacity3D(0.3)
    ui.measureTabs.setCurrentWidget(ui.measureMotionTab)
    ui.measureArrowsButton.click()
    slicer.util.resetThreeDViews()


def show_sections(widget: object, nodes: dict[str, object]) -> None:
    """The panel with its folded sections open, the others closed, and something chosen in them."""
    import qt

    ui, batch = widget.ui, widget.batchUi
    for name in ("inputs", "outputs", "settings", "start", "moreOutputs", "advanced", "log"):
        getattr(ui, f"{name}CollapsibleButton").collapsed = False
    widget.compareUi.compareCollapsibleButton.collapsed = widget.measureUi.measureCollapsibleButton.collapsed = True
    ui.fixedMaskSelector.setCurrentNode(nodes["fixedSegmentation"])
    ui.fixedPointsSelector.setCurrentNode(nodes["fixedPoints"])
    ui.movingPointsSelector.setCurrentNode(nodes["movingPoints"])
    ui.outputJacobianSelector.addNode()
    ui.captureRangeSpinBox.value = 60
    batch.batchCollapsibleButton.collapsed = False
    batch.batchFolderPathLineEdit.currentPath = "registered"
    batch.batchPairsTable.item(0, 0).setCheckState(qt.Qt.Checked)
    widget.atlasUi.atlasCollapsibleButton.collapsed = False
    widget.atlasUi.atlasSourceComboBox.setCurrentIndex(1)


def darken() -> None:
    """The colours that Slicer's dark style has, roughly."""
    import qt
    import slicer

    palette = qt.QPalette(qt.QColor(53, 53, 53), qt.QColor(45, 45, 45))
    palette.setColor(qt.QPalette.Highlight, qt.QColor(42, 130, 218))
    slicer.app.setPalette(palette)


def show_measures(host: Host, widget: object, nodes: dict[str, object]) -> None:
    """A checkerboard in the views, and the measured landmarks, organs and transform in the panel."""
    nodes["moving"].GetParentTransformNode().GetDisplayNode().SetVisibility(False)
    for section in (widget.ui.inputsCollapsibleButton, widget.ui.outputsCollapsibleButton):
        section.collapsed = True
    widget.ui.settingsCollapsibleButton.collapsed, widget.measureUi.measureCollapsibleButton.collapsed = True, False
    widget.compareUi.checkerboardButton.click()
    widget.measureUi.measureFixedPointsSelector.setCurrentNode(nodes["fixedPoints"])
    widget.measureUi.measureMovingPointsSelector.setCurrentNode(nodes["movingPoints"])
    widget.measureUi.measureButton.click()
    if not host.waitUntil(lambda: widget.measureUi.measureExportButton.enabled, SECONDS):
        raise RuntimeError("The transform was not measured.")


def draw_thumbnail(host: Host) -> None:
    """The middle of the coronal slice, in the size that the Sample Data module shows."""
    from PIL import Image

    picture = Image.fromarray(host.viewImage("Green"))
    height = picture.height - 32  # without the names in the corner
    width = round(height * 260 / 280)
    left = (picture.width - width) // 2
    picture.crop((left, 0, left + width, height)).resize((260, 280), Image.LANCZOS).save(THUMBNAIL)


def show_grid(nodes: dict[str, object]) -> None:
    """The moving volume alone in the slice views, under the grid of its transform."""
    import slicer

    slicer.util.setSliceViewerLayers(background=nodes["moving"], foreground=None)
    nodes["movingSegmentation"].GetDisplayNode().SetVisibility2D(False)
    transform = nodes["moving"].GetParentTransformNode()
    if transform is None:
        return
    transform.CreateDefaultDisplayNodes()
    display = transform.GetDisplayNode()
    display.SetVisualizationMode(display.VIS_MODE_GRID)
    display.SetGridSpacingMm(20.0)
    display.SetVisibility(True)
    display.SetVisibility2D(True)
    display.SetVisibility3D(False)


if __name__ == "__main__":
    sys.exit(main())
