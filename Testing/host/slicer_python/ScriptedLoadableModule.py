"""slicer.ScriptedLoadableModule: the four base classes of a scripted module."""

from __future__ import annotations

import importlib
import logging
import unittest
from pathlib import Path

import ctk
import qt
import slicer

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


def _name(instance: object, ending: str) -> str:
    return type(instance).__name__.removesuffix(ending)


class ScriptedLoadableModule:
    """Describes the module; `parent` is Slicer's module object."""

    def __init__(self, parent) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        for icon in (Path(self.resourcePath(f"Icons/{self.moduleName}.{ending}")) for ending in ("svg", "png")):
            if icon.is_file():
                parent.icon = qt.QIcon(str(icon))
                break
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        url = (
            slicer.app.documentationBaseUrl + docPage if docPage else slicer.app.moduleDocumentationUrl(self.moduleName)
        )
        return f'<p>See <a href="{url}">the documentation</a>.</p>'

    def runTest(self, msec: int = 100, **arguments: object) -> None:
        """Run the test class of the module's file as "Reload and Test" does."""
        test = getattr(importlib.import_module(self.__module__), f"{self.moduleName}Test")()
        test.messageDelay = msec
        test.runTest(**arguments)


class ScriptedLoadableModuleWidget:
    """Base of the module's panel; `parent` is the widget whose layout it fills."""

    def __init__(self, parent=None) -> None:
        super().__init__()
        self.moduleName = _name(self, "Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, slicer.util.toBool)
        standalone = parent is None
        if standalone:
            parent = slicer.qMRMLWidget()
            parent.setLayout(qt.QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()
        if standalone:
            self.setup()
            parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """Build the panel; developers get buttons that reload and test the module."""
        if not self.developerMode:
            return
        section = ctk.ctkCollapsibleButton()
        section.text = "Reload and test"
        row = qt.QHBoxLayout(section)
        for text, action in (("Reload", self.onReload), ("Reload and test", self.onReloadAndTest)):
            button = qt.QPushButton(text)
            button.connect("clicked()", action)
            row.addWidget(button)
        self.layout.addWidget(section)

    def cleanup(self) -> None:
        """Called before the module is reloaded or the application closes."""

    def _onModuleAboutToBeUnloaded(self, name: str) -> None:
        if name == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def onReloadAndTest(self, **arguments: object) -> None:
        with slicer.util.tryWithErrorDisplay("Reload and test failed."):
            self.onReload()
            delay = slicer.app.userSettings().value("Developer/SelfTestDisplayMessageDelay")
            slicer.selfTests[self.moduleName](msec=int(delay), **arguments)


class ScriptedLoadableModuleLogic:
    """Base of what the module computes; owns its parameter nodes in the scene."""

    def __init__(self, parent=None) -> None:
        super().__init__()
        self.moduleName = _name(self, "Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        """The module's parameter node; made if the scene has none."""
        nodes = self.getAllParameterNodes()
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            nodes = [node] if node is not None else []
        if not nodes:
            return slicer.mrmlScene.AddNode(self.createParameterNode())
        nodes[0].SetAttribute("ModuleName", self.moduleName)  # a closed scene may have dropped it
        return nodes[0]

    def getAllParameterNodes(self) -> list[slicer.vtkMRMLScriptedModuleNode]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Base of the module's self test."""

    def __init__(self, *arguments: object, **keywords: object) -> None:
        super().__init__(*arguments, **keywords)
        self.enableScreenshots, self.screenshotScaleFactor = False, 1.0
        self.moduleTestNames = [name for name in dir(self) if "test" in name and callable(getattr(self, name))]

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Tell the user what the test does, and let the event loop catch up."""
        delay = getattr(self, "messageDelay", msec if msec is not None else requestedDelay)
        slicer.util.delayDisplay(message, 100 if delay is None else delay)

    def takeScreenshot(self, name: str, description: str, type: int = -1) -> None:
        self.delayDisplay(description)

    def runTest(self) -> None:
        """Run every method whose name contains "test"."""
        self.setUpClass()
        for name in self.moduleTestNames:
            self.setUp()
            logging.info("Running %s", name)
            getattr(self, name)()
            self.tearDown()
        self.tearDownClass()
