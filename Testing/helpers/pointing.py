"""The mouse over a slice view, sent to its widget as the window system does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from host.host import Host


def point_at(host: Host, view: str, ras: tuple[float, float, float], *, shift: bool = False) -> None:
    """Move the mouse over what a view shows at a RAS point, mm; `shift`: with that key down."""
    import qt

    canvas = host.layout.sliceWidget(view).canvas()
    x, y = place_of(host, view, ras)
    place = qt.QPointF(round(x), canvas.height - 1 - round(y))
    keys = qt.Qt.ShiftModifier if shift else qt.Qt.NoModifier
    at = canvas.mapToGlobal(place)
    none = qt.Qt.NoButton
    qt.QApplication.sendEvent(canvas, qt.QMouseEvent(qt.QEvent.MouseMove, place, at, none, none, keys))


def leave(host: Host, view: str) -> None:
    """Move the mouse out of a view."""
    import qt

    qt.QApplication.sendEvent(host.layout.sliceWidget(view).canvas(), qt.QEvent(qt.QEvent.Leave))


def place_of(host: Host, view: str, ras: tuple[float, float, float]) -> np.ndarray:
    """(2,) pixel, from the left and from below, at which a view shows a RAS point."""
    import slicer

    matrix = slicer.util.arrayFromVTKMatrix(host.layout.sliceWidget(view).mrmlSliceNode().GetXYToRAS())
    return np.linalg.solve(matrix, [*ras, 1.0])[:2]
