"""qMRMLTableView: a table node as Slicer's own views show it, in the Tables module and in the table layouts."""

from __future__ import annotations

import qt
import slicer


class qMRMLTableView(qt.QTableView):
    """Read-only here. The unit follows the title, numbers appear as VTK prints them, all cells of a column share a tool
    tip."""

    _scene: slicer.vtkMRMLScene | None = None
    _model: qt.QStandardItemModel | None = None

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = qt.QStandardItemModel(self)
        proxy = qt.QSortFilterProxyModel(self)
        proxy.setSourceModel(self._model)
        self.setModel(proxy)

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        self._scene = scene

    def setMRMLTableNode(self, node: slicer.vtkMRMLTableNode | None) -> None:
        self._model.clear()
        if node is None:
            return
        table, count = node.GetTable(), node.GetNumberOfColumns()
        self._model.setRowCount(node.GetNumberOfRows())
        self._model.setColumnCount(count)
        for column in range(count):
            self._model.setHeaderData(column, qt.Qt.Horizontal, _header(node, node.GetColumnName(column)))
            for row in range(node.GetNumberOfRows()):
                item = qt.QStandardItem(table.GetValue(row, column).ToString())
                item.setToolTip(node.GetColumnDescription(node.GetColumnName(column)))
                self._model.setItem(row, column, item)
        self.resizeColumnsToContents()

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """The headers, and the cells by rows; Slicer has no such method."""
        model = self.model()
        rows, columns = range(model.rowCount()), range(model.columnCount())
        headers = [model.headerData(column, qt.Qt.Horizontal) for column in columns]
        return headers, [[model.data(model.index(row, column)) for column in columns] for row in rows]


def _header(node: slicer.vtkMRMLTableNode, name: str) -> str:
    title = (node.GetColumnTitle(name) if node.GetUseColumnTitleAsColumnHeader() else "") or name
    unit = node.GetColumnUnitLabel(name)
    return f"{title} [{unit}]" if unit else title
