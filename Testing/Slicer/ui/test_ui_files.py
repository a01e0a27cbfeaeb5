"""The .ui files, as Qt's own tools read them: every class that is not Qt's is declared."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from helpers.paths import UI


@pytest.mark.parametrize("path", sorted(UI.glob("*.ui")), ids=lambda path: path.stem)
def test_every_widget_that_is_not_qts_is_declared(path) -> None:
    """Without it Designer shows an empty widget and uic writes code that does not compile."""
    root = ET.parse(path).getroot()
    used = {widget.get("class") for widget in root.iter("widget")}
    declared = {element.findtext("class") for element in root.iter("customwidget")}
    assert declared == {name for name in used if not name.startswith("Q")}
