"""Show a table node in Slicer's own table view, or in a plain Qt table where that is missing (`TableView`)."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from .tables import columnDescriptions, tableTexts

WIDEST = 240  # pixels of a column at first; the user can draw it wider


class TableView:
    """Read-only view of a table; it follows neither the node nor the scene, only `show`."""

    def __init__(self, container: Any) -> None:
        """Add the view to the layout of a widget, the container."""
        self._isSlicers = hasattr(slicer, "qMRMLTableView")
        if self._isSlicers:
            self.widget = slicer.qMRMLTableView()
            self.widget.setMRMLScene(slicer.mrmlScene)
        else:
            self.widget = qt.QTableWidget()
            self.widget.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.widget.setObjectName(f"{container.objectName}View")
        self.widget.setAlternatingRowColors(True)
        self.widget.verticalHeader().hide()
        container.layout().addWidget(self.widget)

    def show(self, node: slicer.vtkMRMLTableNode | None) -> None:
        """Show a table; None clears the view."""
        if self._isSlicers:
            self.widget.setMRMLTableNode(node)
        else:
            self._fill(node)
        if node is None:
            return
        self.widget.resizeColumnsToContents()
        for place in range(node.GetNumberOfColumns()):
            self.widget.setColumnWidth(place, min(self.widget.columnWidth(place), WIDEST))

    def _fill(self, node: slicer.vtkMRMLTableNode | None) -> None:
        titles, rows = tableTexts(node) if node is not None else ([], [])
        tips = columnDescriptions(node) if node is not None else []
        table = self.widget
        table.clear()
        table.setColumnCount(len(titles))
        table.setRowCount(len(rows))
        table.setHorizontalHeaderLabels(titles)
        for place, tip in enumerate(tips):
            table.horizontalHeaderItem(place).setToolTip(tip)
        for number, row in enumerate(rows):
            for place, text in enumerate(row):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)  # references are longer than a column
                table.setItem(number, place, item)
