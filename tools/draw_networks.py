"""Draw the networks of the source papers as boxes and arrows, into Resources/networks.png.

Usage: python tools/draw_networks.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

OUT = Path(__file__).resolve().parents[1] / "Resources" / "networks.png"
WIDTH, HEIGHT = 1.75, 0.72  # of a box, in steps of columns and rows below
COLOURS = {"scan": "#d9d9d9", "learned": "#9ecae1", "fixed": "#fdd0a2", "field": "#a1d99b"}
Place = tuple[float, float]
Boxes = dict[Place, tuple[str, str]]  # by column and row: text, colour
SCANS: Boxes = {(0, 0): ("fixed", "scan"), (0, 1): ("moving, aligned", "scan")}

FLOWNET: tuple[str, Boxes] = (
    "FlowNet-C",
    {
        (1, 0): ("OBELISK\nfeatures", "learned"),
        (1, 1): ("OBELISK\nfeatures", "learned"),
        (2, 0.5): ("correlation:\n15³ displacements", "fixed"),
        (3, 0.5): ("five convolutions\non 3375 channels", "learned"),
        (4, 0.5): ("displacements", "field"),
    },
)
GUIDED: tuple[str, Boxes] = (
    "Ha et al., guided, guided with skips",
    {
        (1, 0): ("segmentation\nU-Net", "learned"),
        (1, 1): ("segmentation\nU-Net, the same", "learned"),
        (2, 0.5): ("registration\nnetwork 1", "learned"),
        (3, 0.5): ("warp the moving\nstructures", "fixed"),
        (4, 0.5): ("network 2: fixed,\nwarped structures", "learned"),
        (5, 0.5): ("displacements\n1 + 2", "field"),
    },
)
SVF: tuple[str, Boxes] = (
    "SVF-Net",
    {
        (1, 0.5): ("U-Net on\nboth scans", "learned"),
        (2, 0.5): ("stationary\nvelocity v", "field"),
        (3, 0): ("exp(v), scaling\nand squaring", "fixed"),
        (3, 1): ("exp(-v)", "fixed"),
        (4, 0): ("displacements", "field"),
        (4, 1): ("their inverse", "field"),
    },
)
PWC: tuple[str, Boxes] = (
    "PWC",
    {
        (1, 0): ("U-Net: maps\nof two levels", "learned"),
        (1, 1): ("U-Net,\nthe same", "learned"),
        (2, 0.5): ("cost volume,\n5³ displacements", "fixed"),
        (3, 0.5): ("convolutions:\na coarse field", "learned"),
        (4, 0.5): ("warp finer maps,\ncost volume, 5³", "fixed"),
        (5, 0.5): ("convolutions, then\ndilated ones", "learned"),
        (6, 0.5): ("displacements", "field"),
    },
)


def main() -> None:
    """Draw the four kinds below each other."""
    figure, panels = plt.subplots(4, 1, figsize=(12.7, 10), facecolor="white")
    for axes, (name, boxes) in zip(panels, (FLOWNET, GUIDED, SVF, PWC), strict=True):
        draw(axes, name, SCANS | boxes)
    handles = [plt.Rectangle((0, 0), 1, 1, facecolor=colour) for colour in COLOURS.values()]
    names = ("scan", "learned", "computed, nothing learned", "what is predicted")
    figure.legend(handles, names, loc="lower center", ncol=4, frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(OUT, dpi=90)


def draw(axes: Axes, name: str, boxes: Boxes) -> None:
    """Draw one network: time runs to the right, from each box to those of the next column less than a row away."""
    for (column, row), (text, colour) in boxes.items():
        x, y = 2.2 * column, -row
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        style = "round,pad=0.02,rounding_size=0.08"
        axes.add_patch(
            FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=style, facecolor=COLOURS[colour], edgecolor="#555555")
        )
        axes.text(x, y, text, ha="center", va="center", fontsize=9)
    near = [(a, b) for a in boxes for b in boxes if b[0] == a[0] + 1 and abs(b[1] - a[1]) < 1]
    for start, end in near:
        begin, stop = (2.2 * start[0] + WIDTH / 2, -start[1]), (2.2 * end[0] - WIDTH / 2, -end[1])
        axes.annotate("", stop, begin, arrowprops={"arrowstyle": "->", "color": "#333333"})
    axes.set_title(name, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlim(-1.1, 14.3)
    axes.set_ylim(-1.6, 0.6)
    axes.axis("off")


if __name__ == "__main__":
    main()
