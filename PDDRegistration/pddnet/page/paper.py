"""Sheets of A4 that are filled from the top with text, lines and pictures, by matplotlib (`Paper`)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .template import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

# All lengths are in points, of which an inch has 72, from the upper left corner of the sheet.
INCH = 72.0
SHEET = 595.28, 841.89
LEFT, TOP, BOTTOM = 43.0, 40.0, 48.0  # margins; the sheet's foot stands in the lower one
WIDTH = SHEET[0] - 2 * LEFT
FAMILY = "DejaVu Sans"  # comes with matplotlib
LEADING = 1.4  # of a line, as a multiple of the type's size
_BASELINE = 1.0  # below the line's top, in the same unit


@dataclass(frozen=True)
class Type:
    """How text is set."""

    size: float
    colour: str = "ink"  # see `template.COLOURS`
    bold: bool = False

    @property
    def line(self) -> float:
        """Return the height of a line."""
        return self.size * LEADING


_FOOT = Type(7.0, "soft")


@lru_cache(maxsize=10000)
def width_of(text: str, type_: Type) -> float:
    """Measure a line of text."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FAMILY, size=type_.size, weight="bold" if type_.bold else "normal")
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def wrapped(text: str, type_: Type, width: float) -> list[str]:
    """Break text into lines of at most this width, between words; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, type_) <= width:
            lines[-1] = longer
        else:
            lines += _cut(word, type_, width)
    return lines or [""]


def _cut(word: str, type_: Type, width: float) -> list[str]:
    parts = [""]
    for letter in word:
        if parts[-1] and width_of(parts[-1] + letter, type_) > width:
            parts.append("")
        parts[-1] += letter
    return parts


class Paper:
    """Sheets of paper, and the place `y` down to which the last one is filled."""

    def __init__(self) -> None:
        self.sheets: list[Figure] = []
        self.new_sheet()

    @property
    def room(self) -> float:
        """Return the height that is left on the sheet."""
        return SHEET[1] - BOTTOM - self.y

    @property
    def is_fresh(self) -> bool:
        """Return whether nothing stands on the sheet yet."""
        return self.y == TOP

    def new_sheet(self) -> None:
        """Go on at the top of another sheet."""
        from matplotlib.figure import Figure

        self.sheets.append(Figure(figsize=(SHEET[0] / INCH, SHEET[1] / INCH), facecolor="white"))
        self.y = TOP

    def need(self, height: float) -> None:
        """Begin another sheet where this height is not left."""
        if height > self.room and not self.is_fresh:
            self.new_sheet()

    def skip(self, height: float) -> None:
        """Leave room, but not at the top of a sheet."""
        if not self.is_fresh:
            self.y += height

    def text(self, x: float, y: float, text: str, type_: Type, align: str = "left") -> None:
        """Write one line whose top is `y`; align: which side of it, or its center, is at `x`."""
        _write(self.sheets[-1], x, y, text, type_, align)

    def lines(self, x: float, y: float, lines: list[str], type_: Type, align: str = "left") -> float:
        """Write lines from `y` down; return where they end."""
        for line in lines:
            self.text(x, y, line, type_, align)
            y += type_.line
        return y

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle."""
        from matplotlib.patches import Rectangle

        sheet = self.sheets[-1]
        shape = Rectangle((x, y), width, height, transform=_points(sheet), color=COLOURS[colour], linewidth=0)
        sheet.add_artist(shape)

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """Draw a filled circle around a point."""
        from matplotlib.patches import Circle

        sheet = self.sheets[-1]
        sheet.add_artist(Circle((x, y), radius, transform=_points(sheet), color=COLOURS[colour], linewidth=0))

    def rule(self, y: float, colour: str, thickness: float = 0.6) -> None:
        """Draw a line across the sheet."""
        self.box(LEFT, y - thickness / 2, WIDTH, thickness, colour)

    def image(self, x: float, y: float, width: float, height: float, pixels: np.ndarray) -> None:
        """Show pixels (rows, columns, 3), uint8, as they are."""
        place = x / SHEET[0], 1.0 - (y + height) / SHEET[1], width / SHEET[0], height / SHEET[1]
        axes = self.sheets[-1].add_axes(place)
        axes.set_axis_off()
        axes.imshow(pixels, interpolation="none", aspect="auto")

    def number(self, title: str) -> None:
        """Write the title, or its first words, and the number of each sheet at its foot."""
        short = wrapped(title, _FOOT, WIDTH - 60.0)[0]
        y = SHEET[1] - BOTTOM + 14.0
        for number, sheet in enumerate(self.sheets, 1):
            _write(sheet, LEFT, y, short, _FOOT, "left")
            _write(sheet, LEFT + WIDTH, y, f"{number} of {len(self.sheets)}", _FOOT, "right")

    def pdf(self, *, title: str, creator: str) -> bytes:
        """Return the sheets as a PDF file."""
        import matplotlib
        from matplotlib.backends.backend_pdf import PdfPages

        file = io.BytesIO()
        with (
            matplotlib.rc_context({"pdf.fonttype": 42}),
            PdfPages(file, metadata={"Title": title, "Creator": creator}) as pages,
        ):
            for sheet in self.sheets:
                pages.savefig(sheet)
        return file.getvalue()


def _points(sheet: Figure) -> Transform:
    """Return what maps points of the sheet to the figure's pixels."""
    from matplotlib.transforms import Affine2D

    return Affine2D().scale(1.0 / INCH, -1.0 / INCH).translate(0.0, SHEET[1] / INCH) + sheet.dpi_scale_trans


def _write(sheet: Figure, x: float, y: float, text: str, type_: Type, align: str) -> None:
    sheet.text(
        x,
        y + _BASELINE * type_.size,
        text,
        transform=_points(sheet),
        family=FAMILY,
        fontsize=type_.size,
        weight="bold" if type_.bold else "normal",
        color=COLOURS[type_.colour],
        ha=align,
        va="baseline",
        parse_math=False,
    )
