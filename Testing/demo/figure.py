"""Draw a registration: both scans, the warped one, the deformed lattice, the uncertainty, in three planes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from demo import organs, outlines
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.hounsfield import PADDING_HU
from pddnet.core.image import Image
from pddnet.core.masks import body_mask
from pddnet.page import planes

WINDOW_HU = (-160, 240)
DARKER_HU = 250  # added to the window's upper end below lines and colours
LATTICE_MM = 20.0
BACKGROUND, INK, FAINT = "#0d1117", "#e6edf3", "#8b949e"
TITLES = (
    "Fixed",
    "Moving",
    "Moving, warped",
    f"Moving scan's {LATTICE_MM:.0f} mm lattice",
    "Spread of the displacement",
)


@dataclass(frozen=True)
class Case:
    """Inputs and outputs of a registration. `names`: the structure of each label; spread: the uncertainty, mm."""

    fixed: Image
    moving: Image
    warped: Image
    field: DisplacementField
    spread: Image
    fixed_labels: Image | None = None
    moving_labels: Image | None = None
    warped_labels: Image | None = None
    names: dict[int, str] = dataclasses.field(default_factory=dict)
    caption: str = ""


def draw(case: Case, path: Path) -> None:
    """Write the picture (PNG)."""
    painter = _Painter(case)
    figure = painter.paint()
    figure.savefig(path, dpi=110, facecolor=BACKGROUND)
    plt.close(figure)


class _Painter:
    """One picture on its way: the case, prepared once for all its planes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.volumes = [v.canonical() for v in (case.fixed, case.moving, case.warped)]
        given = (case.fixed_labels, case.moving_labels, case.warped_labels)
        maps = [labels.canonical() for labels in given if labels is not None]
        fixed = self.volumes[0]
        if len(maps) == len(given):
            self.colours, table = organs.group(case.names, max(int(m.array.max()) for m in maps))
            self.organs = [Image(table[m.array], m.grid) for m in maps]
            self.focus = outlines.busiest_point(self.organs[0])
        else:
            self.colours = {name: colour for name, (colour, _) in organs.TISSUES.items()}
            self.organs = [organs.tissues(v.coarsen(2.0)) for v in self.volumes]
            self.focus = fixed.grid.centre
        coarse = fixed.coarsen(2.0)
        self.body = Image(body_mask(coarse).array.astype(np.float32), coarse.grid)
        self.window = planes.window_of(self.body, self.focus)
        self.limit = max(float(np.percentile(case.spread.array, 99)), 1.0)

    def paint(self) -> Figure:
        low, high = self.window
        size = high - low
        heights = [size[down] for _, (down, _), _ in planes.VIEWS.values()]
        width = max(size[0], size[1])
        columns = len(TITLES)
        scale = 17.0 / (columns * width)  # inches per mm
        bottom, top = 0.95, 0.45
        tall = sum(heights) * scale + bottom + top
        figure = plt.figure(figsize=(17.0, tall))
        spec = figure.add_gridspec(
            3, columns, height_ratios=heights, left=0.004, right=0.996, bottom=bottom / tall, top=1 - top / tall,
            wspace=0.015, hspace=0.015,
        )  # fmt: skip
        for row, view in enumerate(planes.VIEWS):
            for column, title in enumerate(TITLES):
                axes = figure.add_subplot(spec[row, column])
                self.panel(axes, view, column)
                if row == 0:
                    axes.set_title(title, color=INK, fontsize=15, pad=8)
        self.legend(figure, tall)
        return figure

    def panel(self, axes: Axes, view: str, column: int) -> None:
        """Draw one plane of one column."""
        volume = column if column <= 2 else 0
        where = self.plane(view, moving=column == 1)
        picture = planes.scalar(self.volumes[volume], where, PADDING_HU)
        low, high = WINDOW_HU
        if column >= 3:
            high += DARKER_HU
        axes.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="bilinear")
        if column == 2:
            self.outlines(axes, 0, where, white=True)
        if column <= 2:
            self.outlines(axes, volume, where)
        if column == 3:
            self.lattice(axes, view, where)
        if column == 4:
            self.spread(axes, where)
        _frame(axes, view)

    def plane(self, view: str, *, moving: bool) -> Grid:
        """Return the plane through the focus, or through its corresponding point along the moving scan's axes."""
        focus = self.case.field.transform_points(self.focus) if moving else self.focus
        return planes.plane(view, focus, self.volumes[int(moving)].grid.direction, self.window)

    def outlines(self, axes: Axes, which: int, where: Grid, *, white: bool = False) -> None:
        """Draw the outlines of the organs of one label map in their colours, or thin and white."""
        colours = list(self.colours.values())
        for number, share in outlines.shares(self.organs[which], where).items():
            if white:
                axes.contour(share, [0.5], colors="white", linewidths=0.9, linestyles="dotted")
            else:
                axes.contour(share, [0.5], colors=colours[number - 1], linewidths=1.6)

    def lattice(self, axes: Axes, view: str, where: Grid) -> None:
        """Draw lines of equal moving coordinates on the fixed scan's plane: the warped lattice."""
        moved, known = planes.moving_coordinates(self.case.field, self.volumes[1].grid.direction, where)
        for axis in (planes.VIEWS[view][0][0], planes.VIEWS[view][1][0]):
            values = np.where(known, moved[..., axis], np.nan)
            first, last = np.nanmin(values) // LATTICE_MM, np.nanmax(values) // LATTICE_MM
            levels = np.arange(first, last + 2) * LATTICE_MM
            axes.contour(values, levels, colors="#4fd8eb", linewidths=0.9, linestyles="solid")

    def spread(self, axes: Axes, where: Grid) -> None:
        """Draw the uncertainty, the standard deviation of the displacement, in colour over the body."""
        values = planes.scalar(self.case.spread, where, np.nan)
        body = planes.scalar(self.body, where, 0)
        alpha = np.where((body > 0.5) & np.isfinite(values), 0.65, 0.0)
        self.colour_map = axes.imshow(np.nan_to_num(values), cmap="inferno", vmin=0, vmax=self.limit, alpha=alpha)

    def legend(self, figure: Figure, tall: float) -> None:
        """Draw the organ names, the colour bar and the caption."""
        lines = [Line2D([], [], color=colour, lw=3, label=name) for name, colour in self.colours.items()]
        lines.append(Line2D([], [], color="white", lw=1.2, ls="dotted", label="fixed, over warped"))
        legend = figure.legend(
            handles=lines, loc="lower left", bbox_to_anchor=(0.004, 0.34 / tall), ncol=8, frameon=False, fontsize=12,
            labelcolor=INK, handlelength=1.3, columnspacing=1.4, borderpad=0, borderaxespad=0,
        )  # fmt: skip
        legend.set_in_layout(False)
        bar = figure.add_axes((0.815, 0.62 / tall, 0.17, 0.13 / tall))
        figure.colorbar(self.colour_map, cax=bar, orientation="horizontal")
        bar.tick_params(colors=INK, labelsize=11)
        bar.set_xlabel("mm", color=INK, fontsize=11, labelpad=1)
        bar.set_facecolor("black")
        figure.text(0.004, 0.1 / tall, self.case.caption, color=FAINT, fontsize=12, va="bottom")


def _frame(axes: Axes, view: str) -> None:
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    left, right, up, down = planes.VIEWS[view][2]
    style: dict[str, Any] = {"color": FAINT, "fontsize": 10, "transform": axes.transAxes}
    axes.text(0.015, 0.5, left, ha="left", va="center", **style)
    axes.text(0.985, 0.5, right, ha="right", va="center", **style)
    axes.text(0.5, 0.985, up, ha="center", va="top", **style)
    axes.text(0.5, 0.015, down, ha="center", va="bottom", **style)
