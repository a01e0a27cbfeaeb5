"""Draw the module's and the extension's icon: two outlines of a body, and the grid that warps one onto the other.

Usage: python tools/make_icons.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
FIXED, MOVING, GRID = "#3a7dc8", "#f0883e", "#8a929c"  # visible on light and dark panels
THIN = 72 / 64  # points: 2 pixels of an icon of 128


def body(angle: np.ndarray, width: float, height: float) -> np.ndarray:
    """A rounded outline (2, N) around the origin, at these angles (N,) in radians."""
    flat = np.abs(np.cos(angle)) ** 2.4 + np.abs(np.sin(angle)) ** 2.4
    return np.stack([width * np.cos(angle), height * np.sin(angle)]) / flat ** (1 / 2.4)


def warped(points: np.ndarray) -> np.ndarray:
    """Displace points (2, N) by a smooth field."""
    x, y = points
    return np.stack([x + 0.10 * np.sin(2.6 * y + 0.5), y + 0.09 * np.sin(2.4 * x - 0.3)])


def draw(path: Path, pixels: int) -> None:
    """Write one square icon of `pixels` x `pixels` with a transparent background."""
    figure = plt.figure(figsize=(1, 1), dpi=pixels)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.12, 1.12), ylim=(-1.12, 1.12))
    axes.axis("off")
    position = np.linspace(-0.98, 0.98, 200)
    for level in np.linspace(-0.9, 0.9, 6):
        constant = np.full_like(position, level)
        axes.plot(*warped(np.stack([position, constant])), color=GRID, lw=THIN)
        axes.plot(*warped(np.stack([constant, position])), color=GRID, lw=THIN)
    angle = np.linspace(0, 2 * np.pi, 400)
    axes.fill(*body(angle, 0.80, 0.56), facecolor=FIXED, alpha=0.35)
    axes.plot(*body(angle, 0.80, 0.56), color=FIXED, lw=5 * THIN)
    axes.plot(*warped(0.9 * body(angle, 0.80, 0.70)), color=MOVING, lw=5 * THIN)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True)
    plt.close(figure)


if __name__ == "__main__":
    draw(REPOSITORY / "PDDRegistration" / "Resources" / "Icons" / "PDDRegistration.png", 128)
    draw(REPOSITORY / "Resources" / "PDDRegistration.png", 256)
