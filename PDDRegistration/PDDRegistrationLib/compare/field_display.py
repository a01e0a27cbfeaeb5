"""Draw a displacement field in the slice views as a grid, as arrows or as contours (`FieldDisplay`)."""

from __future__ import annotations

import numpy as np
import slicer

from ..scene.geometry import independentCopy, movedPoints, transformBetween
from ..scene.scene_changes import SceneChanges

MODES = {"grid": "VIS_MODE_GRID", "glyphs": "VIS_MODE_GLYPH", "contours": "VIS_MODE_CONTOUR"}
ROUND_STEPS = np.array([1.0, 2.0, 5.0, 10.0])
LINES, ARROWS = 20, 30  # over the fixed volume
LEVELS = 8  # of contours, up to the largest displacement
PROBES = 15  # per axis, points at which the displacement is sampled


class FieldDisplay:
    """Draw the grid with the transform's display node, changed for a while; it bends as the moving scan does.

    Slicer draws a transform as it acts on the nodes under it: arrows and contours would start at the position of a
    point in moving space. They are drawn from a hidden inverse instead, and so start at its position in fixed space,
    where the views show it.
    """

    def __init__(self, transform: slicer.vtkMRMLTransformNode, fixedVolume: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Take the transform to draw; fixedVolume: its size sets how dense the drawing is."""
        self._transform, self._volume = transform, fixedVolume
        self.mode: str | None = None
        self._changes = SceneChanges()

    def show(self, mode: str | None) -> None:
        """Draw the 'grid', 'glyphs' (arrows) or 'contours'; None draws nothing and restores the display node."""
        self._changes.undo()
        self.mode = mode
        if mode is None:
            return
        display = self._display(self._transform if mode == "grid" else self._inverseNode())
        settings = {
            "VisualizationMode": getattr(display, MODES[mode]),
            "Visibility": True,
            "Visibility2D": True,
            "Visibility3D": False,  # it takes long, and hides the organs
            **self._spacing(mode),
        }
        for name, value in settings.items():
            self._changes.set(display, name, value)
        if mode == "contours":
            levels = contourLevels(self._largest())
            self._changes.set(display, "ContourLevelsMmFromString", levels, "GetContourLevelsMmAsString")

    def suspend(self) -> None:
        """Restore the display node until `resume`."""
        self._changes.suspend()

    def resume(self) -> None:
        """Draw the transform again."""
        self._changes.resume()

    def refresh(self) -> None:
        """Draw the transform again in its present state."""
        if self.mode is not None:
            self.show(self.mode)

    def _inverseNode(self) -> slicer.vtkMRMLTransformNode:
        """Return a hidden transform that maps to its parent as the shown one maps from the world: fixed to moving."""
        node = self._changes.add(self._transform.GetScene(), "vtkMRMLTransformNode", self._transform.GetName())
        node.SetAndObserveTransformToParent(independentCopy(transformBetween(None, self._transform)))
        return node

    def _display(self, node: slicer.vtkMRMLTransformNode) -> slicer.vtkMRMLTransformDisplayNode:
        display = self._changes.addDisplay(node)
        self._changes.set(display, "AndObserveRegionNode", self._volume, "GetRegionNode")
        if display.GetColorNode() is None:  # the views would make one, and it would stay
            display.SetDefaultColors()
            self._changes.adopt(display.GetColorNode())
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
        """Return the lowest and the highest R, A, S coordinates of the fixed volume, mm."""
        bounds = [0.0] * 6
        self._volume.GetRASBounds(bounds)
        return np.array(bounds[::2]), np.array(bounds[1::2])

    def _largest(self) -> float:
        """Return the largest displacement in the fixed volume, mm."""
        points = np.stack(np.meshgrid(*np.linspace(*self._bounds(), PROBES).T, indexing="ij"), axis=-1)
        moved = movedPoints(transformBetween(None, self._transform), points)
        return float(np.linalg.norm(moved - points, axis=-1).max())


def roundStep(length_mm: float) -> float:
    """Round a length to the nearest of 1, 2, 5, 10, 20, 50, ... mm."""
    length_mm = max(length_mm, 1e-3)
    steps = ROUND_STEPS * 10 ** np.floor(np.log10(length_mm))
    return float(steps[np.argmin(np.abs(np.log(steps / length_mm)))])


def contourLevels(largest: float) -> str:
    """List contour levels in mm up to the largest displacement, as text that the display node reads."""
    step = roundStep(largest / LEVELS)
    return " ".join(f"{step * n:g}" for n in range(1, max(int(largest / step), 1) + 1))
