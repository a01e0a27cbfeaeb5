"""slicer.app: the application object, over a QApplication."""

from __future__ import annotations

import logging
import types
from pathlib import Path

import qt
import slicer
from PySide6.QtCore import Property, QtMsgType, Signal, qInstallMessageHandler

from host.io_manager import CoreIOManager
from host.modules import ModuleManager
from host.scene import Scene


class Application(qt.QApplication):
    """The part of qSlicerApplication that scripted modules use."""

    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)
    cppSignals = ("startupCompleted()", "mrmlSceneChanged(vtkMRMLScene*)")

    majorVersion, minorVersion = 5, 12
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"

    _folder: str = ""
    _scene: Scene | None = None
    _modules: ModuleManager | None = None
    _io: CoreIOManager | None = None
    _layout: object = None
    _testing: bool = True

    def __init__(self, folder: Path) -> None:
        """Settings and temporary files stay in `folder`; the user's own settings are neither read nor written."""
        qInstallMessageHandler(_log)
        super().__init__(["Slicer"])
        self._folder = str(folder)
        self.setApplicationName("Slicer")
        self.setOrganizationName("PDDRegistration host")
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        for scope in (qt.QSettings.UserScope, qt.QSettings.SystemScope):
            qt.QSettings.setPath(qt.QSettings.IniFormat, scope, str(folder))
        qt.QSettings().setValue("Developer/SelfTestDisplayMessageDelay", 0)

    def open(self, scene: Scene) -> None:
        """Take a scene that has just been made; the layout comes later, with `setLayoutManager`."""
        self._scene = scene
        self._modules = ModuleManager()
        self._io = CoreIOManager(scene.logics, scene.application)

    def setLayoutManager(self, layout: object) -> None:
        self._layout = layout

    def setTestingEnabled(self, testing: bool) -> None:
        self._testing = testing

    temporaryPath = Property(str, lambda self: self._folder)
    slicerHome = Property(str, lambda self: self._folder)
    slicerUserSettingsFilePath = Property(str, lambda self: f"{self._folder}/Slicer.ini")

    def testingEnabled(self) -> bool:
        return self._testing

    def commandOptions(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(noMainWindow=False, testingEnabled=self._testing, runPythonAndExit=False)

    def mrmlScene(self) -> slicer.vtkMRMLScene:
        return self._scene.scene

    def applicationLogic(self) -> slicer.vtkSlicerApplicationLogic:
        return self._scene.application

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    ioManager = coreIOManager

    def layoutManager(self) -> object:
        return self._layout

    def settings(self) -> qt.QSettings:
        return qt.QSettings()

    userSettings = revisionUserSettings = settings

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def translate(self, context: str, text: str) -> str:
        return text

    def pauseRender(self) -> None:
        self._layout.pause(True)

    def resumeRender(self) -> None:
        self._layout.pause(False)

    def restart(self) -> None:
        raise RuntimeError("The host cannot restart itself.")


def _log(kind: QtMsgType, context: object, message: str) -> None:
    """Qt's own messages; the platform without a screen cannot take size hints and says so for every window."""
    if "propagateSizeHints" not in message:
        serious = kind in (QtMsgType.QtWarningMsg, QtMsgType.QtCriticalMsg, QtMsgType.QtFatalMsg)
        logging.log(logging.WARNING if serious else logging.DEBUG, "Qt: %s", message)
