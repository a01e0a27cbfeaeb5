"""The main window: a module's panel at the left, the views at the right."""

from __future__ import annotations

import qt
import slicer
from PySide6.QtCore import Signal

PANEL_WIDTH = 480  # pixels


class ModuleSelector(qt.QToolBar):
    """The list of loaded modules; choosing one enters it."""

    moduleSelected = Signal(str)
    cppSignals = ("moduleSelected(QString)",)
    selectedModule = property(lambda self: self._combo.currentData or "")

    _combo: qt.QComboBox | None = None

    def __init__(self, parent: qt.QWidget) -> None:
        super().__init__(parent)
        self.movable = False
        self._combo = qt.QComboBox(self)
        self._combo.setMinimumWidth(260)
        self.addWidget(qt.QLabel("  Modules:  ", self))
        self.addWidget(self._combo)
        self._combo.currentIndexChanged.connect(self._onChanged)

    def addModule(self, name: str, title: str) -> None:
        blocked = self._combo.blockSignals(True)
        self._combo.addItem(title, name)
        self._combo.setCurrentIndex(-1)
        self._combo.blockSignals(blocked)

    def removeModule(self, name: str) -> None:
        blocked = self._combo.blockSignals(True)
        self._combo.removeItem(self._combo.findData(name))
        self._combo.blockSignals(blocked)

    def selectModule(self, name: str) -> None:
        self._combo.setCurrentIndex(self._combo.findData(name))

    def _onChanged(self, index: int) -> None:
        self.moduleSelected.emit(self.selectedModule)


class MainWindow(qt.QMainWindow):
    """slicer.util.mainWindow()."""

    _selector: ModuleSelector | None = None
    _panel: qt.QScrollArea | None = None
    _current: str = ""

    def __init__(self, viewport: qt.QWidget, size: tuple[int, int]) -> None:
        """`viewport` holds the views; `size` is width and height in pixels."""
        super().__init__()
        self.objectName = "qSlicerMainWindow"
        self.windowTitle = "Slicer's stand-in"
        self._selector = ModuleSelector(self)
        self._selector.moduleSelected.connect(self._enter)
        self.addToolBar(self._selector)
        self._panel = qt.QScrollArea(self)
        self._panel.widgetResizable = True
        self._panel.setFrameShape(qt.QFrame.NoFrame)
        self._panel.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        splitter = qt.QSplitter(self)
        splitter.addWidget(self._panel)
        splitter.addWidget(viewport)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([PANEL_WIDTH, size[0] - PANEL_WIDTH])
        self.setCentralWidget(splitter)
        self.statusBar().showMessage("")
        self.resize(*size)

    def moduleSelector(self) -> ModuleSelector:
        return self._selector

    def _enter(self, name: str) -> None:
        self.leave()
        module = slicer.app.moduleManager().module(name)
        if module is None:
            return
        widget = module.widgetRepresentation()
        self._panel.setWidget(widget)
        widget.show()
        self._current = name
        widget.enter()

    def leave(self) -> None:
        """Take the current module's panel out of the window, after its `exit`."""
        if self._current:
            slicer.app.moduleManager().module(self._current).widgetRepresentation().exit()
            self._panel.takeWidget()
            self._current = ""
