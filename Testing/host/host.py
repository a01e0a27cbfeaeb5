"""`startHost`: the stand-in for the Slicer application, as tests, `make gui` and `make screenshots` use it."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from host.requirements import environment

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np

Result = TypeVar("Result")
HERE = Path(__file__).resolve().parent
SIZE = (1400, 860)  # pixels of the main window
_host: Host | None = None


class Host:
    """One running stand-in. Made by `startHost`, once per process: there is one slicer.app and one scene."""

    def __init__(self, slicerPython: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slicer host "))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        _make_importable(slicerPython)
        import slicer

        from host.application import Application
        from host.layout import LayoutManager
        from host.modules import install_modules
        from host.scene import Scene
        from host.window import MainWindow

        self.app = Application(self._folder)
        self._scene = Scene(self._folder / "cache")
        slicer.app, slicer.mrmlScene = self.app, self._scene.scene
        install_modules(self._scene.logics)
        self.app.open(self._scene)
        self.layout = LayoutManager(self._scene.application)
        self.app.setLayoutManager(self.layout)
        self.window = MainWindow(self.layout.viewport(), SIZE)
        self.window.show()

    @property
    def temporaryPath(self) -> Path:
        """slicer.app.temporaryPath: everything that the host and modules write without being told where."""
        return self._folder

    def setTesting(self, testing: bool) -> None:
        """In testing mode no dialog opens: slicer.util's displays only log."""
        self.app.setTestingEnabled(testing)

    def loadModule(self, path: str | Path) -> object:
        """Load a scripted module's file, enter it, and return its Python widget object."""
        self.window.show()  # Qt closes all windows when an application quits, and this one may go on
        module = self.app.moduleManager().load(Path(path).resolve())
        self.window.moduleSelector().addModule(module.name, module.title)
        if self.loadedModules() == [module.name]:
            self.app.startupCompleted.emit()  # Slicer loads all modules before it says so
        self.window.moduleSelector().selectModule(module.name)
        return module.widgetRepresentation().self()

    def unloadModule(self, name: str) -> None:
        """Leave the module, let it clean up, and forget it."""
        self.window.leave()
        self.window.moduleSelector().removeModule(name)
        self.app.moduleManager().unload(name)
        self.processEvents()

    def loadedModules(self) -> list[str]:
        """The scripted modules."""
        from host.modules import qSlicerScriptedLoadableModule

        manager = self.app.moduleManager()
        return [name for name in manager.modulesNames() if type(manager.module(name)) is qSlicerScriptedLoadableModule]

    def reloadModule(self, name: str) -> object:
        """Press "Reload": the file is read anew. Returns the new widget object."""
        import slicer

        getattr(slicer.modules, f"{name}Widget").onReload()
        self.processEvents()
        return getattr(slicer.modules, f"{name}Widget")

    def closeScene(self) -> None:
        """File, Close scene."""
        import slicer

        slicer.mrmlScene.Clear(0)
        self.processEvents()

    def closeApplication(self) -> None:
        """File, Exit: slicer.app.aboutToQuit, then the modules are unloaded, Slicer's own among them, the last one that
        was loaded first. The host itself stays usable."""
        import qt

        from host.modules import install_logics

        qt.QTimer.singleShot(0, self.app.quit)
        self.app.exec()
        scripted = self.loadedModules()
        for name in reversed(self.app.moduleManager().loadOrder()):
            (self.unloadModule if name in scripted else self.app.moduleManager().unload)(name)
        install_logics(self._scene.logics)

    def runInEventLoop(self, body: Callable[[], Result]) -> Result:
        """Call `body` from a running event loop; exceptions in it, in slots and in observers are raised here."""
        from host.event_loop import run

        return run(body)

    def processEvents(self, seconds: float = 0.0) -> None:
        """Let the window work for so long."""
        from host.event_loop import process_events

        process_events(seconds)

    def waitUntil(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Let the window work until `condition` holds; False if it does not within the time."""
        from host.event_loop import wait_until

        return wait_until(condition, seconds)

    def answerDialogs(self, accept: bool = True) -> AbstractContextManager[list[str]]:
        """While it is open, every dialog is accepted or rejected as soon as it shows; yields their texts, as they come.
        Dialogs only show with `setTesting(False)`."""
        from host.dialogs import answer

        return answer(accept)

    def viewImage(self, name: str) -> np.ndarray:
        """What the view Red, Yellow, Green or 1 (3-D) shows now: (height, width, 3), uint8, top row first."""
        self.processEvents()
        widget = self.layout.threeDWidget(0) if name == "1" else self.layout.sliceWidget(name)
        return widget.view().image()

    def screenshot(self, path: str | Path, size: tuple[int, int] = SIZE, widget: object = None) -> Path:
        """Write the window, or one widget in it without its empty end, as a PNG; `size` is the window's, in pixels."""
        import qt

        self.window.resize(*size)
        self.processEvents(0.1)
        for canvas in self.layout.canvases():
            canvas.forceRender()
        if self.layout.plotViewCount:
            self.layout.plotWidget(0).plotView().forceRender()
        picture = self.window.grab()
        if widget is not None:
            picture = widget.grab(qt.QRect(0, 0, widget.width, min(widget.height, widget.sizeHint().height())))
        if not picture.save(str(path)):
            raise OSError(f"{path} cannot be written.")
        return Path(path)

    def clear(self) -> None:
        """An empty scene with default views, as at the start, for the next test."""
        import slicer

        self.layout.leave()
        self.closeScene()
        for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode"):
            slicer.mrmlScene.RemoveNode(node)  # parameter nodes are singletons, which outlive a closed scene
        self.window.resize(*SIZE)
        self.layout.reset()
        self.processEvents()
        vars(slicer.modules).pop("sampleDataSources", None)

    def close(self) -> None:
        """Close the window and delete `temporaryPath`; the last thing that a process does with its host."""
        self.window.close()
        self.processEvents()
        shutil.rmtree(self._folder, ignore_errors=True)


def startHost(testing: bool = True, slicerPython: Path | None = None, screen: bool = False) -> Host:
    """Start the host, or return the one that runs.

    `slicerPython` is a folder that holds ScriptedLoadableModule.py, parameterNodeWrapper and i18n.py, for trying
    Slicer's own, and may hold SampleData.py and CompareVolumes.py. Without `screen` no window appears, and none is
    needed. RuntimeError if something is missing.
    """
    global _host
    if _host is None:
        os.environ.update(environment(screen))
        _host = Host(slicerPython or HERE / "slicer_python")
    _host.setTesting(testing)
    return _host


def _make_importable(slicerPython: Path) -> None:
    """`import qt`, `ctk`, modules of Slicer's own, and the parts of `slicer` that slicer-core lacks. The order matters:
    each needs the ones before it."""
    import slicer

    for name in ("qt", "ctk"):
        sys.modules[name] = importlib.import_module(f"host.standins.{name}")
    slicer.__path__.append(str(slicerPython))
    _offer_widgets(slicer)
    slicer.util = importlib.import_module("slicer.util")
    for name in ("i18n", "ScriptedLoadableModule", "parameterNodeWrapper"):
        sys.modules.pop(f"slicer.{name}", None)  # tests that need no host may have put a placeholder there
        setattr(slicer, name, importlib.import_module(f"slicer.{name}"))
    for name in ("SampleData", "CompareVolumes"):
        _offer_module(name, slicerPython)


def _offer_module(name: str, slicerPython: Path) -> None:
    """`import <name>`, a scripted module of Slicer's: its own file where the folder has it, else the stand-in."""
    own = slicerPython / f"{name}.py"
    if own.exists():
        spec = importlib.util.spec_from_file_location(name, own)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    elif importlib.util.find_spec(f"host.standins.{name}"):
        sys.modules[name] = importlib.import_module(f"host.standins.{name}")


def _offer_widgets(slicer: object) -> None:
    from host import subject_hierarchy
    from host.modules import qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget
    from host.widgets import mrml_widget, node_combo_box, table_view, unused

    for cls in (
        mrml_widget.qMRMLWidget,
        mrml_widget.qSlicerWidget,
        node_combo_box.qMRMLNodeComboBox,
        table_view.qMRMLTableView,
        unused.qMRMLRangeWidget,
        unused.qMRMLSliderWidget,
        unused.qMRMLSpinBox,
        unused.qMRMLUtils,
        qSlicerScriptedLoadableModule,
        qSlicerScriptedLoadableModuleWidget,
        subject_hierarchy.qSlicerSubjectHierarchyPluginHandler,
        subject_hierarchy.qSlicerSubjectHierarchyScriptedPlugin,
    ):
        setattr(slicer, cls.__name__, cls)
