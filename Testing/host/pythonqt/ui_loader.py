"""qt.QUiLoader: a .ui file becomes objects of the classes that `qt`, `ctk` and `slicer` offer."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET

from PySide6 import QtCore, QtUiTools, QtWidgets

from host.pythonqt.classes import qt_classes


def _class(name: str) -> type:
    if name in qt_classes():
        return qt_classes()[name]
    module = importlib.import_module("ctk" if name.startswith("ctk") else "slicer")
    if not hasattr(module, name):
        raise RuntimeError(f"the host has no stand-in for the widget {name}")
    return getattr(module, name)


def _take_connections(root: ET.Element) -> list[dict[str, str]]:
    """Take <connections> out of the tree: PySide6 cannot make those whose arguments are VTK objects."""
    element = root.find("connections")
    if element is None:
        return []
    taken = [{part.tag: part.text or "" for part in connection} for connection in element]
    root.remove(element)
    return taken


def _check_properties(widget: QtWidgets.QWidget) -> None:
    """A property that a class lacks becomes a dynamic one without a word; only Slicer's own may."""
    for name in (bytes(name.data()).decode() for name in widget.dynamicPropertyNames()):
        if not name.startswith(("Slicer", "_q_", "_PySide")):
            raise RuntimeError(f"{type(widget).__name__} {widget.objectName} has no property '{name}'")


class QUiLoader(QtUiTools.QUiLoader):
    """Loads a .ui file; raises RuntimeError for unknown widgets and for properties that their classes lack."""

    _made: tuple[QtWidgets.QWidget, ...] = ()

    def createWidget(self, className: str, parent: QtWidgets.QWidget | None = None, name: str = "") -> object:
        widget = _class(className)(parent)
        widget.setObjectName(name)
        self._made = (*self._made, widget)
        return widget

    def load(self, file: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        root = ET.fromstring(bytes(file.readAll().data()))
        connections = _take_connections(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        if widget is None:
            raise RuntimeError(self.errorString())
        for made in self._made:
            _check_properties(made)
        named = {made.objectName: made for made in self._made}
        for connection in connections:
            receiver = named[connection["receiver"]]
            named[connection["sender"]].connect(connection["signal"], receiver, connection["slot"])
        self._made = ()
        return widget
