"""Classes that only files of Slicer's own name, parameterNodeWrapper and CompareVolumes; here they only exist."""

from __future__ import annotations

import qt


class ctkCheckBox(qt.QCheckBox):
    """CTK's check box."""


class ctkCheckablePushButton(qt.QPushButton):
    """CTK's push button with a check box."""


class ctkColorPickerButton(qt.QPushButton):
    """CTK's button that opens a colour dialog."""


class ctkComboBox(qt.QComboBox):
    """CTK's combo box with a default text."""


class ctkDirectoryButton(qt.QPushButton):
    """CTK's button that opens a folder dialog."""


class ctkDoubleRangeSlider(qt.QWidget):
    """CTK's slider with two handles."""


class ctkDoubleSlider(qt.QWidget):
    """CTK's slider of floats."""


class ctkRangeWidget(qt.QWidget):
    """CTK's two-handled slider with spin boxes."""


class qMRMLSliderWidget(qt.QWidget):
    """Slicer's slider with units."""


class qMRMLSpinBox(qt.QDoubleSpinBox):
    """Slicer's spin box with units."""


class qMRMLRangeWidget(ctkRangeWidget):
    """Slicer's range widget with units."""


class qMRMLUtils(qt.QObject):
    """Converts pictures for the reveal cursor, which the host never draws."""
