"""ctkMessageBox: a message box that can be told not to come again."""

from __future__ import annotations

import qt
from PySide6.QtCore import Property


class ctkMessageBox(qt.QMessageBox):
    """Slicer's message box. The host never suppresses it."""

    _key: str = ""

    def _setKey(self, key: str) -> None:
        self._key = key

    dontShowAgainSettingsKey = Property(str, lambda self: self._key, _setKey)
    dontShowAgainVisible = Property(bool, lambda self: bool(self._key))
