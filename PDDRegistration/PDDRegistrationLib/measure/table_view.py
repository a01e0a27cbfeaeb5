"""Show a table node in a plain Qt table (`TableView`)."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from .tables import columnDescriptions, tableTexts

WIDEST = 240  # pixels of a column at first; the user can draw it wider


class TableView:
    """Read-only view of a table; it follows neither the node nor the scene, only `show`.

    Slicer's own view (qMRMLTableView) prints nan where a number is not known, and gives every cell the description of
    its column as tool tip, where long texts need their own.
    """

    def __init__(self, container: Any) -> None:
        """Add the view to the layout of a widget, the container."""
        self.widget = qt.QTableWidget()
        self.widget.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.widget.setObjectName(f"{container.objectName}View")
        self.widget.setAlternatingRowColors(True)
        self.widget.verticalHeader().hide()
        container.layout().addWidget(self.widget)
        copy = qt.QShortcut(qt.QKeySequence("Ctrl+C"), self.widget)
        copy.setContext(qt.Qt.WidgetShortcut)
        copy.connect("activated()", self._copy)

    def show(self, node: slicer.vtkMRMLTableNode | None) -> None:
        """Show a table; None clears the view."""
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
        table.resizeColumnsToContents()
        for place in range(len(titles)):
            table.setColumnWidth(place, min(table.columnWidth(place), WIDEST))

    def _copy(self) -> None:
        """Copy the chosen cells as lines of texts with tabs between them."""
        rows, columns = range(self.widget.rowCount), range(self.widget.columnCount)
        cells = [[self.widget.item(row, column) for column in columns] for row in rows]
        chosen = [[cell.text() for cell in row if cell.isSelected()] for row in cells]
        slicer.app.clipboard().setText("\n".join("\t".join(row) for row in chosen if row))
