"""`TableView`: a table node on the screen, by Slicer's own table view, or by a plain Qt table where that is missing."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from .tables import tableTexts

WIDEST = 240  # pixels of a column at first; the user can draw it wider


class TableView:
    """Read-only. What it shows changes with `show` alone."""

    def __init__(self, container: Any) -> None:
        """container: a widget with a layout, into which the view is put."""
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
        """Show a table; None for nothing."""
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
        table = self.widget
        table.clear()
        table.setColumnCount(len(titles))
        table.setRowCount(len(rows))
        table.setHorizontalHeaderLabels(titles)
        for place in range(len(titles)):
            table.horizontalHeaderItem(place).setToolTip(node.GetColumnDescription(node.GetColumnName(place)))
        for number, row in enumerate(rows):
            for place, text in enumerate(row):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)  # references are longer than a column
                table.setItem(number, place, item)
