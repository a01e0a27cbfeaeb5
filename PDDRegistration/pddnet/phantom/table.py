"""Paint the scanner's table: two thin shells, the upper one hollow and the lower one bevelled, with foam between.

Two functions use these numbers, because they paint on different grids: `paint_table` here on a virtual patient's
oblique grid, without torch; `synthesis.arms_and_table.add_table` under any body in a scan along LPS, on half voxels.
"""

from __future__ import annotations

import numpy as np

from ..core.grid import Grid
from .canvas import Canvas, Tissue

SHELL_HU, FOAM_HU = 90.0, -965.0
HALF_WIDTH_MM = 215.0
CURVATURE_PER_MM = 0.0005  # the upper shell rises with the square of the distance from its middle
BEVEL_START_MM, BEVEL_WIDTH_MM = 110.0, 100.0  # from the middle: where the lower shell begins to rise to the upper one
DEPTH_MM = 30.0  # from shell to shell
HALF_SHELL_MM = 1.8


def paint_table(canvas: Canvas) -> None:
    """Paint the table under the patient's back, in its own frame along LPS; later tissues are painted over it."""
    heights = np.linspace(-220, 240, 24)
    back = canvas.body.profile("muscle_back", heights) + canvas.body.profile("fat", heights) * 0.85
    spine = canvas.body.to_table(np.column_stack([0 * heights, back, heights]))
    middle, top = spine[:, 0].mean(), spine[:, 1].max() + 3
    across = np.abs(_component(canvas.grid, 0) - middle)
    depth = _component(canvas.grid, 1) - top
    upper = depth + CURVATURE_PER_MM * across**2 - 1.5
    lower = depth - (DEPTH_MM + 2) + DEPTH_MM * np.clip((across - BEVEL_START_MM) / BEVEL_WIDTH_MM, 0, 1)
    board = across < HALF_WIDTH_MM
    foam = board & (upper > 1.5) & (lower < -1.5)
    shells = board & ((np.abs(upper) < HALF_SHELL_MM) | (np.abs(lower) < 1.5)) & (upper > -2)
    canvas.paint(canvas.whole, foam, Tissue(FOAM_HU, 4))
    canvas.paint(canvas.whole, shells, Tissue(SHELL_HU, 30))


def _component(grid: Grid, axis: int) -> np.ndarray:
    """Return (D, H, W) LPS mm: x, y or z of every voxel; the other coordinates are not computed."""
    i, j, k = (np.arange(n) * step for n, step in zip(grid.size, grid.axes[axis], strict=True))
    return (grid.origin[axis] + k[:, None, None] + j[:, None] + i).astype(np.float32)
