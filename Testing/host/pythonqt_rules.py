"""What a scripted module must not do although the host would not notice: PythonQt, Slicer's Qt wrapper, refuses it or
does something else. The rest (new attributes, signals that do not exist, `widget.text()`) fails in the host itself.
"""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

THREADS = {"threading", "_thread", "concurrent", "multiprocessing", "asyncio"}
BINDINGS = {"PySide2", "PySide6", "PyQt5", "PyQt6", "PythonQt", "shiboken6"}
NAMES = {
    *("Signal", "Slot", "Property", "pyqtSignal", "pyqtSlot", "QtCore", "QtGui", "QtWidgets", "QtNetwork"),
    *("QThread", "QThreadPool", "QRunnable", "QMutexLocker", "QSignalBlocker"),
}
WRAPPED = ("qt", "ctk")


def python_faults(source: str, name: str = "source") -> list[str]:
    """Each breach of a rule in Python code, as "name:line: what is wrong and what to do"."""
    nodes = list(ast.walk(ast.parse(source)))
    faults = sorted((node.lineno, text) for node in nodes for text in _faults(node))
    return [f"{name}:{line}: {text}" for line, text in faults]


def ui_faults(source: str, name: str = "source") -> list[str]:
    """The same for a .ui file; no line numbers."""
    values = [element.text or "" for element in ET.fromstring(source).iter() if element.tag in ("enum", "set")]
    words = [word for value in values for word in value.split("|") if word.count("::") > 1]
    return [f"{name}: {word} is scoped, which Qt 5 cannot read; leave out the name in the middle" for word in words]


def file_faults(paths: list[Path]) -> list[str]:
    """All faults in the .py and .ui files among `paths`."""
    checks = {".py": python_faults, ".ui": ui_faults}
    return [
        fault
        for path in paths
        if path.suffix in checks
        for fault in checks[path.suffix](path.read_text("utf-8"), path.name)
    ]


def _faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _import_faults(node)
    elif isinstance(node, ast.Call):
        yield from _call_faults(node)
    elif isinstance(node, ast.Attribute):
        yield from _attribute_faults(node)


def _import_faults(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    for module in (module.split(".")[0] for module in modules):
        if module in THREADS:
            yield f"{module}: Python threads starve in Slicer: the event loop holds the lock; use qt.QProcess, QTimer"
        if module in BINDINGS:
            yield f"{module} is not in Slicer; import qt"
    if isinstance(node, ast.ImportFrom) and modules[0] in WRAPPED:
        yield f"import {modules[0]} as a whole, so that its names can be told from others"


def _chain(node: ast.AST) -> list[str]:
    """["qt", "Qt", "LeftButton"] for qt.Qt.LeftButton; [] for anything that is not such a chain of names."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def _is_widget_class(node: ast.AST) -> bool:
    chain = _chain(node)
    slicers = chain[:1] == ["slicer"] and len(chain) == 2 and chain[1].startswith(("qMRML", "qSlicer"))
    return slicers or (len(chain) == 2 and chain[0] in WRAPPED)


def _call_faults(node: ast.Call) -> Iterator[str]:
    called = _chain(node.func)
    if called in (["isinstance"], ["issubclass"]) and len(node.args) == 2:
        classes = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
        if any(_is_widget_class(cls) for cls in classes):
            yield "isinstance knows no base classes of Qt objects in PythonQt; ask the object, or its className()"
    if called and called[0] in WRAPPED and node.keywords:
        yield f"{'.'.join(called)} takes no keyword arguments in PythonQt; set the properties afterwards"
    if called[-2:] == ["QTimer", "singleShot"] and len(node.args) > 2:
        yield "qt.QTimer.singleShot takes a time and a function in PythonQt, no receiver"
    overload = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Subscript)
    if overload and node.func.attr in ("connect", "disconnect") and isinstance(node.func.value.value, ast.Attribute):
        yield 'PythonQt cannot choose a signal by [type]; use widget.connect("signal(type)", function)'


def _attribute_faults(node: ast.Attribute) -> Iterator[str]:
    chain = _chain(node)
    if not chain or chain[0] not in WRAPPED:
        return
    if len(chain) == 2 and chain[1] in NAMES:
        yield f"{'.'.join(chain)} is not in Slicer's {chain[0]}, or must not be used there"
    if len(chain) == 4 and all(name[:1].isupper() for name in chain[2:]):
        short = ".".join([*chain[:2], chain[3]])
        yield f"{'.'.join(chain)}: Slicer 5.10 and 5.12 know the short form only, {short}"
