"""`sender.connect("clicked(bool)", f)`: connections by a signal's C++ signature.

PySide6 has methods of the same names with other arguments, and calls them itself for `sender.clicked.connect(f)`: the
first argument then starts with a digit. A signal that does not exist raises ValueError; PythonQt only returns False.

PythonQt's senders hold what they call: until it is disconnected, or the sender destroyed, it lives on, and with a bound
method its object. Python's garbage collector does not see that reference. PySide6 would hold a bound method weakly.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6 import QtCore

from host.pythonqt.classes import is_cpp_class

TARGETS = "_q_targets"  # the dynamic property of a sender that holds them


class _Targets:
    """What the signals of one object call; kept by the object itself, in C++."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, object]] = []


def _note(sender: QtCore.QObject, signal: str, name: str, target: tuple) -> None:
    """Hold the target of a connection that was made, or let go of those that were ended; () stands for all."""
    targets = sender.property(TARGETS)
    if name == "connect" and target:
        if targets is None:
            targets = _Targets()
            sender.setProperty(TARGETS, targets)
        targets.pairs.append((signal, target[0]))
    elif name == "disconnect" and targets is not None:
        ended = [pair for pair in targets.pairs if pair[0] == signal and (not target or pair[1] == target[0])]
        targets.pairs = [
            pair for pair in targets.pairs if not any(pair is end for end in ended[: 1 if target else None])
        ]


class _Signal:
    """A signal of one object, as `sender.clicked` returns it."""

    def __init__(self, sender: QtCore.QObject, name: str, signal: object) -> None:
        self._sender, self._name, self._signal = sender, name, signal

    def connect(self, *target: object) -> object:
        made = self._signal.connect(*target)
        _note(self._sender, self._name, "connect", target)
        return made

    def disconnect(self, *target: object) -> object:
        ended = self._signal.disconnect(*target)
        _note(self._sender, self._name, "disconnect", target)
        return ended

    def __getattr__(self, name: str) -> object:
        return getattr(self._signal, name)

    def __getitem__(self, index: object) -> object:
        return self._signal[index]


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
        signal = signature.partition("(")[0]
        if declared:
            getattr(getattr(sender, signal), name)(*((_callable(rest),) if rest else ()))
            return True
        done = bool(original("2" + signature, _callable(rest)))
        _note(sender, signal, name, (_callable(rest),) if callable(rest[0]) else ())
        return done

    return call


def _lookup(original: Callable[[object, str], object]) -> Callable[[object, str], object]:
    def get_attribute(self: object, name: str) -> object:
        value = original(self, name)
        if type(value) is QtCore.SignalInstance:
            return _Signal(self, name, value)
        return _by_string(self, name, value) if name in ("connect", "disconnect") else value

    return get_attribute


def install_string_connections(classes: list[type]) -> None:
    """Let every QObject among `classes` understand signatures. PySide6 looks `connect` up past class attributes, so the
    look-up itself is what must change."""
    originals = {cls: cls.__getattribute__ for cls in classes if issubclass(cls, QtCore.QObject)}
    for cls, original in originals.items():
        if is_cpp_class(cls):
            cls.__getattribute__ = _lookup(original)
