"""ctkPathLineEdit: an editable path with a history and a browse button."""

from __future__ import annotations

import qt
from PySide6.QtCore import Property, Signal


class ctkPathLineEdit(qt.QWidget):
    """A path line; `filters` is a sum of the constants below (short names, as .ui files must write them)."""

    Dirs, Files, Readable, Writable = 1, 2, 16, 32
    currentPathChanged = Signal(str)
    cppSignals = ("currentPathChanged(QString)",)

    _edit: qt.QComboBox | None = None
    _filters: int = Files
    _nameFilters: tuple[str, ...] = ()
    _settingKey: str = ""

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._edit = qt.QComboBox(self)
        self._edit.editable = True
        button = qt.QToolButton(self)
        button.text = "..."
        layout.addWidget(self._edit, 1)
        layout.addWidget(button)
        self._edit.editTextChanged.connect(self._onEdited)
        button.clicked.connect(self.browse)

    def _onEdited(self, path: str) -> None:
        self.currentPathChanged.emit(path)

    def browse(self) -> None:
        """Let the user choose a folder (with Dirs in `filters`) or a file."""
        if self._filters & self.Dirs:
            path = qt.QFileDialog.getExistingDirectory(self)
        else:
            path = qt.QFileDialog.getOpenFileName(self, "", "", ";;".join(self._nameFilters))[0]
        if path:
            self.setCurrentPath(path)

    def setCurrentPath(self, path: str) -> None:
        self._edit.setEditText(path)

    def addCurrentPathToHistory(self) -> None:
        self._edit.addItem(self.currentPath)

    def _setFilters(self, filters: int) -> None:
        self._filters = int(filters)

    def _setNameFilters(self, names: list[str]) -> None:
        self._nameFilters = tuple(names)

    def _setSettingKey(self, key: str) -> None:
        self._settingKey = key

    currentPath = Property(str, lambda self: self._edit.currentText, setCurrentPath)
    filters = Property(int, lambda self: self._filters, _setFilters)
    nameFilters = Property("QStringList", lambda self: list(self._nameFilters), _setNameFilters)
    settingKey = Property(str, lambda self: self._settingKey, _setSettingKey)
