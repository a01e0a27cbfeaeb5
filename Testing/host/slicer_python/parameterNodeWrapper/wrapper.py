"""The class decorator `parameterNodeWrapper`."""

from __future__ import annotations

import typing
from typing import Any

import slicer
import vtk
from slicer.parameterNodeWrapper.annotations import Default, Validator, first, split
from slicer.parameterNodeWrapper.connectors import Connector, createGuiConnector
from slicer.parameterNodeWrapper.serializers import ParameterNode, serializerFor

REMOVES_GUI_OBSERVERS = True  # as Slicer 5.12 does; in 5.10 disconnectGui leaves the observer of connectGui at the node
PROPERTY = "SlicerParameterName"  # the dynamic property that names a widget's parameter in a .ui file


class Parameter:
    """One attribute of a wrapper class: how it is kept, checked, and what it is at first."""

    def __init__(self, name: str, hint: Any, default: Default | None) -> None:
        self.name, self.hint = name, hint
        kind, annotations = split(hint)
        self.serializer = serializerFor(kind)
        self._validators = [annotation for annotation in annotations if isinstance(annotation, Validator)]
        self.default = default or first(annotations, Default) or Default(self.serializer.default())

    def write(self, node: ParameterNode, value: Any) -> None:
        """Raises TypeError or ValueError, and leaves the node as it was, for values that must not be."""
        if not self.serializer.accepts(value):
            raise (ValueError if value is None else TypeError)(f"{self.name} cannot be {value!r}")
        for validator in self._validators:
            validator.validate(value)
        self.serializer.write(node, self.name, value)

    def read(self, node: ParameterNode) -> Any:
        if not self.serializer.isIn(node, self.name):
            self.write(node, self.default.value)
        return self.serializer.read(node, self.name)


class Wrapper:
    """What every wrapper class can do besides its parameters."""

    allParameters: dict[str, Parameter] = {}  # noqa: RUF012  each wrapper class has its own

    def __init__(self, parameterNode: ParameterNode, prefix: str | None = None) -> None:
        """Fills `parameterNode` with defaults where it lacks a value; ValueError if one that it has is invalid."""
        self.parameterNode = parameterNode
        self._guis: dict[int, tuple[dict[str, Connector], int]] = {}
        self._nextTag = 0
        self._updatingGui = False
        for parameter in self.allParameters.values():
            parameter.read(parameterNode)

    def default(self, name: str) -> Default:
        return self._parameter(name).default

    def dataType(self, name: str) -> Any:
        return self._parameter(name).hint

    def getValue(self, name: str) -> Any:
        return self._parameter(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        self._parameter(name).write(self.parameterNode, value)

    def _parameter(self, name: str) -> Parameter:
        if name not in self.allParameters:
            raise ValueError(f"there is no parameter '{name}' among {', '.join(self.allParameters)}")
        return self.allParameters[name]

    def connectGui(self, gui: Any) -> int:
        """Bind all widgets in `gui` (a widget, or what childWidgetVariables made) that name a parameter."""
        isWidget = hasattr(gui, "isWidgetType") and gui.isWidgetType()
        widgets = _descendants(gui) if isWidget else list(vars(gui).values())
        named = [(widget.property(PROPERTY), widget) for widget in widgets]
        return self.connectParametersToGui({name: widget for name, widget in named if name})

    def connectParametersToGui(self, widgets: dict[str, Any]) -> int:
        """Bind widgets to parameters by name, and show the values. Returns the tag for `disconnectGui`."""
        hints = {name: self._parameter(name).hint for name in widgets}
        connectors = {name: createGuiConnector(widget, hints[name]) for name, widget in widgets.items()}
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(self._takeOver(name, connector))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)
        self._nextTag += 1
        self._guis[self._nextTag] = connectors, observer
        return self._nextTag

    def disconnectGui(self, tag: int | None) -> None:
        connectors, observer = self._guis.pop(tag, ({}, None))
        for connector in connectors.values():
            connector.onChanged(None)
        if observer is not None and REMOVES_GUI_OBSERVERS:
            self.RemoveObserver(observer)

    def _takeOver(self, name: str, connector: Connector):
        def callback() -> None:
            if not self._updatingGui:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return callback

    def _onModified(self, caller: object, event: str) -> None:
        if self._updatingGui:
            return
        self._updatingGui = True
        try:
            for connectors, _ in list(self._guis.values()):
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updatingGui = False

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> int:
        return self.parameterNode.EndModify(wasModified)

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def AddObserver(self, event: int, callback: object, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)


def _descendants(widget: Any) -> list[Any]:
    children = [child for child in widget.children() if child.isWidgetType()]
    return [each for child in children for each in (child, *_descendants(child))]


def _attribute(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def _wrap(cls: type) -> type:
    parameters = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        if hasattr(Wrapper, name):
            raise ValueError(f"'{name}' cannot be the name of a parameter: parameter nodes use it themselves")
        default = Default(getattr(cls, name)) if hasattr(cls, name) else None
        parameters[name] = Parameter(name, hint, default)
    own = {key: value for key, value in vars(cls).items() if key not in ("__dict__", "__weakref__", "__init__")}
    own |= {name: _attribute(name) for name in parameters} | {"allParameters": parameters}
    return type(cls.__name__, (Wrapper, *(base for base in cls.__bases__ if base is not object)), own)


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Class decorator, with or without parentheses: the class's annotated attributes become parameters of a node."""
    return _wrap if classtype is None else _wrap(classtype)


def isParameterNodeWrapper(classOrObject: Any) -> bool:
    cls = classOrObject if isinstance(classOrObject, type) else type(classOrObject)
    return issubclass(cls, Wrapper)
