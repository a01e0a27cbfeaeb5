"""`sender.connect("clicked(bool)", f)`: connections by a signal's C++ signature.

PySide6 has methods of the same names with other arguments, and calls them itself for `sender.clicked.connect(f)`: the
first argument then starts with a digit. A signal that does not exist raises ValueError; PythonQt only returns False.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6 import QtCore

from host.pythonqt.classes import is_cpp_class


def _declared(sender: QtCore.QObject, signature: str) -> bool:
    """Whether a stand-in names the signal in `cppSignals`, with the arguments that it has in C++."""
    return any(signature in vars(ancestor).get("cppSignals", ()) for ancestor in type(sender).__mro__)


def _callable(arguments: tuple) -> Callable:
    if len(arguments) == 1:
        return arguments[0]
    receiver, slot = arguments
    return getattr(receiver, slot.partition("(")[0])


def _signature(sender: QtCore.QObject, text: str) -> tuple[str, bool]:
    """The normalised signature, and whether a stand-in declares it (Python's signals have other argument types)."""
    signature = bytes(QtCore.QMetaObject.normalizedSignature(text).data()).decode()
    declared = _declared(sender, signature)
    if not declared and ("PyObject" in signature or sender.metaObject().indexOfSignal(signature) < 0):
        raise ValueError(f"{type(sender).__name__} has no signal '{text}'")
    return signature, declared


def _by_string(sender: QtCore.QObject, name: str, original: Callable) -> Callable[..., bool]:
    def call(first: object, *rest: object) -> bool:
        if not isinstance(first, str) or first[:1].isdigit():
            return original(first, *rest)
        signature, declared = _signature(sender, first)
        if declared:
            getattr(getattr(sender, signature.partition("(")[0]), name)(*((_callable(rest),) if rest else ()))
            return True
        return bool(original("2" + signature, _callable(rest)))

    return call


def _lookup(original: Callable[[object, str], object]) -> Callable[[object, str], object]:
    def get_attribute(self: object, name: str) -> object:
        value = original(self, name)
        return _by_string(self, name, value) if name in ("connect", "disconnect") else value

    return get_attribute


def install_string_connections(classes: list[type]) -> None:
    """Let every QObject among `classes` understand signatures. PySide6 looks `connect` up past class attributes, so the
    look-up itself is what must change."""
    originals = {cls: cls.__getattribute__ for cls in classes if issubclass(cls, QtCore.QObject)}
    for cls, original in originals.items():
        if is_cpp_class(cls):
            cls.__getattribute__ = _lookup(original)
