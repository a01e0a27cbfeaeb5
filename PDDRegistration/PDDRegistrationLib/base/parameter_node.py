"""Declare the base of classes under Slicer's `@parameterNodeWrapper`, which adds these methods (`ParameterNodeClass`).

It exists for type checkers and readers. At run time it is `object`: Slicer's decorator takes every annotated attribute
of the class and its bases for a parameter, and refuses classes that have methods of these names already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import slicer

    class ParameterNodeClass:
        """Base of parameter node classes: their annotated attributes are stored in a parameter node of the scene."""

        parameterNode: slicer.vtkMRMLScriptedModuleNode
        allParameters: dict[str, Any]
        AddObserver: Callable[..., int]  # to the parameter node

        def __init__(self, parameterNode: slicer.vtkMRMLScriptedModuleNode, prefix: str | None = None) -> None:
            """Wrap a parameter node; parameters that it lacks get their defaults."""

        def connectGui(self, gui: Any) -> Any:
            """Bind the widgets that name a parameter (`SlicerParameterName`); return a tag for `disconnectGui`."""

        def disconnectGui(self, guiTag: Any) -> None:
            """Unbind the widgets that were bound with this tag."""

else:
    ParameterNodeClass = object
