"""qMRMLSortFilterProxyModel: which nodes a selector lists, of which the host has one list of exceptions."""

from __future__ import annotations

from collections.abc import Callable

import qt
from PySide6.QtCore import Property


class qMRMLSortFilterProxyModel(qt.QObject):
    """`visibleNodeIDs`: nodes that are listed whatever else is asked of a node; not even their class counts."""

    _visible: tuple[str, ...] = ()
    _onChanged: Callable[[], None] | None = None

    def __init__(self, parent: qt.QObject, onChanged: Callable[[], None]) -> None:
        super().__init__(parent)
        self._onChanged = onChanged

    def _setVisible(self, nodeIDs: list[str]) -> None:
        self._visible = tuple(nodeIDs)
        self._onChanged()

    visibleNodeIDs = Property("QStringList", lambda self: list(self._visible), _setVisible)
