"""slicer.modules: the module objects, and how a scripted module's file becomes a module with a widget."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import qt
import slicer
from PySide6.QtCore import Signal

from host.widgets.mrml_widget import qSlicerWidget


class LogicModule:
    """A module of Slicer's own, of which the host has only the logic."""

    def __init__(self, name: str, logic: slicer.vtkMRMLAbstractLogic) -> None:
        self.name, self.title, self.path, self._logic = name, name, "", logic
        self.dependencies: list[str] = []

    def logic(self) -> slicer.vtkMRMLAbstractLogic:
        return self._logic


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """What a scripted module's widget class gets as `parent`: it makes that class and calls its setup."""

    _name: str = ""
    _python: object = None
    isEntered = property(lambda self: self._entered)
    _entered: bool = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.objectName = f"{name}ModuleWidget"
        self.setLayout(qt.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)

    def self(self) -> object:
        """The Python object, of the class that the module's file defines."""
        return self._python

    def setup(self) -> None:
        widgetClass = getattr(sys.modules[self._name], f"{self._name}Widget")
        self._python = widgetClass(self)
        setattr(slicer.modules, f"{self._name}Widget", self._python)
        self._python.setup()

    reload = setup

    def enter(self) -> None:
        self._entered = True
        getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        self._entered = False
        getattr(self._python, "exit", lambda: None)()


class qSlicerScriptedLoadableModule:
    """What a scripted module's class gets as `parent`. New attributes raise AttributeError, as in PythonQt."""

    __slots__ = (
        "_widget",
        "acknowledgementText",
        "associatedNodeTypes",
        "categories",
        "contributors",
        "dependencies",
        "helpText",
        "hidden",
        "icon",
        "index",
        "name",
        "path",
        "title",
        "widgetRepresentationCreationEnabled",
    )

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.title, self.path = name, name, str(path)
        self.categories, self.contributors, self.dependencies, self.associatedNodeTypes = [], [], [], []
        self.helpText, self.acknowledgementText = "", ""
        self.icon, self.hidden, self.index = qt.QIcon(), False, -1
        self.widgetRepresentationCreationEnabled = True
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None

    def inherits(self, className: str) -> bool:
        return className in ("qSlicerScriptedLoadableModule", "qSlicerLoadableModule", "qSlicerAbstractModule")

    def logic(self) -> None:
        return None

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """The module's widget, made at the first call."""
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        widget = qSlicerScriptedLoadableModuleWidget(self.name)
        widget.setup()
        return widget


class FactoryManager:
    """slicer.app.moduleManager().factoryManager()."""

    def __init__(self, manager: ModuleManager) -> None:
        self._manager = manager

    def loadedModuleNames(self) -> tuple[str, ...]:
        return self._manager.modulesNames()

    registeredModuleNames = loadedModuleNames

    def isLoaded(self, name: str) -> bool:
        return name in self.loadedModuleNames()

    isRegistered = isLoaded


class ModuleManager(qt.QObject):
    """slicer.app.moduleManager()."""

    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)
    moduleUnloaded = Signal(str)
    cppSignals = ("moduleLoaded(QString)", "moduleAboutToBeUnloaded(QString)", "moduleUnloaded(QString)")

    def factoryManager(self) -> FactoryManager:
        return FactoryManager(self)

    def module(self, name: str) -> object:
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(value for key, value in vars(slicer.moduleNames).items() if not key.startswith("_"))

    def loadOrder(self) -> list[str]:
        """All modules as Slicer loads them when it starts: by name, but each after those that it depends on."""
        order: dict[str, None] = {}

        def load(name: str) -> None:
            if name not in order:
                for needed in self.module(name).dependencies:
                    load(needed)
                order[name] = None

        for name in sorted(self.modulesNames()):
            load(name)
        return list(order)

    def load(self, path: Path) -> qSlicerScriptedLoadableModule:
        """Load a scripted module's file as Slicer does: its folder is appended to sys.path, not put first."""
        name = path.stem
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        _execute(name, path)
        module = qSlicerScriptedLoadableModule(name, path)
        instance = getattr(sys.modules[name], name)(module)
        lacking = [needed for needed in module.dependencies if needed not in self.modulesNames()]
        if lacking:
            raise RuntimeError(f"{name} is not loaded: it depends on {', '.join(lacking)}")
        setattr(slicer.modules, name.lower(), module)
        setattr(slicer.modules, f"{name}Instance", instance)
        setattr(slicer.moduleNames, name, name)
        if writer := getattr(sys.modules[name], f"{name}FileWriter", None):
            slicer.app.coreIOManager().registerWriter(name, writer)
        if hasattr(instance, "setup"):
            instance.setup()
        if reader := getattr(sys.modules[name], f"{name}FileReader", None):
            slicer.app.coreIOManager().registerReader(name, reader)
        self.moduleLoaded.emit(name)
        return module

    def unload(self, name: str) -> None:
        """As Slicer does it when it closes: the widget hears of it and cleans up, then it is destroyed."""
        self.moduleAboutToBeUnloaded.emit(name)
        widget = getattr(self.module(name), "_widget", None)
        if widget is not None:
            widget.setParent(None)
            widget.deleteLater()
        slicer.app.coreIOManager().forgetWriter(name)
        for attribute in (name.lower(), f"{name}Instance", f"{name}Widget"):
            vars(slicer.modules).pop(attribute, None)
        delattr(slicer.moduleNames, name)
        slicer.app.coreIOManager().forgetReader(name)
        self.moduleUnloaded.emit(name)


def _execute(name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def install_modules(logics: dict[str, slicer.vtkMRMLAbstractLogic]) -> None:
    """Create slicer.modules and slicer.moduleNames, with the logics of Slicer's own modules."""
    for name in ("modules", "moduleNames"):
        module = types.ModuleType(f"slicer.{name}")
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    install_logics(logics)


def install_logics(logics: dict[str, slicer.vtkMRMLAbstractLogic]) -> None:
    """Load Slicer's own modules, also again after the application was closed."""
    for name, logic in logics.items():
        setattr(slicer.modules, name.lower(), LogicModule(name, logic))
        setattr(slicer.moduleNames, name, name)
