"""ctkCollapsibleButton: a titled section whose content can be folded away."""

from __future__ import annotations

import qt
from PySide6.QtCore import Property, Signal

HEADING = 26  # pixels
UNLIMITED = 16777215  # Qt's largest height


class ctkCollapsibleButton(qt.QAbstractButton):
    """The heading is the button; the content is the widget's own layout."""

    contentsCollapsed = Signal(bool)
    cppSignals = ("contentsCollapsed(bool)",)

    _collapsed: bool = False
    _hidden: tuple[qt.QWidget, ...] = ()
    _later: qt.QTimer | None = None

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self._later = qt.QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._fold)
        self.checkable = True
        self.checked = True
        self.setContentsMargins(4, HEADING + 2, 4, 2)
        self.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
        self.toggled.connect(self._onToggled)

    def _onToggled(self, checked: bool) -> None:
        self.setCollapsed(not checked)

    def setCollapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.checked = not collapsed
        if collapsed:
            self._fold()
        else:
            for widget in self._hidden:
                widget.setVisible(True)
            self._hidden = ()
        self.setMaximumHeight(HEADING if collapsed else UNLIMITED)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)

    def _fold(self) -> None:
        """Hide all content, and remember what was not hidden already."""
        shown = [child for child in self.children() if child.isWidgetType() and not child.isHidden()]
        if self._collapsed and shown:
            self._hidden = (*self._hidden, *shown)
            for widget in shown:
                widget.setVisible(False)

    def childEvent(self, event: qt.QChildEvent) -> None:
        """Content that arrives while the section is folded (.ui files fold first, then fill) is hidden a little later:
        now it is still being constructed."""
        super().childEvent(event)
        if self._collapsed and event.added() and self._later is not None:
            self._later.start(0)

    def hitButton(self, position: qt.QPoint) -> bool:
        return position.y() < HEADING

    def sizeHint(self) -> qt.QSize:
        folded = self._collapsed or self.layout() is None
        return qt.QSize(120, HEADING) if folded else self.layout().totalSizeHint()

    def minimumSizeHint(self) -> qt.QSize:
        folded = self._collapsed or self.layout() is None
        return qt.QSize(60, HEADING) if folded else self.layout().totalMinimumSize()

    def paintEvent(self, event: qt.QPaintEvent) -> None:
        painter = qt.QPainter(self)
        heading = qt.QStyleOptionButton()
        heading.initFrom(self)
        heading.rect = qt.QRect(0, 0, self.width, HEADING)
        self.style().drawControl(qt.QStyle.CE_PushButtonBevel, heading, painter, self)
        arrow = qt.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = qt.QRect(8, (HEADING - 10) // 2, 10, 10)
        kind = qt.QStyle.PE_IndicatorArrowRight if self._collapsed else qt.QStyle.PE_IndicatorArrowDown
        self.style().drawPrimitive(kind, arrow, painter, self)
        painter.drawText(qt.QRect(26, 0, self.width - 30, HEADING), int(qt.Qt.AlignVCenter.value), self.text)
        painter.end()
