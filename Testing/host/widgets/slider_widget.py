"""ctkSliderWidget and ctkDoubleSpinBox."""

from __future__ import annotations

import qt
from PySide6.QtCore import Property, Signal


class ctkDoubleSpinBox(qt.QDoubleSpinBox):
    """CTK's spin box, as far as it is Qt's."""


class ctkSliderWidget(qt.QWidget):
    """A slider of floats with a spin box beside it."""

    valueChanged = Signal(float)
    cppSignals = ("valueChanged(double)",)

    _slider: qt.QSlider | None = None
    _box: qt.QDoubleSpinBox | None = None

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = qt.QSlider(qt.Qt.Horizontal, self)
        self._box = qt.QDoubleSpinBox(self)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._box)
        self._slider.valueChanged.connect(self._onSlider)
        self._box.valueChanged.connect(self._onBox)
        self.setRange(0.0, 99.0)

    def _onSlider(self, position: int) -> None:
        self._box.value = self._box.minimum + position * self._box.singleStep

    def _onBox(self, value: float) -> None:
        self._showInSlider()
        self.valueChanged.emit(value)

    def _showInSlider(self) -> None:
        box, blocked = self._box, self._slider.blockSignals(True)
        self._slider.setRange(0, max(0, round((box.maximum - box.minimum) / box.singleStep)))
        self._slider.value = round((box.value - box.minimum) / box.singleStep)
        self._slider.blockSignals(blocked)

    def _setInBox(self, name: str, value: float) -> None:
        setattr(self._box, name, value)
        self._showInSlider()

    def setValue(self, value: float) -> None:
        self._box.value = value

    def setRange(self, minimum: float, maximum: float) -> None:
        self._box.setRange(minimum, maximum)
        self._showInSlider()

    value = Property(float, lambda self: self._box.value, setValue)
    minimum = Property(float, lambda self: self._box.minimum, lambda self, value: self._setInBox("minimum", value))
    maximum = Property(float, lambda self: self._box.maximum, lambda self, value: self._setInBox("maximum", value))
    singleStep = Property(float, lambda self: self._box.singleStep, lambda self, v: self._setInBox("singleStep", v))
    decimals = Property(int, lambda self: self._box.decimals, lambda self, value: self._setInBox("decimals", value))
    suffix = Property(str, lambda self: self._box.suffix, lambda self, value: self._setInBox("suffix", value))
