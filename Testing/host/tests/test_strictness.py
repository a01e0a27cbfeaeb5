"""Where PySide6 accepts what PythonQt refuses, the host refuses it, too."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from host.host import Host

UI = """<ui version="4.0"><class>A</class><widget class="QWidget" name="A">
<widget class="{cls}" name="w"><property name="{name}"><string>a</string></property></widget></widget></ui>"""


@pytest.fixture
def qt(host: Host):
    import qt

    return qt


def objects() -> list:
    import ctk
    import qt
    import slicer

    window = slicer.util.mainWindow()
    return [
        qt.QPushButton(),
        qt.QTimer(),
        qt.QProcess(),
        qt.QVBoxLayout(),
        qt.QColor(),
        ctk.ctkCollapsibleButton(),
        ctk.ctkSliderWidget(),
        slicer.qMRMLNodeComboBox(),
        slicer.app,
        window,
        window.statusBar(),
    ]


def test_no_qt_object_takes_a_new_attribute(qt):
    for thing in objects():
        with pytest.raises(AttributeError):
            thing.myOwn = 1
        assert not hasattr(thing, "myOwn")


def test_a_modules_parents_take_no_new_attributes(example):
    import slicer

    for parent in (example.parent, slicer.modules.hostexample):
        with pytest.raises(AttributeError):
            parent.myOwn = 1


def test_methods_and_signals_cannot_be_replaced(qt):
    button = qt.QPushButton()
    for name in ("setText", "clicked", "click"):
        with pytest.raises(AttributeError):
            setattr(button, name, print)


def test_a_class_derived_in_python_may_have_attributes(qt):
    class Own(qt.QWidget):
        pass

    own = Own()
    own.anything = 3
    assert own.anything == 3


def test_properties_are_attributes_and_not_methods(qt):
    label = qt.QLabel("a")
    label.text, label.enabled, label.objectName = "b", False, "label"
    assert (label.text, label.enabled, label.name) == ("b", False, "label")
    assert (label.isEnabled(), label.className()) == (False, "QLabel")
    with pytest.raises(TypeError):
        label.text()
    with pytest.raises(AttributeError):
        label.minimumSizeHint = qt.QSize(1, 1)


def test_isinstance_knows_no_base_class(qt):
    class Own(qt.QPushButton):
        pass

    assert isinstance(qt.QPushButton(), qt.QPushButton)
    assert not isinstance(qt.QPushButton(), qt.QWidget)
    assert isinstance(Own(), Own)
    assert isinstance(Own(), qt.QPushButton)
    assert not isinstance(Own(), qt.QWidget)


def test_slicer_has_no_signal_class_and_no_threads(qt):
    for name in ("Signal", "Slot", "Property", "QThread", "QSignalBlocker"):
        assert not hasattr(qt, name)


def test_a_signal_is_connected_by_its_signature(qt):
    box, calls = qt.QSpinBox(), []
    one, none = calls.append, lambda: calls.append("changed")
    assert box.connect("valueChanged(int)", one)
    box.value = 4
    box.connect("valueChanged(int)", none)
    box.value = 5
    assert box.disconnect("valueChanged(int)", one)
    box.value = 6
    assert calls == [4, 5, "changed", "changed"]


def test_a_signal_without_arguments_calls_without_any(qt):
    button, calls = qt.QPushButton(), []
    button.connect("clicked()", lambda *arguments: calls.append(arguments))
    button.connect("clicked(bool)", lambda *arguments: calls.append(arguments))
    button.click()
    assert calls == [(), (False,)]


@pytest.mark.parametrize("way", ["by signature", "by signal"])
def test_a_sender_holds_what_it_calls_until_disconnected_or_destroyed(qt, way: str):
    class Owner:
        def __init__(self) -> None:
            self.timer = qt.QTimer()

        def connect(self, what: str) -> None:
            if way == "by signature":
                getattr(self.timer, what)("timeout()", self.called)
            else:
                getattr(self.timer.timeout, what)(self.called)

        def called(self) -> None:
            """Called by the timer, which it owns."""

    owner, other = Owner(), Owner()
    kept, freed = weakref.ref(owner), weakref.ref(other)
    for each in (owner, other):
        each.connect("connect")
    other.connect("disconnect")
    timer = owner.timer
    del owner, other, each
    gc.collect()
    assert freed() is None
    assert kept() is not None
    timer.delete()
    gc.collect()
    assert kept() is None


def test_a_slot_is_named_by_its_signature(qt):
    box, bar = qt.QSpinBox(), qt.QProgressBar()
    box.connect("valueChanged(int)", bar, "setValue(int)")
    box.value = 33
    assert bar.value == 33


@pytest.mark.parametrize("signal", ["pressed(int)", "nosuch()", "clicked(QString)", "error(QProcess::ProcessError)"])
def test_a_signal_that_does_not_exist_is_an_error(qt, signal):
    with pytest.raises(ValueError, match="no signal"):
        qt.QPushButton().connect(signal, print)


def test_signals_of_stand_ins_have_their_cpp_names(host: Host):
    import slicer

    selector, calls = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLTextNode"]
    selector.connect("currentNodeChanged(vtkMRMLNode*)", calls.append)
    selector.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    assert calls == [node]
    with pytest.raises(ValueError, match="no signal"):
        selector.connect("currentNodeChanged(PyObject)", calls.append)


@pytest.mark.parametrize(
    ("cls", "name", "message"),
    [
        ("qMRMLNodeComboBox", "noneEnable", "no property 'noneEnable'"),
        ("QLabel", "txet", "no property 'txet'"),
        ("ctkNothing", "text", "no stand-in for the widget ctkNothing"),
    ],
)
def test_a_ui_file_with_a_misspelling_is_an_error(host: Host, tmp_path: Path, cls: str, name: str, message: str):
    import slicer

    path = tmp_path / "a.ui"
    path.write_text(UI.format(cls=cls, name=name), "utf-8")
    with pytest.raises(RuntimeError, match=message):
        host.runInEventLoop(lambda: slicer.util.loadUI(str(path)))
