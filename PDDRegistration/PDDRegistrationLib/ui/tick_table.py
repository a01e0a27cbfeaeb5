"""A table whose rows the user ticks, and clicks to see more of them (`TickTable`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from ..base.theme import warningBrush

TICK = 0  # the column


@dataclass(frozen=True)
class TickRow:
    """What a row shows: its texts by column, a tool tip, and whether it warns."""

    texts: tuple[str, ...]
    tip: str = ""
    warns: bool = False


class TickTable:
    """Fill a QTableWidget, whose first column has the ticks. A click on another column chooses the row."""

    def __init__(
        self,
        table: Any,
        columns: Sequence[tuple[str, str]],
        onTicked: Callable[[], None],
        onChosen: Callable[[int], None],
    ) -> None:
        """Set up an empty table.

        Args:
            columns: title and explanation of each column after that of the ticks; the first one gives way where the
                panel is narrow.
            onTicked: called when the user ticks a row, or no longer. onChosen: with the number of a row.
        """
        self._table, self._onTicked, self._onChosen = table, onTicked, onChosen
        self._filling = False
        titles = [("", _("Which ones to take")), *columns]
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels([title for title, _tip in titles])
        for place, (_title, tip) in enumerate(titles):
            table.horizontalHeaderItem(place).setToolTip(tip)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.setTextElideMode(qt.Qt.ElideMiddle)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.verticalHeader().hide()
        table.connect("cellChanged(int,int)", self._onChanged)
        table.connect("cellClicked(int,int)", self._onClicked)
        table.connect("cellActivated(int,int)", self._onClicked)

    @property
    def ticked(self) -> list[int]:
        """Return the numbers of the ticked rows."""
        rows = range(self._table.rowCount)
        return [row for row in rows if self._table.item(row, TICK).checkState() == qt.Qt.Checked]

    def show(self, rows: Sequence[TickRow], ticked: Sequence[bool]) -> None:
        """Show rows in place of those before."""
        with self._quietly():
            self._table.setRowCount(len(rows))
            for number, (row, isTicked) in enumerate(zip(rows, ticked, strict=True)):
                tick = qt.QTableWidgetItem("")
                tick.setCheckState(qt.Qt.Checked if isTicked else qt.Qt.Unchecked)
                self._table.setItem(number, TICK, tick)
                self.tell(number, row)
            self.lock(False)

    def tell(self, number: int, row: TickRow) -> None:
        """Show other texts in a row."""
        with self._quietly():
            for place, text in enumerate(row.texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.tip)
                if row.warns:
                    item.setForeground(warningBrush())
                self._table.setItem(number, TICK + 1 + place, item)

    def reveal(self, number: int) -> None:
        """Scroll to a row."""
        self._table.scrollToItem(self._table.item(number, TICK + 1))

    def lock(self, locked: bool) -> None:
        """Let the ticks stay as they are, or no longer."""
        flags = qt.Qt.ItemIsSelectable if locked else qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable
        with self._quietly():
            for row in range(self._table.rowCount):
                self._table.item(row, TICK).setFlags(flags | qt.Qt.ItemIsEnabled)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Change the table, which is no tick of the user's."""
        before, self._filling = self._filling, True
        try:
            yield
        finally:
            self._filling = before

    def _onChanged(self, row: int, column: int) -> None:
        if not self._filling and column == TICK:
            self._onTicked()

    def _onClicked(self, row: int, column: int) -> None:
        if column != TICK:
            self._onChosen(row)
