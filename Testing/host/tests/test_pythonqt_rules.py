"""The module keeps the rules of PythonQt that the host cannot enforce, and the rules find what they are made for."""

from __future__ import annotations

import pytest

from helpers.paths import HOST_EXAMPLE, LIBRARY, MODULE
from host.pythonqt_rules import file_faults, python_faults, ui_faults

BREACHES = {
    "import threading": "threading",
    "from concurrent.futures import ThreadPoolExecutor": "concurrent",
    "from PySide6 import QtWidgets": "PySide6",
    "from qt import QWidget": "import qt as a whole",
    "isinstance(w, qt.QWidget)": "isinstance",
    "isinstance(w, (str, slicer.qMRMLNodeComboBox))": "isinstance",
    "qt.QPushButton('a', objectName='b')": "keyword",
    "qt.QMessageBox.StandardButton.Ok": "qt.QMessageBox.Ok",
    "qt.Signal(int)": "qt.Signal",
    "qt.QThread()": "qt.QThread",
    "qt.QTimer.singleShot(0, w, f)": "singleShot",
    "w.box.valueChanged[int].connect(f)": "[type]",
}
LAWFUL = """
import qt, slicer
box = qt.QMessageBox(parent)
box.setStandardButtons(qt.QMessageBox.Ok | qt.QMessageBox.Cancel)
box.text = "a"
button.connect("clicked(bool)", f)
timer.timeout.connect(f)
qt.QTimer.singleShot(0, f)
isinstance(value, str) and isinstance(node, slicer.vtkMRMLVolumeNode)
slicer.util.messageBox("a", windowTitle="b")
qt.QProcess.NotRunning == process.state()
"""
UI = '<ui><property name="orientation"><enum>{}</enum></property></ui>'


@pytest.mark.parametrize(("code", "word"), BREACHES.items(), ids=BREACHES)
def test_each_rule_finds_its_breach(code: str, word: str):
    (fault,) = python_faults(f"pass\n{code}", "module.py")
    assert fault.startswith("module.py:2:")
    assert word in fault


def test_lawful_code_has_no_faults():
    assert python_faults(LAWFUL) == []


def test_scoped_enums_in_ui_files_are_faults_and_short_ones_are_not():
    assert ui_faults(UI.format("Qt::Vertical")) == []
    assert len(ui_faults(UI.format("Qt::Orientation::Vertical"))) == 1
    assert len(ui_faults(UI.format("Qt::AlignmentFlag::AlignLeft|Qt::AlignmentFlag::AlignTop"))) == 2


def test_the_module_keeps_the_rules():
    files = [MODULE, *(LIBRARY / "PDDRegistrationLib").rglob("*.py"), *LIBRARY.rglob("*.ui")]
    example = HOST_EXAMPLE.parent
    files += [*example.rglob("*.py"), *example.rglob("*.ui")]
    assert any(path.name == "HostExample.ui" for path in files)
    assert file_faults([path for path in files if path.is_file()]) == []
