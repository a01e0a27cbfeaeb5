"""Qt objects take no new attributes: PythonQt raises AttributeError, PySide6 would accept them silently."""

from __future__ import annotations

import inspect
from functools import cache

import shiboken6
from PySide6 import QtCore

from host.pythonqt.classes import is_cpp_class


@cache
def _class_attribute(cls: type, name: str) -> object:
    return inspect.getattr_static(cls, name, None)


@cache
def _may_be_set(cls: type, name: str) -> bool:
    """Properties may be set, methods and signals may not. Stand-ins declare their own state as class attributes."""
    value = _class_attribute(cls, name)
    if (
        hasattr(type(value), "__set__") or type(value) is QtCore.Property or name.startswith("__")
    ):  # PySide6 itself sets __METAOBJECT__
        return True
    return name.startswith("_") and name in {key for ancestor in cls.__mro__ for key in vars(ancestor)}


def _set_attribute(self: object, name: str, value: object) -> None:
    cls = type(self)
    if is_cpp_class(cls) and not _may_be_set(cls, name):
        raise AttributeError(f"'{cls.__name__}' object has no attribute '{name}' that can be set")
    if type(_class_attribute(cls, name)) is QtCore.Property:
        self.setProperty(name, value)
        return
    # the setters of PySide6's own classes cannot be called once they are replaced; all end in this one
    shiboken6.Object.__setattr__(self, name, value)


def guard_attributes(classes: list[type]) -> None:
    """Put the guard on every class in `classes`; classes that a module derives from them in Python stay free."""
    for cls in classes:
        cls.__setattr__ = _set_attribute
