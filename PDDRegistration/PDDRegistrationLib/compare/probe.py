"""Read displacement, Jacobian determinant, uncertainty and expected error under the crosshair (`Probe`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import slicer
from scipy import ndimage
from slicer.i18n import tr as _

from pddnet.core.image import Image

from ..scene.geometry import RAS_LPS, arrayFromMatrix, movedPoints, transformBetween
from .crosshair_place import ToFixed

STEP = 1.0  # mm, of the derivative where the transform has no voxels


@dataclass(frozen=True)
class Values:
    """Values at one point of fixed space: displacement (3,) mm RAS, Jacobian determinant; if known, uncertainty and
    expected error, mm."""

    displacement: np.ndarray
    jacobian: float
    uncertainty: float | None = None
    expectedError: float | None = None


def valuesAt(
    transform: slicer.vtkMRMLTransformNode,
    point: np.ndarray,
    uncertainty: Image | None = None,
    expectedError: Image | None = None,
) -> Values:
    """Evaluate any transform node, with its parents, at a RAS point of the world; the images are in LPS mm.

    The node maps the world to the coordinates under it, fixed to moving. The derivative reaches one voxel of a grid
    transform to either side, as the Jacobian map does, otherwise 1 mm.
    """
    steps = _steps(transform)
    offsets = np.concatenate([np.zeros((1, 3)), steps, -steps])
    moved = movedPoints(transformBetween(None, transform), np.asarray(point) + offsets)
    slopes = (moved[1:4] - moved[4:]) / 2  # rows: along each step
    jacobian = float(np.linalg.det(slopes) / np.linalg.det(steps))
    maps = (None if image is None else _sample(image, point) for image in (uncertainty, expectedError))
    return Values(moved[0] - point, jacobian, *maps)


def valuesText(values: Values) -> str:
    """Format the values as the text of a label."""
    right, anterior, superior = values.displacement
    parts = [
        _("displacement {length} mm (R {right}, A {anterior}, S {superior})").format(
            length=f"{np.linalg.norm(values.displacement):.1f}",
            right=f"{right:.1f}",
            anterior=f"{anterior:.1f}",
            superior=f"{superior:.1f}",
        ),
        _("Jacobian {value}").format(value=f"{values.jacobian:.2f}") + (_(" (folded)") if values.jacobian <= 0 else ""),
    ]
    if values.uncertainty is not None:
        parts.append(_("spread {value} mm").format(value=f"{values.uncertainty:.1f}"))
    if values.expectedError is not None:
        parts.append(_("expected error {value} mm").format(value=f"{values.expectedError:.1f}"))
    return "; ".join(parts)


class Probe:
    """Observe the crosshair until `close`; `onText` gets the values as text, empty while the mouse is in no view."""

    def __init__(
        self,
        transform: slicer.vtkMRMLTransformNode,
        onText: Callable[[str], None],
        uncertainty: Image | None = None,
        expectedError: Image | None = None,
        toFixed: ToFixed = lambda point, view: point,
    ) -> None:
        """Take a result; toFixed: turns a RAS point of a view into one of fixed space, None where there is none."""
        self._transform, self._onText, self._maps = transform, onText, (uncertainty, expectedError)
        self._toFixed = toFixed
        self._crosshair = transform.GetScene().GetFirstNodeByClass("vtkMRMLCrosshairNode")
        self._observer: int | None = None
        if self._crosshair is not None:
            event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
            self._observer = self._crosshair.AddObserver(event, self._onMoved)

    def close(self) -> None:
        """Stop observing."""
        if self._observer is not None:
            self._crosshair.RemoveObserver(self._observer)
            self._observer = None

    def _onMoved(self, caller: object, event: object) -> None:
        point = [0.0, 0.0, 0.0]
        if self._transform.GetScene() is None or not self._crosshair.GetCursorPositionRAS(point):
            self._onText("")
            return
        fixed = self._toFixed(np.array(point), self._crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]))
        self._onText("" if fixed is None else valuesText(valuesAt(self._transform, fixed, *self._maps)))


def _steps(transform: slicer.vtkMRMLTransformNode) -> np.ndarray:
    """Return (3, 3) rows: steps in mm RAS, from voxel to voxel where the transform is a grid."""
    grid = transform.GetTransformFromParentAs("vtkOrientedGridTransform", False)
    if grid is None or grid.GetDisplacementGrid() is None:
        return STEP * np.eye(3)
    direction = grid.GetGridDirectionMatrix()
    turn = np.eye(3) if direction is None else arrayFromMatrix(direction)[:3, :3]
    return (turn * grid.GetDisplacementGrid().GetSpacing()).T


def _sample(image: Image, point: np.ndarray) -> float | None:
    """Return the value at a RAS point, linearly interpolated between the voxels; None outside of them."""
    index = image.grid.point_to_index(RAS_LPS * point)
    if not image.grid.contains(RAS_LPS * point):
        return None
    return float(ndimage.map_coordinates(image.array, index[::-1, None], order=1, mode="nearest")[0])
