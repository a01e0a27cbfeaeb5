"""The subject hierarchy's plugins: slicer.qSlicerSubjectHierarchyScriptedPlugin and the handler, without the tree view.

`contextMenu` is what the tree view does on a right click.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import qt
from PySide6.QtCore import Property


class qSlicerSubjectHierarchyScriptedPlugin(qt.QObject):
    """What a scripted plugin's class gets as its argument: it makes that class, and asks it what menus show."""

    _name: str = "UnnamedScriptedPlugin"
    _python: object = None

    def _setName(self, name: str) -> None:
        self._name = name

    name = Property(str, lambda self: self._name, _setName)

    def setPythonSource(self, filePath: str) -> bool:
        """Find <file's name>SubjectHierarchyPlugin in the module of the file's name, which has to be loaded here."""
        path = Path(filePath)
        className = path.stem if path.stem.endswith("SubjectHierarchyPlugin") else f"{path.stem}SubjectHierarchyPlugin"
        found = getattr(sys.modules.get(path.stem), className, None)
        if path.suffix not in (".py", ".pyc") or found is None:
            return False
        self._python = found(self)
        return True

    def self(self) -> object:
        return self._python

    def itemContextMenuActions(self) -> list[qt.QAction]:
        actions = self._call("itemContextMenuActions", [])
        if type(actions) is not list or not all(type(action) is qt.QAction for action in actions):
            raise TypeError("itemContextMenuActions must return a list of actions")
        return actions

    def showContextMenuActionsForItem(self, itemID: int) -> None:
        self._call("showContextMenuActionsForItem", None, itemID)

    def canOwnSubjectHierarchyItem(self, itemID: int) -> float:
        return self._call("canOwnSubjectHierarchyItem", 0.0, itemID)

    def _call(self, method: str, default: object, *arguments: object) -> object:
        """Call a method of the Python class, where it has it."""
        return getattr(self._python, method)(*arguments) if hasattr(self._python, method) else default


class qSlicerSubjectHierarchyPluginHandler(qt.QObject):
    """The only one of its kind, until the application ends."""

    _instance: qSlicerSubjectHierarchyPluginHandler | None = None
    _plugins: tuple[qSlicerSubjectHierarchyScriptedPlugin, ...] = ()
    _current: int = 0

    @staticmethod
    def instance() -> qSlicerSubjectHierarchyPluginHandler:
        cls = qSlicerSubjectHierarchyPluginHandler
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def registerPlugin(self, plugin: qSlicerSubjectHierarchyScriptedPlugin) -> bool:
        if not plugin.name:
            logging.error("a plugin without a name cannot be registered")
            return False
        if plugin.name in [known.name for known in self._plugins]:
            return False
        self._plugins = (*self._plugins, plugin)
        return True

    def allPlugins(self) -> list[qSlicerSubjectHierarchyScriptedPlugin]:
        return list(self._plugins)

    def currentItem(self) -> int:
        return self._current

    def setCurrentItem(self, itemID: int) -> None:
        self._current = itemID


def contextMenu(itemID: int) -> list[qt.QAction]:
    """Right click an item: it becomes the current one; return the actions that the menu shows."""
    handler = qSlicerSubjectHierarchyPluginHandler.instance()
    handler.setCurrentItem(itemID)
    actions = [action for plugin in handler.allPlugins() for action in plugin.itemContextMenuActions()]
    for action in actions:
        action.visible = False
    for plugin in handler.allPlugins():
        plugin.showContextMenuActionsForItem(itemID)
    return [action for action in actions if action.visible]
