"""Change a scene temporarily, settings of nodes and hidden nodes, and undo the changes (`SceneChanges`)."""

from __future__ import annotations

from typing import Any

import slicer

HELPER = "PDDRegistration.Helper"
"""Node attribute of the hidden nodes that display something and are removed afterwards."""


class SceneChanges:
    """Record of temporary changes, to undo them. Whatever a user changed meanwhile stays as the user left it."""

    def __init__(self) -> None:
        self._settings: list[_Setting] = []
        self._nodes: list[slicer.vtkMRMLNode] = []

    def set(self, node: slicer.vtkMRMLNode, name: str, value: Any, getter: str = "") -> None:
        """Change a node's property, by MRML name, such as 'ForegroundOpacity'; getter: if not 'Get' + name."""
        setting = next((known for known in self._settings if known.node is node and known.name == name), None)
        if setting is None:
            setting = _Setting(node, name, getter or f"Get{name}")
            self._settings.append(setting)
        setting.change(value)

    def restore(self, node: slicer.vtkMRMLNode, name: str) -> None:
        """Restore one property before the others."""
        for setting in [known for known in self._settings if known.node is node and known.name == name]:
            self._settings.remove(setting)
            setting.restore()

    def add(self, scene: slicer.vtkMRMLScene, className: str, name: str) -> slicer.vtkMRMLNode:
        """Add a hidden node, which is not saved with the scene."""
        node = getattr(slicer, className)()
        node.SetName(name)
        node.SetAttribute(HELPER, "true")
        exclude = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyExcludeFromTreeAttributeName()
        node.SetAttribute(exclude, "1")
        node.HideFromEditorsOn()
        node.SetSaveWithScene(False)
        node = scene.AddNode(node)
        self._nodes.append(node)
        return node

    def addDisplay(self, node: slicer.vtkMRMLDisplayableNode) -> slicer.vtkMRMLDisplayNode:
        """Return the node's display node; if it has none, add one, which `undo` removes."""
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
            self.adopt(node.GetDisplayNode())
        return node.GetDisplayNode()

    def adopt(self, node: slicer.vtkMRMLNode) -> None:
        """Register a node that has just been made, so that `undo` removes it with the rest."""
        node.SetSaveWithScene(False)
        self._nodes.append(node)

    def remove(self, node: slicer.vtkMRMLNode) -> None:
        """Remove one of the added nodes from the scene before the others."""
        self._nodes = [kept for kept in self._nodes if kept is not node]
        self._settings = [setting for setting in self._settings if setting.node is not node]
        if node.GetScene() is not None:
            node.GetScene().RemoveNode(node)

    def suspend(self) -> None:
        """Restore all settings until `resume`; the added nodes stay, which are not saved with the scene."""
        for setting in reversed(self._settings):
            setting.suspend()

    def resume(self) -> None:
        """Set again what `suspend` restored."""
        for setting in self._settings:
            setting.resume()

    def undo(self) -> None:
        """Restore all settings, and remove the added nodes. The object can be used again."""
        settings, nodes = self._settings, self._nodes
        self._settings, self._nodes = [], []
        for setting in reversed(settings):
            setting.restore()
        for node in reversed(nodes):
            if node.GetScene() is not None:
                node.GetScene().RemoveNode(node)


class _Setting:
    """Property of a node: its value before the change, and the value that was set."""

    def __init__(self, node: slicer.vtkMRMLNode, name: str, getter: str) -> None:
        self.node, self.name, self._getter = node, name, getter
        self._former = self._set = self._value()
        self._suspended = False

    def _value(self) -> Any:
        return getattr(self.node, self._getter)()

    def change(self, value: Any) -> None:
        getattr(self.node, f"Set{self.name}")(value)
        self._set = self._value()

    def suspend(self) -> None:
        self._suspended = self._suspended or self.restore()

    def resume(self) -> None:
        if self._suspended and self.node.GetScene() is not None:
            self.change(self._set)
        self._suspended = False

    def restore(self) -> bool:
        """Set the former value; return False where somebody else has changed it meanwhile."""
        scene = self.node.GetScene()
        if scene is None or self._value() != self._set:
            return False
        gone = self.name.endswith("ID") and self._former and scene.GetNodeByID(self._former) is None
        getattr(self.node, f"Set{self.name}")(None if gone else self._former)
        return True
