"""List the structures that the network compared, below the verdict (`StructuresPanel`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..base.numbers import numberText
from ..scene.slice_views import centreSlicesOn

VERDICTS = {"ok": _("ok"), "doubtful": _("doubtful"), "astray": _("astray"), "not compared": _("not compared")}

COLUMNS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    (
        _("Structure"),
        _("As the network names it in both scans; left and right are the patient's"),
        lambda row: row["name"],
    ),
    (_("Overlap"), _("Dice, 0 to 1, within what both scans show"), lambda row: numberText(row["dice"], 2)),
    (_("Shift (mm)"), _("Between the centres after the registration"), lambda row: numberText(row["shift_mm"], 0)),
    (
        _("Error (mm)"),
        _("Expected error: 80 % of the errors lie below it, as learned from pairs of known error"),
        lambda row: numberText(row.get("expected_error_mm"), 1),
    ),
    (_("Verdict"), _("Point at it for the reason"), lambda row: VERDICTS[row["verdict"]]),
)
"""Title, explanation and text of each column; a row is one of the report's table of structures."""


class StructuresPanel:
    """Fill the table, the worst structure first; a click on a row centres the slice views on that structure."""

    def __init__(self, table: Any) -> None:
        """Set up an empty QTableWidget."""
        self._table = table
        self._rows: list[dict[str, Any]] = []
        table.setColumnCount(len(COLUMNS))
        table.setHorizontalHeaderLabels([title for title, _tip, _text in COLUMNS])
        for place, (_title, tip, _text) in enumerate(COLUMNS):
            table.horizontalHeaderItem(place).setToolTip(tip)
        # the name gives way where the panel is narrow; the numbers never do, so that nothing scrolls sideways
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.setTextElideMode(qt.Qt.ElideRight)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.verticalHeader().hide()
        table.connect("cellClicked(int,int)", self._onChosen)
        table.connect("cellActivated(int,int)", self._onChosen)

    def show(self, report: dict[str, Any] | None) -> None:
        """Show the structures of a run's report; hide the table where it has none.

        Raises:
            LookupError, TypeError, ValueError or AttributeError: another version wrote the report.
        """
        self._table.visible = False
        self._table.setRowCount(0)
        self._rows = []
        section = report.get("structures") if report else None
        rows = section["table"] if section else []
        self._table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for place, (_title, _tip, text) in enumerate(COLUMNS):
                item = qt.QTableWidgetItem(text(row))
                item.setToolTip(_detail(row))
                self._table.setItem(number, place, item)
        self._table.resizeRowsToContents()
        self._rows, self._table.visible = rows, bool(rows)

    def _onChosen(self, row: int, column: int) -> None:
        centre = self._rows[row]["centre_lps_mm"]
        if centre is not None:
            centreSlicesOn(slicer.mrmlScene, centre)


def _detail(row: dict[str, Any]) -> str:
    """Explain a row: why it is not ok, then what else was measured."""
    volumes = _("{fixed} ml in the fixed scan, {moving} ml in the moving one").format(
        fixed=numberText(row["fixed_ml"], 0), moving=numberText(row["moving_ml"], 0)
    )
    parts = [row["reason"], volumes]
    if row["surface_mm"] is not None:
        parts.append(_("surfaces {distance} mm apart").format(distance=numberText(row["surface_mm"], 1)))
    return "; ".join(part for part in parts if part)
