"""qSlicerScriptedFileWriter: a module's class <module>FileWriter, as the application asks it what it can write."""

from __future__ import annotations


class ScriptedWriter:
    """What such a class gets as `parent`. The host only asks: no module that it runs writes files of its own."""

    def __init__(self, cls: type) -> None:
        self._python = cls(self)

    def fileType(self) -> str:
        return self._python.fileType()

    def nameFilters(self, node: object) -> list[str]:
        """Slicer asks for these whenever a node, or with None the scene, is about to be saved as this file type."""
        filters = self._python.extensions(node)
        if type(filters) is not list:
            raise TypeError("extensions must return a list of strings")
        return filters
