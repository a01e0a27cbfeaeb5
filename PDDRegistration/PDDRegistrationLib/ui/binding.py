"""Bind a parameter node to the widgets of a panel, until it is released (`Binding`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vtk

from ..base.parameter_node import ParameterNodeClass


class Binding:
    """Binding of a parameter node to the widgets that name a parameter: they follow the node, and change it."""

    def __init__(self, parameters: ParameterNodeClass, ui: Any) -> None:
        """Bind the widgets `ui`, by name as `slicer.util.childWidgetVariables` returns them."""
        self._parameters = parameters
        self._guiTag, self._observers = _connected(parameters, ui)

    def observe(self, onModified: Callable[..., None]) -> None:
        """Call `onModified` whenever the parameter node changes."""
        node = self._parameters.parameterNode
        self._observers.append(node.AddObserver(vtk.vtkCommand.ModifiedEvent, onModified))

    def release(self) -> None:
        """Unbind the widgets, and remove the observers."""
        self._parameters.disconnectGui(self._guiTag)
        for tag in self._observers:
            self._parameters.parameterNode.RemoveObserver(tag)
        self._observers = []


def _connected(parameters: ParameterNodeClass, ui: Any) -> tuple[Any, list[int]]:
    """Connect the widgets; return the tag for `disconnectGui`, and those of the observers that this added.

    Slicer 5.10 forgets the tag of its observer, which would stay at the node and hold `parameters` for ever.
    """
    node, tags = parameters.parameterNode, []

    def addObserver(*arguments: Any) -> int:
        tags.append(node.AddObserver(*arguments))
        return tags[-1]

    parameters.AddObserver = addObserver
    try:
        return parameters.connectGui(ui), tags
    finally:
        del parameters.AddObserver
