"""Choose among several parameter nodes of the module in one scene, with a selector (`ParameterSets`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from .outputs import OUTPUT_FIELDS
from .parameters import RegistrationParameters

MODULE = "PDDRegistration"
NODE = "vtkMRMLScriptedModuleNode"
CHOSEN = "PDDRegistration.ParameterSet"
"""Role of the reference from the module's first parameter node to the one that is chosen."""


def chosenSet(first: slicer.vtkMRMLScriptedModuleNode) -> slicer.vtkMRMLScriptedModuleNode:
    """Return the parameter node that is chosen in the scene, or `first`, which always exists, if none is."""
    return first.GetNodeReference(CHOSEN) or first


def chooseSet(first: slicer.vtkMRMLScriptedModuleNode, node: slicer.vtkMRMLScriptedModuleNode) -> None:
    """Choose a parameter node, and store the choice in the scene."""
    first.SetNodeReferenceID(CHOSEN, None if node is first else node.GetID())


class ParameterSets:
    """Drive the selector of parameter sets. A new set begins as a copy of the set before it, without its outputs."""

    def __init__(self, selector: Any, logic: Any, onChosen: Callable[[], None]) -> None:
        """Take a qMRMLNodeComboBox, PDDRegistrationLogic, and a callback for when another set is to be shown."""
        self._selector, self._logic, self._onChosen = selector, logic, onChosen
        self._current: RegistrationParameters | None = None
        selector.addAttribute(NODE, "ModuleName", MODULE)
        selector.setNodeTypeLabel(_("parameter set"), NODE)
        selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNodeChanged)

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Show which set is in use; with None, choices in the selector are ignored."""
        self._current = None
        if parameters is not None:
            self._selector.setCurrentNode(parameters.parameterNode)
        self._current = parameters

    def _onNodeChanged(self, node: slicer.vtkMRMLScriptedModuleNode | None) -> None:
        current, scene = self._current, slicer.mrmlScene
        if current is None or node is None or node is current.parameterNode or scene.IsImporting() or scene.IsClosing():
            return
        self._current = None
        fresh = not node.GetParameterNamesAsCommaSeparatedList()
        chosen = self._logic.chooseParameterNode(node)
        if fresh:
            for name in current.allParameters:
                if name not in OUTPUT_FIELDS:
                    setattr(chosen, name, getattr(current, name))
        self._onChosen()
