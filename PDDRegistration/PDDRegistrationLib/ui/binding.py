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
        self._guiTag = parameters.connectGui(ui)
        self._observer: int | None = None

    def observe(self, onModified: Callable[..., None]) -> None:
        """Call `onModified` whenever the parameter node changes."""
        node = self._parameters.parameterNode
        self._observer = node.AddObserver(vtk.vtkCommand.ModifiedEvent, onModified)

    def release(self) -> None:
        """Unbind the widgets, and remove the observers."""
        self._parameters.disconnectGui(self._guiTag)
        if self._observer is not None:
            self._parameters.parameterNode.RemoveObserver(self._observer)
