"""A widget and a parameter that follow each other. The widget's class decides how, and must match exactly."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer
from slicer.parameterNodeWrapper.annotations import (
    Choice,
    Decimals,
    Maximum,
    Minimum,
    SingleStep,
    WithinRange,
    first,
    members,
    split,
)


class Connector:
    """Reads and writes a widget's property `attribute`; `signal` says that the user changed it."""

    signal: str | None = None
    attribute = ""

    def __init__(self, widget: Any, hint: Any) -> None:
        self.widget = widget
        self.kind, self.annotations = split(hint)
        self._callback: Callable[[], None] | None = None
        self.prepare()

    def prepare(self) -> None:
        """Set the widget up for the type and its annotations."""

    def read(self) -> Any:
        return getattr(self.widget, self.attribute)

    def write(self, value: Any) -> None:
        if value != self.read():  # writing the same text again would move the cursor of a line edit
            setattr(self.widget, self.attribute, value)

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` at every change; None ends that."""
        if self.signal and self._callback is None and callback is not None:
            getattr(self.widget, self.signal).connect(self._changed)
        if self.signal and self._callback is not None and callback is None:
            getattr(self.widget, self.signal).disconnect(self._changed)
        self._callback = callback

    def _changed(self, *_: object) -> None:
        if self._callback is not None:
            self._callback()


class CheckConnector(Connector):
    """A check box or a checkable push button with a bool."""

    signal, attribute = "toggled", "checked"

    def prepare(self) -> None:
        if type(self.widget) is qt.QPushButton:
            self.widget.checkable = True


class TextConnector(Connector):
    """A line edit with a str."""

    signal, attribute = "textChanged", "text"


class LabelConnector(Connector):
    """A label that shows a str."""

    attribute = "text"


class NumberConnector(Connector):
    """Spin boxes and sliders with an int or a float; a slider needs both bounds."""

    signal, attribute = "valueChanged", "value"

    def prepare(self) -> None:
        lowest, highest = self._bounds()
        if None in (lowest, highest) and type(self.widget) in (qt.QSlider, ctk.ctkSliderWidget):
            raise RuntimeError(f"{self.widget.objectName}: a slider needs a parameter with a range")
        unlimited = float("inf") if type(self.widget) not in (qt.QSlider, qt.QSpinBox) else 2**31 - 1
        self.widget.minimum = self.kind(lowest) if lowest is not None else -unlimited
        self.widget.maximum = self.kind(highest) if highest is not None else unlimited
        decimals, step = first(self.annotations, Decimals), first(self.annotations, SingleStep)
        if decimals is not None:
            self.widget.decimals = decimals.value
        if step is not None:
            self.widget.singleStep = step.value

    def _bounds(self) -> tuple[float | None, float | None]:
        both = first(self.annotations, WithinRange)
        lowest, highest = both or first(self.annotations, Minimum), both or first(self.annotations, Maximum)
        return lowest and lowest.minimum, highest and highest.maximum

    def read(self) -> int | float:
        return self.kind(self.widget.value)

    def write(self, value: float) -> None:
        self.widget.value = self.kind(value)


class ChoiceConnector(Connector):
    """A combo box with an Enum, or with a type that has a Choice."""

    signal = "currentIndexChanged"

    def prepare(self) -> None:
        if isinstance(self.kind, type) and issubclass(self.kind, enum.Enum):
            self._choices = list(self.kind)
            texts = [choice.label() if hasattr(choice, "label") else choice.name for choice in self._choices]
        else:
            choice = first(self.annotations, Choice)
            if choice is None:
                raise RuntimeError(f"{self.widget.objectName}: a combo box needs a parameter with a Choice")
            self._choices = list(choice.choices)
            texts = [str(choice) for choice in self._choices]
        self.widget.clear()
        self.widget.addItems(texts)

    def read(self) -> Any:
        return self._choices[self.widget.currentIndex]

    def write(self, value: Any) -> None:
        self.widget.currentIndex = self._choices.index(value)


class PathConnector(Connector):
    """A path line with a Path."""

    signal = "currentPathChanged"

    def read(self) -> pathlib.Path:
        return self.kind(self.widget.currentPath)

    def write(self, value: pathlib.Path) -> None:
        self.widget.currentPath = str(value)


class NodeConnector(Connector):
    """A node selector with a node type or a union of them; it sets the selector's `nodeTypes`."""

    signal = "currentNodeChanged"

    def prepare(self) -> None:
        kinds = [kind for kind in members(self.kind) if kind is not type(None)]
        self.widget.nodeTypes = [kind().GetClassName() for kind in kinds]

    def read(self) -> slicer.vtkMRMLNode | None:
        return self.widget.currentNode()

    def write(self, value: slicer.vtkMRMLNode | None) -> None:
        self.widget.setCurrentNode(value)


NUMBER_WIDGETS = {
    int: (qt.QSlider, qt.QSpinBox, qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox),
    float: (qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox),
}


def _isNodeType(kind: Any) -> bool:
    kinds = [member for member in members(kind) if member is not type(None)]
    return all(isinstance(member, type) and issubclass(member, slicer.vtkMRMLNode) for member in kinds)


def _connectorClass(widget: Any, kind: Any) -> type[Connector] | None:
    cls = type(widget)
    if cls is slicer.qMRMLNodeComboBox:
        return NodeConnector if _isNodeType(kind) else None
    if cls in (qt.QCheckBox, qt.QPushButton):
        return CheckConnector if kind is bool else None
    if cls is qt.QComboBox:
        return None if members(kind) != (kind,) or _isNodeType(kind) else ChoiceConnector
    if cls is ctk.ctkPathLineEdit:
        return PathConnector if kind is pathlib.Path else None
    if cls in NUMBER_WIDGETS.get(kind, ()):
        return NumberConnector
    return {qt.QLineEdit: TextConnector, qt.QLabel: LabelConnector}.get(cls) if kind is str else None


def createGuiConnector(widget: Any, hint: Any) -> Connector:
    """The connector of a widget and a type hint; RuntimeError if Slicer has none for the two."""
    connector = _connectorClass(widget, split(hint)[0])
    if connector is None:
        raise RuntimeError(f"no connector between {type(widget).__name__} {widget.objectName} and {hint}")
    return connector(widget, hint)
