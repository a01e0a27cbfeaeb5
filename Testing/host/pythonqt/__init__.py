"""Makes PySide6's classes behave as Slicer's Qt wrapper, PythonQt, does. `install` changes them in place."""

from __future__ import annotations

from host.pythonqt.attributes import guard_attributes
from host.pythonqt.classes import install_exact_isinstance, qt_classes
from host.pythonqt.connections import install_string_connections
from host.pythonqt.properties import install_properties

_installed = False


def install() -> None:
    """Change PySide6's classes, once per process."""
    global _installed
    if _installed:
        return
    _installed = True
    classes = list(dict.fromkeys(qt_classes().values()))
    install_properties(classes)
    install_string_connections(classes)
    guard_attributes(classes)
    install_exact_isinstance()
