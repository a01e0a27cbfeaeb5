"""`ParameterNodeClass`: the base of classes under Slicer's `@parameterNodeWrapper`, which adds the methods below.

It exists for type checkers and readers. At run time it is `object`: Slicer's decorator takes every annotated attribute
of the class and its bases for a parameter, and refuses classes that have methods of these names already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import slicer

    class ParameterNodeClass:
        """Annotated attributes of a derived class are read from and written to a parameter node of the scene."""

        parameterNode: slicer.vtkMRMLScriptedModuleNode
        allParameters: dict[str, Any]

        def __init__(self, parameterNode: slicer.vtkMRMLScriptedModuleNode, prefix: str | None = None) -> None:
            """Parameters that the node lacks get their defaults."""

        def connectGui(self, gui: Any) -> Any:
            """Bind the widgets that name a parameter (`SlicerParameterName`); returns a tag for `disconnectGui`."""

        def disconnectGui(self, guiTag: Any) -> None:
            """Unbind the widgets of a tag."""

else:
    ParameterNodeClass = object
