"""ctkWidgetsUtils: pictures of widgets, with what VTK drew in them."""

from __future__ import annotations

import qt


class ctkWidgetsUtils:
    """CTK's helpers; the host's views are pictures already."""

    @staticmethod
    def grabWidget(widget: qt.QWidget) -> qt.QImage:
        return widget.grab().toImage()
