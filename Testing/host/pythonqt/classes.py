"""Which classes count as wrapped C++ classes, and what isinstance says about their objects."""

from __future__ import annotations

from functools import cache

from PySide6 import QtCore, QtGui, QtNetwork, QtWidgets

# PythonQt does not wrap these, or a scripted module must not use them there.
LEFT_OUT = {"QMutexLocker", "QReadLocker", "QRunnable", "QSignalBlocker", "QThread", "QThreadPool", "QWriteLocker"}
MODULES = (QtCore, QtGui, QtWidgets, QtNetwork)


def qt_names() -> dict[str, object]:
    """All names that `qt` offers: the classes of QtCore, QtGui, QtWidgets and QtNetwork, and the namespace Qt."""
    return {
        name: getattr(module, name)
        for module in MODULES
        for name in dir(module)
        if name.startswith("Q") and len(name) > 1 and name not in LEFT_OUT
    }


@cache
def qt_classes() -> dict[str, type]:
    """The classes among `qt_names` whose objects PySide6 wraps (no enums, no namespaces)."""
    wrapper = type(QtCore.QObject)
    return {name: value for name, value in qt_names().items() if type(value) is wrapper}


@cache
def is_cpp_class(cls: type) -> bool:
    """Whether `cls` stands for a C++ class: one of Qt's, or a stand-in of this host for one of CTK's or Slicer's."""
    return cls.__module__.split(".")[0] in ("PySide6", "host")


def install_exact_isinstance() -> None:
    """Let isinstance(widget, qt.QWidget) be False for a QPushButton, as in PythonQt, where wrappers have no C++ bases.

    Classes that a module derives in Python from a wrapper keep Python's own rule.
    """
    wrapper = type(QtCore.QObject)

    def check(cls: type, instance: object) -> bool:
        for ancestor in type(instance).__mro__:
            if ancestor is cls:
                return True
            if is_cpp_class(ancestor):
                return False
        return False

    wrapper.__instancecheck__ = check
