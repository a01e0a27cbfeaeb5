"""`ctk`: the widgets of CTK that scripted modules use most, with CTK's names, properties and signals."""

from __future__ import annotations

from host.widgets.collapsible_button import ctkCollapsibleButton
from host.widgets.grab import ctkWidgetsUtils
from host.widgets.message_box import ctkMessageBox
from host.widgets.path_line_edit import ctkPathLineEdit
from host.widgets.slider_widget import ctkDoubleSpinBox, ctkSliderWidget
from host.widgets.unused import (
    ctkCheckablePushButton,
    ctkCheckBox,
    ctkColorPickerButton,
    ctkComboBox,
    ctkDirectoryButton,
    ctkDoubleRangeSlider,
    ctkDoubleSlider,
    ctkRangeWidget,
)

__all__ = [
    "ctkCheckBox",
    "ctkCheckablePushButton",
    "ctkCollapsibleButton",
    "ctkColorPickerButton",
    "ctkComboBox",
    "ctkDirectoryButton",
    "ctkDoubleRangeSlider",
    "ctkDoubleSlider",
    "ctkDoubleSpinBox",
    "ctkMessageBox",
    "ctkPathLineEdit",
    "ctkRangeWidget",
    "ctkSliderWidget",
    "ctkWidgetsUtils",
]
