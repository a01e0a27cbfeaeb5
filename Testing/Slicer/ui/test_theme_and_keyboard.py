"""The panel in a light and in a dark window, on dense screens, and by the Tab key from top to bottom."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from helpers import clicks
from helpers.mrml_geometry import slicer
from helpers.paths import environment
from helpers.runs import Bench

pytestmark = pytest.mark.slow

READABLE = 4.5  # contrast of words, as WCAG asks for
VISIBLE = 3.0  # of large ones, and of what is drawn
THEMES = {
    "light": {"Window": "#efefef", "WindowText": "#000000", "Base": "#ffffff", "Text": "#000000", "Button": "#efefef"},
    "dark": {"Window": "#2d2d2d", "WindowText": "#e6e6e6", "Base": "#1e1e1e", "Text": "#e6e6e6", "Button": "#353535"},
}
FAILED = {
    "verdict": {"status": "failed", "reasons": ["the views hardly overlap"]},
    "jacobian": {"folding_percent": 3.0}, "seconds": {"total": 1.0}, "device": "cpu", "preset": "fast", "warnings": [],
}  # fmt: skip


@pytest.fixture(params=THEMES)
def theme(running_host: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """The application's palette is changed as Slicer's theme does it, and restored."""
    import qt

    former = slicer.app.palette()
    palette = qt.QPalette(former)
    for role, colour in THEMES[request.param].items():
        palette.setColor(getattr(qt.QPalette, role), qt.QColor(colour))
        if role == "WindowText":
            palette.setColor(qt.QPalette.ButtonText, qt.QColor(colour))
    slicer.app.setPalette(palette)
    running_host.processEvents()
    yield request.param
    slicer.app.setPalette(former)
    running_host.processEvents()


def luminance(colour: np.ndarray) -> np.ndarray:
    """Of sRGB values 0..255 (..., 3), as WCAG defines it."""
    part = np.asarray(colour, float) / 255
    return np.where(part <= 0.03928, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(first: float, second: float) -> float:
    low, high = sorted((first, second))
    return (high + 0.05) / (low + 0.05)


def hexadecimal(text: str) -> np.ndarray:
    return np.array([int(text[n : n + 2], 16) for n in (1, 3, 5)])


def picture(widget: object, *area: object) -> np.ndarray:
    """What a widget looks like, (height, width, 3)."""
    pixmap = widget.grab(*area)
    image = pixmap.toImage()
    image = image.convertToFormat(image.Format.Format_RGB888)
    data = np.frombuffer(bytes(image.constBits()), np.uint8).reshape(image.height(), image.bytesPerLine())
    return data[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def strongest(widget: object) -> float:
    """The contrast between the most frequent colour and the one that stands out most."""
    pixels = picture(widget).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    ground = float(luminance(colours[counts.argmax()]))
    return max(contrast(ground, float(value)) for value in luminance(colours))


def sections(bench: Bench) -> list[Any]:
    """The widgets of all .ui files, by name."""
    names = ("ui", "compareUi", "measureUi", "sequenceUi", "batchUi", "atlasUi")
    return [getattr(bench.widget, name) for name in names]


def opened(bench: Bench) -> None:
    """Every section, with words wherever some can be."""
    for ui in sections(bench):
        for name in [name for name in vars(ui) if name.endswith("CollapsibleButton")]:
            getattr(ui, name).collapsed = False
    bench.ui.statusLabel.text, bench.ui.statusLabel.visible = "Matching, stage 1", True
    bench.ui.logText.appendPlainText("a line")
    bench.widget.parent.resize(bench.widget.parent.sizeHint())  # until the window has laid it out
    bench.host.processEvents(0.1)


def test_all_words_can_be_read(theme: str, bench: Bench):
    """By the pixels of every label, button and field that shows words now and can be used."""
    opened(bench)
    kinds = ("Label", "Note", "Button", "ComboBox", "SpinBox", "CheckBox", "Selector", "Text")
    seen, faint = 0, {}
    for ui in sections(bench):
        for name in [name for name in vars(ui) if name.endswith(kinds) and not name.endswith("CollapsibleButton")]:
            widget = getattr(ui, name)
            empty = name.endswith(("Label", "Note")) and not widget.text
            if empty or not widget.isVisible() or not widget.isEnabled():
                continue
            seen += 1
            if (value := strongest(widget)) < READABLE:
                faint[name] = value
    assert faint == {}
    assert seen > 60
    background = picture(bench.ui.fixedVolumeLabel)[0, 0]
    assert np.abs(background.astype(int) - hexadecimal(THEMES[theme]["Window"])).max() < 4  # the theme is in force


def test_sections_have_headings_that_can_be_read(theme: str, bench: Bench):
    import qt

    opened(bench)
    for name in ("inputs", "start", "outputs", "moreOutputs", "settings", "advanced", "log"):
        heading = getattr(bench.ui, f"{name}CollapsibleButton")
        pixels = luminance(picture(heading, qt.QRect(20, 2, 140, 22)).reshape(-1, 3))
        assert contrast(float(pixels.min()), float(pixels.max())) > READABLE, name


def test_a_failure_stands_out_in_both(theme: str, bench: Bench):
    """The words have a colour, it can be read on this window, and it is not the other words' colour."""
    from PDDRegistrationLib.base.result_texts import summaryText
    from PDDRegistrationLib.base.theme import warningColour

    text = summaryText(FAILED)
    assert f'<span style="color:{warningColour()}">Failed' in text
    ground, plain = (luminance(hexadecimal(THEMES[theme][role])) for role in ("Window", "WindowText"))
    red = hexadecimal(warningColour())
    assert contrast(float(luminance(red)), float(ground)) > READABLE
    assert contrast(float(luminance(red)), float(plain)) > 1.5
    assert red[0] > 1.5 * red[1]
    bench.ui.verdictLabel.text, bench.ui.verdictLabel.visible = text, True
    bench.host.processEvents()
    pixels = picture(bench.ui.verdictLabel).reshape(-1, 3).astype(int)
    assert (np.abs(pixels - red).max(axis=1) < 12).sum() > 10


def test_no_file_names_another_colour():
    """All else takes the window's own colours."""
    import re

    folder = clicks.MODULE.parent
    files = [*folder.glob("PDDRegistrationLib/**/*.py"), *folder.glob("Resources/UI/*.ui")]
    named = {
        path.name
        for path in files
        if re.search(r"#[0-9a-fA-F]{3,8}\b|styleSheet|QColor|color:(?!\{)", path.read_text())
    }
    assert named == {"theme.py"}


def test_the_icon_has_enough_pixels_for_dense_screens(running_host: Any):
    """Slicer shows it at up to 32 points, which are 96 pixels on the densest screens; it can be seen on both themes."""
    from PIL import Image

    path = clicks.MODULE.parent / "Resources" / "Icons" / "PDDRegistration.png"
    picture = np.asarray(Image.open(path).convert("RGBA"))
    assert min(picture.shape[:2]) >= 96
    solid = picture[picture[..., 3] > 200][:, :3]
    assert (picture[..., 3] == 0).mean() > 0.2  # no box of its own
    for colours in THEMES.values():
        ground = float(luminance(hexadecimal(colours["Window"])))
        share = np.mean([contrast(ground, float(value)) > 1.9 for value in luminance(solid)])
        assert share > 0.5


SCALED = """
import sys
from host.host import startHost
host = startHost()
widget = host.loadModule({module!r})
host.processEvents(0.2)
ratio, wide = widget.parent.devicePixelRatioF(), widget.parent.width
print(ratio, wide, widget.parent.grab().width(), widget.parent.minimumSizeHint().width())
host.closeApplication()
host.close()
"""


def test_on_a_dense_screen_the_panel_has_its_size_in_points():
    """Twice the pixels, and it still fits the panel's width."""
    code = SCALED.format(module=str(clicks.MODULE))
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment(QT_SCALE_FACTOR="2"),
    )
    ratio, width, pixels, least = (float(word) for word in run.stdout.split()[-4:])
    assert (ratio, pixels) == (2.0, 2 * width)
    assert least <= width <= 500


# --- keyboard ---


def stops(bench: Bench) -> list[object]:
    """The widgets that Tab stops at, from the first volume on, down to the last one of the panel."""
    import qt

    first = bench.ui.fixedVolumeSelector.findChildren(qt.QComboBox)[0]
    found, widget = [], first
    while True:
        if bool(widget.focusPolicy & qt.Qt.TabFocus) and widget.isVisible() and widget.isEnabled():
            found.append(widget)
        widget = widget.nextInFocusChain()
        if widget is first:
            break
    return [widget for widget in found if bench.widget.parent.isAncestorOf(widget)]


def place(bench: Bench, widget: object) -> tuple[int, int]:
    """Row and column, in pixels of the panel."""
    import qt

    corner = widget.mapTo(bench.widget.parent, qt.QPoint(0, 0))
    return corner.y(), corner.x()


def test_tab_goes_from_top_to_bottom_and_from_left_to_right(bench: Bench):
    """The headings of sections are stops too; within a row the order is from left to right."""
    opened(bench)
    order = stops(bench)
    assert len(order) > 50
    start = order.index(min(order, key=lambda widget: place(bench, widget)))
    places = [place(bench, widget) for widget in order[start:] + order[:start]]
    for (y, x), (below, right) in itertools.pairwise(places):
        assert below > y - 12, (places.index((y, x)), y, below)
        assert below > y + 12 or right > x, (y, x, right)


def test_tab_leaves_out_what_is_folded_away(bench: Bench):
    for name in ("start", "moreOutputs", "advanced", "log"):
        getattr(bench.ui, f"{name}CollapsibleButton").collapsed = True
    bench.host.processEvents(0.1)
    order = stops(bench)
    hidden = (bench.ui.guideCheckBox, bench.ui.captureRangeSpinBox, bench.ui.logText, bench.ui.initialTransformSelector)
    assert not any(widget is each for widget in order for each in hidden)
    assert any(widget is bench.ui.presetComboBox for widget in order)


def test_the_run_is_started_and_cancelled_by_the_keyboard(bench: Bench):
    import qt
    from PySide6.QtTest import QTest

    def body() -> None:
        bench.ui.applyButton.setFocus()
        QTest.keyClick(bench.ui.applyButton, qt.Qt.Key_Space)
        assert bench.ui.applyButton.text == "Cancel"
        QTest.keyClick(bench.ui.applyButton, qt.Qt.Key_Space)
        assert bench.host.waitUntil(lambda: bench.ui.applyButton.text == "Apply", 60)

    with clicks.every_click_counts():
        bench.host.runInEventLoop(body)
    assert "cancel" in bench.status
    bench.check_inputs_untouched()
