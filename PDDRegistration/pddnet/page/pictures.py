"""Draw the pictures of a registration's page in three planes: scans, overlays, deformation grid, expected error.

matplotlib is imported only when something is drawn: the library runs without it.
"""

from __future__ import annotations

import importlib.util
import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.hounsfield import PADDING_HU
from ..core.image import Image
from ..core.masks import body_mask
from ..errors import InputError
from . import planes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..core.grid import Grid

WINDOW_HU = (-160.0, 240.0)
OTHER_WINDOW = (1.0, 99.0)  # percentiles, of scans without Hounsfield units
LATTICE_MM = 20.0
WIDTH_INCHES, DPI = 7.4, 170
GAP_INCHES = 0.04
BODY_MM = 4.0  # voxels in which the body is looked for
FIXED_COLOUR, MOVING_COLOUR = np.array([1.0, 0.55, 0.1]), np.array([0.0, 0.45, 0.9])  # their sum is white
LINES = "#5fd0e6"
FAINT = "#a9b3be"


def check_matplotlib(option: str) -> None:
    """Raise InputError where matplotlib, which draws the pictures for `option`, is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            f"{option} draws with matplotlib, which is not installed; install it (pip install matplotlib) or leave "
            "the option out"
        )


@dataclass(frozen=True)
class Picture:
    """PNG file with what it shows: a title over each of its columns, which are equally wide, and a sentence."""

    titles: tuple[str, ...]
    caption: str
    png: bytes


@dataclass(frozen=True)
class Subject:
    """What is drawn: two scans and their registration.

    Attributes:
        transform: fixed to moving points, LPS mm.
        field: the same, sampled on a grid over the fixed scan.
        error, spread: expected error and uncertainty, mm, on any grid; the first that is known is drawn.
        start: what 'before' means, fixed to moving points; None: where the scans lie.
        hu: whether the scans are in Hounsfield units.
    """

    fixed: Image
    moving: Image
    transform: sitk.Transform
    field: DisplacementField
    error: Image | None = None
    spread: Image | None = None
    start: sitk.Transform | None = None
    hu: bool = True

    @cached_property
    def scans(self) -> tuple[Image, Image]:
        """Both scans with their axes along the patient's."""
        return self.fixed.canonical(), self.moving.canonical()

    @cached_property
    def body(self) -> Image:
        """Mark the fixed body, 0 or 1; everything where there are no Hounsfield units, or no body is found."""
        coarse = self.scans[0].coarsen(BODY_MM)
        found = body_mask(coarse).array if self.hu else np.zeros(coarse.grid.shape, bool)
        return Image((found if found.any() else ~found).astype(np.float32), coarse.grid)

    @cached_property
    def focus(self) -> np.ndarray:
        """Return the point, (3,) LPS mm, through which the planes go: the middle of the body that both scans show."""
        points = self.body.grid.points()[self.body.array > 0]
        shared = points[self.moving.grid.contains(self.field.transform_points(points))]
        return np.asarray((shared if len(shared) else points).mean(axis=0))

    @cached_property
    def window(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how far the planes reach from the focus, see `planes.plane`."""
        return planes.window_of(self.body, self.focus)

    def fixed_plane(self, view: str, pixel_mm: float = planes.PIXEL_MM) -> Grid:
        """Return a plane through the focus."""
        return planes.plane(view, self.focus, self.scans[0].grid.direction, self.window, pixel_mm)

    def moving_plane(self, view: str) -> Grid:
        """Return the plane along the moving scan's own axes through the point that corresponds to the focus."""
        focus = self.field.transform_points(self.focus)
        return planes.plane(view, focus, self.scans[1].grid.direction, self.window)

    def grey(self, which: int, where: Grid, transform: sitk.Transform | None = None) -> np.ndarray:
        """Cut a scan (0 fixed, 1 moving) along a plane: (rows, columns), 0 black to 1 white."""
        low, high = self._levels[which]
        fill = PADDING_HU if self.hu else float(self.scans[which].array.min())
        values = self.scans[which].resample(where, transform, fill=fill).array[0].astype(np.float64)
        return np.clip((values - low) / (high - low), 0.0, 1.0)

    @cached_property
    def _levels(self) -> list[tuple[float, float]]:
        if self.hu:
            return [WINDOW_HU, WINDOW_HU]
        ends = [np.percentile(scan.array, OTHER_WINDOW) for scan in self.scans]
        return [(float(low), float(max(high, low + 1e-6))) for low, high in ends]


def draw(subject: Subject) -> list[Picture]:
    """Draw the pictures of the page.

    Raises:
        ImportError: matplotlib is not installed, see `check_matplotlib`.
    """
    scans = {"Fixed scan": _fixed, "Moving scan": _moving, "Moving scan, registered": _registered}
    checks: dict[str, Callable[[Axes, Subject, str], None]] = {
        "Overlay before": _overlay_before,
        "Overlay after": _overlay_after,
        f"Grid of {LATTICE_MM:.0f} mm": _grid,
    }
    told = ""
    values = subject.error or subject.spread
    if values is not None:
        title = "Expected error" if subject.error else "Spread"
        meaning = "80 % of the errors lie below it" if subject.error else "the standard deviation of the displacement"
        told = f" The {title.lower()} is drawn over the body: {meaning}."
        checks[f"{title} (mm)"] = _values(values, subject)
    return [
        Picture(
            tuple(scans),
            "The fixed scan; the moving scan along its own axes, through the point that corresponds; and the moving "
            "scan laid over the fixed one. Axial, coronal, sagittal.",
            _png(subject, scans),
        ),
        Picture(
            tuple(checks),
            "Overlays show the fixed scan orange and the moving scan blue; where both agree they are grey. The lines "
            f"are the moving scan's {LATTICE_MM:.0f} mm grid as the transform bends it.{told}",
            _png(subject, checks),
        ),
    ]


def _png(subject: Subject, columns: Mapping[str, Callable[[Axes, Subject, str], None]]) -> bytes:
    """Draw one row for each plane, one column for each entry."""
    from matplotlib.figure import Figure

    low, high = subject.window
    tall_mm = [float((high - low)[down]) for _, (down, _), _ in planes.VIEWS.values()]
    wide_mm = float(max((high - low)[:2]))
    count = len(columns)
    cell = (WIDTH_INCHES - GAP_INCHES * (count - 1)) / count
    heights = [mm * cell / wide_mm for mm in tall_mm]
    height = sum(heights) + GAP_INCHES * (len(heights) - 1)
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, facecolor="white")
    top = height
    for view, tall in zip(planes.VIEWS, heights, strict=True):
        for column, paint in enumerate(columns.values()):
            left = column * (cell + GAP_INCHES)
            axes = _axes(figure, (left, top - tall, cell, tall), view)
            paint(axes, subject, view)
        top -= tall + GAP_INCHES
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _axes(figure: Figure, place: tuple[float, float, float, float], view: str) -> Axes:
    """Add black axes at (left, bottom, width, height) inches, with letters for the patient's sides."""
    from matplotlib.patheffects import withStroke

    width, height = figure.get_size_inches()
    left, bottom, wide, tall = place
    axes = figure.add_axes((left / width, bottom / height, wide / width, tall / height))
    axes.set_facecolor("black")
    axes.set(xticks=[], yticks=[])
    axes.set_adjustable("datalim")
    for side in axes.spines.values():
        side.set_visible(False)
    sides = [(0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")]
    ends = [(0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom")]
    for letter, (x, y, across, along) in zip(planes.VIEWS[view][2], sides + ends, strict=True):
        text = axes.text(x, y, letter, ha=across, va=along, color=FAINT, fontsize=6.5, transform=axes.transAxes)
        text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
    return axes


def _show(axes: Axes, picture: np.ndarray) -> None:
    """Show grey (rows, columns) or coloured (rows, columns, 3) values, 0..1."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")


def _fixed(axes: Axes, subject: Subject, view: str) -> None:
    _show(axes, subject.grey(0, subject.fixed_plane(view)))


def _moving(axes: Axes, subject: Subject, view: str) -> None:
    _show(axes, subject.grey(1, subject.moving_plane(view)))


def _registered(axes: Axes, subject: Subject, view: str) -> None:
    _show(axes, subject.grey(1, subject.fixed_plane(view), subject.transform))


def _overlay_before(axes: Axes, subject: Subject, view: str) -> None:
    _overlay(axes, subject, view, subject.start)


def _overlay_after(axes: Axes, subject: Subject, view: str) -> None:
    _overlay(axes, subject, view, subject.transform)


def _overlay(axes: Axes, subject: Subject, view: str, transform: sitk.Transform | None) -> None:
    _show(axes, overlay(subject, subject.fixed_plane(view), transform))


def overlay(subject: Subject, where: Grid, transform: sitk.Transform | None) -> np.ndarray:
    """Lay the moving scan over the fixed one on a plane: (rows, columns, 3), 0..1; grey where they agree."""
    fixed, moving = subject.grey(0, where), subject.grey(1, where, transform)
    return fixed[..., None] * FIXED_COLOUR + moving[..., None] * MOVING_COLOUR


def _grid(axes: Axes, subject: Subject, view: str) -> None:
    """Draw lines of equal moving coordinates on the dimmed fixed scan."""
    where = subject.fixed_plane(view)
    _show(axes, 0.6 * subject.grey(0, where))
    moved, known = planes.moving_coordinates(subject.field, subject.scans[1].grid.direction, where)
    if not known.any():
        return
    for axis in (planes.VIEWS[view][0][0], planes.VIEWS[view][1][0]):
        values = np.where(known, moved[..., axis], np.nan)
        first, last = np.nanmin(values) // LATTICE_MM, np.nanmax(values) // LATTICE_MM
        levels = np.arange(first, last + 2) * LATTICE_MM
        axes.contour(values, levels, colors=LINES, linewidths=0.5, linestyles="solid")


def _values(image: Image, subject: Subject) -> Callable[[Axes, Subject, str], None]:
    """Draw a map in mm in colour over the body, with its scale in the first plane."""
    inside = subject.body.resample(image.grid).array > 0.5
    most = max(float(np.percentile(image.array[inside], 98)) if inside.any() else 0.0, 1.0)

    def paint(axes: Axes, subject: Subject, view: str) -> None:
        where = subject.fixed_plane(view)
        _show(axes, subject.grey(0, where))
        shown = planes.scalar(subject.body, where, 0) > 0.5
        values = np.ma.array(planes.scalar(image, where, 0), mask=~shown)
        painted = axes.imshow(values, cmap="inferno", vmin=0, vmax=most, alpha=0.6, interpolation="bilinear")
        if view == "axial":
            bar = axes.inset_axes((0.66, 0.1, 0.3, 0.03))
            axes.figure.colorbar(painted, cax=bar, orientation="horizontal", ticks=[0, most])
            bar.set_xticklabels(["0", f"{most:.2g}" if most < 10 else f"{most:.0f}"])
            bar.tick_params(colors="white", labelsize=6, length=0, pad=1)
            bar.patch.set_visible(False)

    return paint
