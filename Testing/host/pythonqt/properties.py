"""Qt properties as Python attributes (`widget.text = "a"`), where PySide6 has pairs of methods."""

from __future__ import annotations

import types
from collections.abc import Callable

import shiboken6
from PySide6 import QtCore

# Virtual methods and statics that share a property's name and are called as methods in PythonQt, too.
METHODS = {"sizeHint", "minimumSizeHint", "singleShot"}


def _unbound(function: object) -> Callable:
    """`function` as one that takes the object first, also where PySide6 made it static."""
    if isinstance(function, types.BuiltinFunctionType):
        return lambda self, *arguments: function(*arguments)
    return function


def _method(cls: type, names: tuple[str, ...]) -> Callable | None:
    found = (getattr(cls, name, None) for name in names)
    return next((_unbound(function) for function in found if callable(function)), None)


def _property(cls: type, meta: QtCore.QMetaProperty) -> property:
    name = meta.name()
    capital = name[0].upper() + name[1:]
    getter = _method(cls, (name, f"is{capital}", f"has{capital}", f"get{capital}"))
    getter = getter or (lambda self: self.property(name))
    setter = None
    if meta.isWritable():
        setter = _method(cls, (f"set{capital}",)) or (lambda self, value: self.setProperty(name, value))
    return property(lambda self: getter(self), setter and (lambda self, value: setter(self, value)))


def install_properties(classes: list[type]) -> None:
    """Replace the getter methods of `classes` by properties, and add what else PythonQt gives every QObject."""
    for cls in classes:
        if not issubclass(cls, QtCore.QObject):
            continue
        meta = cls.staticMetaObject
        for index in range(meta.propertyOffset(), meta.propertyCount()):
            if meta.property(index).name() not in METHODS:
                setattr(cls, meta.property(index).name(), _property(cls, meta.property(index)))
        if "exec_" in vars(cls):
            cls.exec_ = lambda self, *arguments: self.exec(*arguments)  # PySide6's own warns that it will go
    base = QtCore.QObject
    base.name = property(lambda self: self.objectName, lambda self, value: self.setObjectName(value))
    base.className = lambda self: self.metaObject().className()
    base.delete = lambda self: shiboken6.delete(self)
