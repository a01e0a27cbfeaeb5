"""`FieldDisplay`: a transform drawn in the slice views as a grid, as arrows or as contours, with one call."""

from __future__ import annotations

import numpy as np
import slicer

from ..scene.geometry import movedPoints, transformBetween
from ..scene.proxies import ownCopy
from ..scene.scene_changes import Borrowed

MODES = {"grid": "VIS_MODE_GRID", "glyphs": "VIS_MODE_GLYPH", "contours": "VIS_MODE_CONTOUR"}
ROUND = np.array([1.0, 2.0, 5.0, 10.0])
LINES, ARROWS, LEVELS = 20, 30, 8  # over the fixed volume; over the largest displacement
PROBES = 15  # per axis, points at which the displacement is looked at


class FieldDisplay:
    """Borrows the transform's display node for the grid, which bends as the moving scan does.

    Slicer draws a transform as it acts on what lies under it: arrows and contours would stand where the moving scan has
    a point before it is moved. They are drawn of a hidden inverse, and so stand where the views show it.
    """

    def __init__(self, transform: slicer.vtkMRMLTransformNode, fixedVolume: slicer.vtkMRMLScalarVolumeNode) -> None:
        """fixedVolume: its size says how dense to draw."""
        self._transform, self._volume = transform, fixedVolume
        self.mode: str | None = None
        self._borrowed = Borrowed()

    def show(self, mode: str | None) -> None:
        """'grid', 'glyphs' or 'contours'; None draws nothing and gives the display node back as it was."""
        self._borrowed.giveBack()
        self.mode = mode
        if mode is None:
            return
        display = self._display(self._transform if mode == "grid" else self._inverse())
        settings = {
            "VisualizationMode": getattr(display, MODES[mode]),
            "Visibility": True,
            "Visibility2D": True,
            "Visibility3D": False,  # it takes long, and hides the organs
            **self._spacing(mode),
        }
        for name, value in settings.items():
            self._borrowed.set(display, name, value)
        if mode == "contours":
            levels = contourLevels(self._largest())
            self._borrowed.set(display, "ContourLevelsMmFromString", levels, "GetContourLevelsMmAsString")

    def refresh(self) -> None:
        """Draw the transform as it is now."""
        if self.mode is not None:
            self.show(self.mode)

    def close(self) -> None:
        """As `show(None)`."""
        self.show(None)

    def _inverse(self) -> slicer.vtkMRMLTransformNode:
        """To its parent as the transform is from the world: fixed to moving."""
        node = self._borrowed.add(self._transform.GetScene(), "vtkMRMLTransformNode", self._transform.GetName())
        node.SetAndObserveTransformToParent(ownCopy(transformBetween(None, self._transform)))
        return node

    def _display(self, node: slicer.vtkMRMLTransformNode) -> slicer.vtkMRMLTransformDisplayNode:
        display = self._borrowed.addDisplay(node)
        self._borrowed.set(display, "AndObserveRegionNode", self._volume, "GetRegionNode")
        if display.GetColorNode() is None:  # the views would make one, and it would stay
            display.SetDefaultColors()
            self._borrowed.adopt(display.GetColorNode())
        return display

    def _spacing(self, mode: str) -> dict[str, float]:
        low, high = self._bounds()
        size = float(np.median(high - low))
        if mode == "grid":
            spacing = roundStep(size / LINES)
            return {"GridSpacingMm": spacing, "GridResolutionMm": spacing / 4, "GridScalePercent": 100.0}
        if mode == "glyphs":
            return {"GlyphSpacingMm": roundStep(size / ARROWS), "GlyphScalePercent": 100.0}
        return {}

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest R, A, S of the fixed volume, mm."""
        bounds = [0.0] * 6
        self._volume.GetRASBounds(bounds)
        return np.array(bounds[::2]), np.array(bounds[1::2])

    def _largest(self) -> float:
        """The largest displacement in mm in the fixed volume."""
        points = np.stack(np.meshgrid(*np.linspace(*self._bounds(), PROBES).T, indexing="ij"), axis=-1)
        moved = movedPoints(transformBetween(None, self._transform), points)
        return float(np.linalg.norm(moved - points, axis=-1).max())


def roundStep(millimetres: float) -> float:
    """The nearest of 1, 2, 5, 10, 20, 50, ..."""
    power = 10 ** np.floor(np.log10(max(millimetres, 1e-3)))
    return float(ROUND[np.argmin(np.abs(np.log(ROUND * power / max(millimetres, 1e-3))))] * power)


def contourLevels(largest: float) -> str:
    """Levels in mm, up to the largest displacement, as the display node reads them."""
    step = roundStep(largest / LEVELS)
    return " ".join(f"{step * n:g}" for n in range(1, max(int(largest / step), 1) + 1))
