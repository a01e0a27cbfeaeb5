"""Try the module in a Slicer, step by step, and write what happened: results.json and pictures.

    Slicer --testing --no-splash --additional-module-paths PDDRegistration --python-script Testing/in_slicer.py FOLDER

It needs Slicer and nothing else; without PyTorch, what registers is skipped and a shift takes the result's place. The
scene is cleared. The exit code is 0 if no step failed. `--without self_test,register` leaves steps out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import time
import traceback
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import numpy
import qt
import slicer
import vtk

MODULE = "PDDRegistration"
SAMPLE = "PDDRegistrationPair"
PAIR = [
    *("PDDFixed", "PDDFixed landmarks", "PDDFixed organs"),
    *("PDDMoving", "PDDMoving landmarks", "PDDMoving organs"),
]
SHIFT_RAS = (4.0, -9.0, 60.0)  # mm, from the fixed to the moving scan: stands in for a result
SECONDS = 300.0  # a registration may take so long


class Skipped(Exception):
    """A step cannot be tried here; the text says why."""


class Trial:
    """One run of all steps: the folder that it writes to, and what went wrong where no step could hear of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: dict[str, Any] = {"steps": {}, "pictures": [], "quit": "not reached"}
        self.errors: list[str] = []  # of slots and observers: Qt and VTK print them and go on
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def widget(self) -> Any:
        """Return the module's widget object, which a reload replaces."""
        return slicer.util.getModuleWidget(MODULE)

    def step(self, name: str, body: Callable[[Trial], dict[str, Any]]) -> None:
        """Carry out one step and write down how it ended."""
        start, heard = time.monotonic(), len(self.errors)
        entry: dict[str, Any] = {"status": "passed"}
        try:
            entry["facts"] = body(self)
            settle()
            check(len(self.errors) == heard, "Python reported an error meanwhile")
        except Skipped as reason:
            entry |= {"status": "skipped", "reason": str(reason)}
        except Exception as error:
            entry |= {"status": "failed", "error": str(error), "traceback": traceback.format_exc()}
        entry |= {"seconds": round(time.monotonic() - start, 1), "errors": self.errors[heard:]}
        self.results["steps"][name] = entry
        self.write()
        print(f"{name}: {entry['status']} {entry.get('error', '')}{entry.get('reason', '')}")

    def write(self) -> None:
        """Write the results so far: what comes next may end the application."""
        (self.folder / "results.json").write_text(json.dumps(self.results, indent=1), "utf-8")

    def picture(self, name: str) -> None:
        """Write a picture of the window."""
        settle(0.3)
        slicer.util.forceRenderAllViews()
        ctk.ctkWidgetsUtils.grabWidget(slicer.util.mainWindow()).save(str(self.folder / f"{name}.png"))
        self.results["pictures"].append(f"{name}.png")

    def hear(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        """Take note of an exception that nobody caught."""
        self.errors.append("".join(traceback.format_exception(kind, error, trace)))
        sys.__excepthook__(kind, error, trace)


def check(condition: Any, text: str) -> None:
    """Fail the step with a text unless the condition holds."""
    if not condition:
        raise AssertionError(text)


def settle(seconds: float = 0.1) -> None:
    """Let the window work for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.005)


def wait(condition: Callable[[], Any], seconds: float = SECONDS) -> bool:
    """Let the window work until the condition holds; return whether it did in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        settle(0.05)
    return bool(condition())


def press(button: Any) -> None:
    """Click a button that must be enabled."""
    check(button.enabled, f"{button.name} is disabled: {button.toolTip}")
    button.click()
    settle()


def with_torch() -> bool:
    """Return whether PyTorch is installed for the registration process."""
    from PDDRegistrationLib.worker.torch_setup import torchInstalled

    return torchInstalled()


def layers() -> dict[str, list[str]]:
    """Return the names of the volumes in each slice view, background and foreground; empty where there is none."""
    shown = {}
    for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        ids = (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID())
        volumes = [slicer.mrmlScene.GetNodeByID(each) if each else None for each in ids]
        shown[node.GetLayoutName()] = [volume.GetName() if volume is not None else "" for volume in volumes]
    return shown


def layout() -> int:
    """Return the number of the layout."""
    return int(slicer.app.layoutManager().layout)


def observers(thing: vtk.vtkObject) -> int:
    """Return how many observers a VTK object has, as it prints them itself."""
    return str(thing).count("vtkObserver (")


def offered() -> bool:
    """Return whether the Sample Data module offers the pair: modules register theirs when the application has started,
    which may be after it began with this script."""
    categories = getattr(slicer.modules, "sampleDataSources", {})
    return any(source.sampleName == SAMPLE for sources in categories.values() for source in sources)


def load_pair() -> dict[str, Any]:
    """Load the sample pair into an empty scene by its name; return its nodes by name."""
    import SampleData

    slicer.mrmlScene.Clear(0)
    SampleData.SampleDataLogic().downloadSamples(SAMPLE)
    settle()
    return {name: slicer.util.getNode(name) for name in PAIR}


def result(nodes: dict[str, Any]) -> Any:
    """Choose a shift as the pair's result, with the moving nodes under it; return the transform."""
    matrix = vtk.vtkMatrix4x4()
    for axis, length in enumerate(SHIFT_RAS):
        matrix.SetElement(axis, 3, length)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    transform.SetMatrixTransformFromParent(matrix)
    for name in ("PDDMoving", "PDDMoving organs"):
        nodes[name].SetAndObserveTransformNodeID(transform.GetID())
    return transform


def compare_ready(trial: Trial) -> Any:
    """Open the panel with the pair and a result chosen; return the widgets of Compare."""
    nodes = load_pair()
    slicer.util.selectModule(MODULE)
    parameters = trial.widget.logic.getParameterNode()
    parameters.fixedVolume, parameters.movingVolume = nodes["PDDFixed"], nodes["PDDMoving"]
    parameters.outputTransform = result(nodes)
    settle()
    return trial.widget.compareUi


# --- the steps, in their order ---


def versions(trial: Trial) -> dict[str, Any]:
    """What this is."""
    return {
        "slicer": f"{slicer.app.majorVersion}.{slicer.app.minorVersion}",
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "qt": qt.QT_VERSION_STR if hasattr(qt, "QT_VERSION_STR") else "",
        "vtk": vtk.vtkVersion.GetVTKVersion(),
        "torch": with_torch(),
        "module": slicer.util.modulePath(MODULE) if hasattr(slicer.util, "modulePath") else "",
    }


def self_test(trial: Trial) -> dict[str, Any]:
    """The module's own test, test by test, as CTest runs it."""
    suite = unittest.TestLoader().loadTestsFromTestCase(sys.modules[MODULE].PDDRegistrationTest)
    outcome = unittest.TestResult()
    suite.run(outcome)
    faults = [text for _test, text in outcome.failures + outcome.errors]
    check(not faults, "\n".join(faults))
    return {"run": outcome.testsRun, "skipped": [reason for _test, reason in outcome.skipped]}


def sample_by_name(trial: Trial) -> dict[str, Any]:
    """All six nodes of the sample pair, and the fixed scan in the views; a second pair has its own names."""
    import SampleData

    slicer.mrmlScene.Clear(0)
    first, second = ([node.GetName() for node in SampleData.downloadSamples(SAMPLE)] for _ in range(2))
    trial.picture("sample")
    check(sorted(first) == PAIR, f"loaded: {first}")
    check(len({*first, *second}) == 2 * len(PAIR), f"names of the second pair: {second}")
    check(all(background for background, _foreground in layers().values()), f"the views show {layers()}")
    return {"first": first, "second": second, "views": layers()}


def register(trial: Trial) -> dict[str, Any]:
    """Apply, with the pair as the panel chooses it by itself."""
    if not with_torch():
        raise Skipped("PyTorch is not installed")
    load_pair()
    slicer.util.selectModule(MODULE)
    settle()
    ui = trial.widget.ui
    press(ui.applyButton)
    check(wait(lambda: ui.verdictLabel.text), f"no verdict: {ui.statusLabel.text}")
    trial.picture("registered")
    return {"verdict": ui.verdictLabel.text}


def save_page(trial: Trial) -> dict[str, Any]:
    """The page of the registration before this step, as HTML and as PDF."""
    if not trial.widget.ui.savePageButton.visible:
        raise Skipped("there is no result of a registration")
    if importlib.util.find_spec("matplotlib") is None:
        raise Skipped("matplotlib is not installed")
    ui, facts = trial.widget.ui, {}
    for ending, begin in ((".html", b"<!DOCTYPE html>"), (".pdf", b"%PDF-")):
        path = trial.folder / f"page{ending}"
        trial.widget._panel._page.save(str(path))
        check(wait(lambda: ui.savePageButton.enabled), f"no {ending}: {ui.statusLabel.text}")
        check(path.exists() and path.read_bytes().startswith(begin), f"no {ending}: {ui.statusLabel.text}")
        facts[ending] = path.stat().st_size
    return facts


def linked_views(trial: Trial) -> dict[str, Any]:
    """The moving scan beside the fixed one: the mark, the zoom and the pan follow; Align here; leaving ends both."""
    ui, before = compare_ready(trial), layout()
    trial.widget.logic.getParameterNode().fixedSegmentation = slicer.util.getNode("PDDFixed organs")
    settle()
    press(ui.linkedViewsButton)
    settle(0.5)
    red, yellow = (slicer.app.layoutManager().sliceWidget(name).sliceLogic() for name in ("Red", "Yellow"))
    width, height, _depth = red.GetSliceNode().GetDimensions()
    crosshair = slicer.util.getNodesByClass("vtkMRMLCrosshairNode")[0]
    crosshair.SetCursorPositionXYZ([width / 2, height / 2, 0.0], red.GetSliceNode())
    settle()
    offsets = [logic.GetSliceOffset() for logic in (red, yellow)]
    check(abs(offsets[1] - offsets[0] - SHIFT_RAS[2]) < 0.5, f"the planes lie at {offsets}")
    marks = slicer.util.getNodes("Corresponding place*")
    check(any(mark.GetDisplayNode().GetVisibility() for mark in marks.values()), "no view shows the place")
    trial.picture("linked")
    node, wide = red.GetSliceNode(), red.GetSliceNode().GetFieldOfView()
    red.StartSliceNodeInteraction(node.FieldOfViewFlag)
    node.SetFieldOfView(wide[0] / 2, wide[1] / 2, wide[2])
    red.EndSliceNodeInteraction()
    scales = [
        logic.GetSliceNode().GetFieldOfView()[0] / logic.GetSliceNode().GetDimensions()[0] for logic in (red, yellow)
    ]
    check(abs(scales[0] / scales[1] - 1) < 1e-3, f"the views show {scales} mm per pixel")
    trial.picture("linked zoom")
    place = ui.alignPlaceComboBox.findText("liver")
    check(place >= 0, "no segment is offered as a place")
    ui.alignPlaceComboBox.setCurrentIndex(place)
    press(ui.alignButton)
    check(ui.alignButton.checked and not ui.linkedViewsButton.checked, f"not aligned: {ui.compareStatusLabel.text}")
    text = ui.compareStatusLabel.text
    trial.picture("align here")
    press(ui.linkedViewsButton)
    slicer.util.selectModule("Data")
    settle(0.3)
    check(not ui.linkedViewsButton.checked and not ui.alignButton.checked, "they go on without the module")
    check(layout() == before, f"the layout is {layout()}, not {before}")
    slicer.util.selectModule(MODULE)
    return {"offsets": offsets, "mm per pixel": scales, "alignment": text}


def reveal(trial: Trial) -> dict[str, Any]:
    """On and off, twice; afterwards another pair can be shown."""
    ui = compare_ready(trial)
    if not ui.revealButton.enabled:
        raise Skipped(ui.revealButton.toolTip)
    for _ in range(2):
        press(ui.revealButton)
        check(ui.revealButton.checked, "Reveal did not switch on")
        trial.picture("reveal")
        press(ui.revealButton)
        check(not ui.revealButton.checked, "Reveal did not switch off")
    ui = compare_ready(trial)
    check(ui.compareButton.enabled, "Compare is not offered for another pair")
    return {"views": layers()}


def save_during_before(trial: Trial) -> dict[str, Any]:
    """A scene saved while Before or the checkerboard is shown has the views that were there; the tool stays on."""
    facts = {}
    for tool in ("before", "checkerboard"):
        ui = compare_ready(trial)
        slicer.util.setSliceViewerLayers(
            background=slicer.util.getNode("PDDFixed"), foreground=slicer.util.getNode("PDDMoving")
        )
        views, button, path = layers(), getattr(ui, f"{tool}Button"), trial.folder / f"{tool}.mrb"
        press(button)
        check(slicer.util.saveScene(str(path)), "the scene was not saved")
        settle()
        check(button.checked, f"{tool} has ended")
        trial.picture(tool)
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(path))
        settle()
        trial.picture(f"{tool} loaded")
        check(layers() == views, f"after {tool}, the views show {layers()}, not {views}")
        parent = slicer.util.getNode("PDDMoving").GetParentTransformNode()
        check(parent is not None, "the moving volume does not lie under its transform")
        facts[tool] = layers()
    return facts


def measure_and_plot(trial: Trial) -> dict[str, Any]:
    """The tables, and the chart with the organs' names."""
    compare_ready(trial)
    ui, before = trial.widget.measureUi, layout()
    ui.measureCollapsibleButton.collapsed = False
    choices = {"Transform": "Shift", "FixedVolume": "PDDFixed", "MovingVolume": "PDDMoving"}
    choices |= {"FixedSegmentation": "PDDFixed organs", "MovingSegmentation": "PDDMoving organs"}
    for selector, name in choices.items():
        getattr(ui, f"measure{selector}Selector").setCurrentNode(slicer.util.getNode(name))
    press(ui.measureButton)
    check(wait(lambda: ui.measurePlotButton.enabled), f"no tables: {ui.measureStatusLabel.text}")
    press(ui.measurePlotButton)
    trial.picture("plot")
    manager = slicer.app.layoutManager()
    check(manager.plotViewCount, "there is no plot view")
    labels = manager.plotWidget(0).plotView().chart().GetAxis(vtk.vtkAxis.LEFT).GetTickLabels()
    names = [labels.GetValue(number) for number in range(labels.GetNumberOfValues())]
    check("liver" in names, f"the axis shows {names}")
    facts = {"names": names, "layout before": before, "layout with the plot": layout()}
    if ui.measurePlotButton.checked:
        press(ui.measurePlotButton)
        check(layout() == before, f"the layout is {layout()}, not {before}")
    return facts


def delete_selected(trial: Trial) -> dict[str, Any]:
    """A deleted node leaves its selector empty; neither the fixed volume nor an older transform takes its place."""
    compare_ready(trial)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Older")
    ui = trial.widget.ui
    selectors = {"PDDMoving": ui.movingVolumeSelector, "Shift": ui.outputTransformSelector}
    for name, selector in selectors.items():
        node = slicer.util.getNode(name)
        check(selector.currentNode() is not None, f"{name} was not chosen")
        slicer.mrmlScene.RemoveNode(node)
        settle()
        found = selector.currentNode()
        check(found is None, f"instead of {name}, {found.GetName() if found else ''} is chosen")
    check(not ui.applyButton.enabled, "Apply is enabled without a moving volume")
    trial.picture("deleted")
    return {"tool tip": ui.applyButton.toolTip}


def register_this(trial: Trial) -> dict[str, Any]:
    """A right click on a volume in the subject hierarchy offers the module, which opens with it as the moving one."""
    if not hasattr(slicer, "qSlicerSubjectHierarchyScriptedPlugin"):
        raise Skipped("this application has no plugins of the subject hierarchy")
    nodes = load_pair()
    handler = slicer.qSlicerSubjectHierarchyPluginHandler.instance()
    plugin = next((each for each in handler.allPlugins() if each.name == MODULE), None)
    check(plugin is not None, "the plugin is not registered")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    (action,) = plugin.itemContextMenuActions()
    items = {name: hierarchy.GetItemByDataNode(node) for name, node in nodes.items()}
    for name in [name for name in PAIR if not items[name]]:  # an application without plugins for these nodes
        items[name] = hierarchy.CreateItem(hierarchy.GetSceneItemID(), nodes[name])
    shown = {}
    for name in PAIR:
        action.visible = False
        plugin.showContextMenuActionsForItem(items[name])
        shown[name] = bool(action.visible)
    volumes = [name for name in PAIR if shown[name]]
    check(volumes == ["PDDFixed", "PDDMoving"], f"it is offered for {volumes}")
    handler.setCurrentItem(items["PDDFixed"])
    action.trigger()
    settle()
    chosen = trial.widget.ui.movingVolumeSelector.currentNode()
    check(chosen is nodes["PDDFixed"], f"the moving volume is {chosen.GetName() if chosen else 'none'}")
    return {"text": action.text, "module": slicer.util.selectedModule()}


def reload(trial: Trial) -> dict[str, Any]:
    """Reload twice while Compare shows something. Slicer keeps a reloaded module's selectors, and with them observers
    of the scene, so that their number grows with every module; it is only written down."""
    counts = []
    for _ in range(2):
        press(compare_ready(trial).compareButton)
        counts.append(observers(slicer.mrmlScene))
        trial.widget.isFormer = True
        trial.widget.onReload()
        settle(0.5)
        check(not hasattr(trial.widget, "isFormer"), "there is no new widget")
    return {"observers": counts, "layout": layout()}


def quit_side_by_side(trial: Trial) -> dict[str, Any]:
    """Side by side, as the application is when it quits after this step."""
    before = layout()
    press(compare_ready(trial).sideBySideButton)
    trial.picture("side by side")
    slicer.app.connect("aboutToQuit()", lambda: about_to_quit(trial))
    return {"layout before": before, "layout": layout()}


def about_to_quit(trial: Trial) -> None:
    """Write the last of the results."""
    trial.results["quit"] = "begun"
    trial.write()


STEPS = (
    *(versions, self_test, sample_by_name, register, save_page, reveal, linked_views, save_during_before),
    *(measure_and_plot, delete_selected, register_this, reload, quit_side_by_side),
)


def main() -> int:
    """Carry out the steps; return 0 if none failed."""
    parser = argparse.ArgumentParser(description="Try the module in this Slicer.")
    parser.add_argument("folder", nargs="?", default="pdd_in_slicer", type=Path)
    parser.add_argument("--without", default="", help="names of steps, with commas between them")
    options, _others = parser.parse_known_args(sys.argv[1:])
    trial = Trial(options.folder.resolve())
    former, sys.excepthook = sys.excepthook, trial.hear
    try:
        wait(offered, 30)
        for step in STEPS:
            if step.__name__ not in options.without.split(","):
                trial.step(step.__name__, step)
    finally:
        sys.excepthook = former
    failed = [name for name, entry in trial.results["steps"].items() if entry["status"] == "failed"]
    print(f"{trial.folder / 'results.json'}: {'failed: ' + ', '.join(failed) if failed else 'nothing failed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    slicer.util.exit(main())
