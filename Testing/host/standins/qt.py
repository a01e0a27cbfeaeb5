"""`qt`: the classes of QtCore, QtGui, QtWidgets and QtNetwork in one namespace, as PythonQt offers them.

PySide6's own Signal, Slot and Property are left out on purpose: Slicer has none of them.
"""

from __future__ import annotations

from host import pythonqt
from host.pythonqt.classes import qt_names
from host.pythonqt.ui_loader import QUiLoader

pythonqt.install()
globals().update(qt_names())

__all__ = [*qt_names(), "QUiLoader"]
