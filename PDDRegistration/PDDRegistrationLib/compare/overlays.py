"""Show a transform's Jacobian determinant, displacement, uncertainty and expected error in colours with a legend
(`Overlays`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image

from ..scene.geometry import imageData, matrixFromArray, matrixFromGrid
from ..scene.scene_changes import SceneChanges
from ..scene.transforms import displacementsOf

TITLES = {
    "jacobian": _("Jacobian\n(magenta: folded)"),
    "displacement": _("Displacement (mm)"),
    "uncertainty": _("Spread (mm)"),
    "expectedError": _("Expected error (mm)"),
}
COLOURS = 256
FOLDED = (1.0, 0.0, 1.0)
JACOBIAN_LIMITS = -0.5, 2.0  # values below or above have the colours of these
# position in the table, red, green, blue; dark where there is no change, so that the scan shows through
JACOBIAN_COLOURS = (
    (0, 0.3, 0.6, 1),
    (0.25, 0.1, 0.3, 0.8),
    (0.5, 0.1, 0.1, 0.1),
    (0.75, 0.7, 0.3, 0),
    (1, 1, 0.7, 0.2),
)
MILLIMETRE_COLOURS = ((0, 0.05, 0.05, 0.15), (0.4, 0.5, 0.1, 0.5), (0.7, 0.95, 0.5, 0.2), (1, 1, 1, 0.7))
OnReady = Callable[["slicer.vtkMRMLScalarVolumeNode"], None]
PLANES = 8  # of voxels in one step; the window works between the steps


def magnitude(field: DisplacementField) -> Image:
    """Compute the length of the displacement in mm, float32, on the field's grid."""
    return Image(np.sqrt(np.einsum("...c,...c->...", field.array, field.array)), field.grid)


def jacobianInSteps(field: DisplacementField, result: np.ndarray) -> Iterator[None]:
    """Write (D, H, W) determinants of `DisplacementField.jacobian_determinant` into `result`, a few planes per step."""
    depth = field.grid.shape[0]
    for start in range(0, depth, PLANES):
        stop = min(start + PLANES, depth)
        low, high = max(start - 1, 0), min(stop + 1, depth)  # the derivatives need one more plane on either side
        origin = field.grid.index_to_point(np.array([0.0, 0.0, low]))
        grid = Grid((high - low, *field.grid.shape[1:]), field.grid.spacing, origin, field.grid.direction)
        part = DisplacementField(field.array[low:high], grid).jacobian_determinant()
        result[start:stop] = part[start - low : stop - low]
        yield


class Overlays:
    """Hold the maps of one grid or linear transform: hidden nodes, made when first requested and removed by `close`."""

    def __init__(
        self,
        transform: slicer.vtkMRMLTransformNode,
        uncertainty: Image | None = None,
        expectedError: Image | None = None,
    ) -> None:
        """Take a grid or linear transform; uncertainty: standard deviation of the displacement, expectedError: below
        which 80 % of the errors lie, both in mm on any grid."""
        self._transform = transform
        given = {"uncertainty": uncertainty, "expectedError": expectedError}
        self._given = {kind: image for kind, image in given.items() if image is not None}  # in fixed space
        self._changes = SceneChanges()
        self._volumes: dict[str, slicer.vtkMRMLScalarVolumeNode] = {}
        self._legends: dict[str, slicer.vtkMRMLDisplayNode] = {}
        self._steps: Iterator[None] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(0)

    @property
    def kinds(self) -> list[str]:
        """List the available maps: 'jacobian', 'displacement' and, if known, 'uncertainty' and 'expectedError'."""
        return ["jacobian", "displacement", *self._given]

    def request(self, kind: str, onReady: OnReady) -> None:
        """Call `onReady` with the volume: at once if it is quick or known, else later, unless another is requested.

        Raises:
            InputError: the transform is neither linear nor a grid transform stored from parent.
        """
        self.cancel()
        if kind in self._volumes:
            onReady(self._volumes[kind])
        elif kind == "jacobian":
            field = displacementsOf(self._transform)
            self._steps = self._jacobian(field, onReady)
            self._timer.connect("timeout()", self._step)
            self._timer.start()
        elif kind in self._given:
            onReady(self._add(kind, self._given[kind]))
        else:
            onReady(self._add(kind, magnitude(displacementsOf(self._transform))))

    def cancel(self) -> None:
        """Stop computing the map that was requested last."""
        if self._steps is None:
            return
        self._steps = None
        self._timer.stop()
        self._timer.disconnect("timeout()", self._step)  # a connected timer would hold this object for ever

    def showLegend(self, kind: str | None) -> None:
        """Show the legend of one map, or none."""
        for known, legend in self._legends.items():
            legend.SetVisibility(known == kind)

    def close(self) -> None:
        """Remove the volumes, their colour tables and legends."""
        self.cancel()
        self._volumes, self._legends = {}, {}
        self._changes.undo()

    def _step(self) -> None:
        if self._steps is not None and next(self._steps, self) is self:  # the computation has ended
            self.cancel()

    def _jacobian(self, field: DisplacementField, onReady: OnReady) -> Iterator[None]:
        result = np.empty(field.grid.shape, np.float32)
        yield from jacobianInSteps(field, result)
        self.cancel()
        onReady(self._add("jacobian", Image(result, field.grid)))

    def _add(self, kind: str, image: Image) -> slicer.vtkMRMLScalarVolumeNode:
        title = TITLES[kind].partition("\n")[0]
        volume = self._newVolume(kind, image, title)
        table = self._colourTable(kind, title)
        display = self._changes.addDisplay(volume)
        display.SetAndObserveColorNodeID(table.GetID())
        display.AutoWindowLevelOff()
        low, high = limits(kind, image.array)
        display.SetWindowLevel(high - low, (high + low) / 2)
        self._volumes[kind] = volume
        self._addLegend(kind, volume, table)
        return volume

    def _newVolume(self, kind: str, image: Image, title: str) -> slicer.vtkMRMLScalarVolumeNode:
        name = f"{self._transform.GetName()}: {title}"
        volume = self._changes.add(self._transform.GetScene(), "vtkMRMLScalarVolumeNode", name)
        volume.SetIJKToRASMatrix(matrixFromArray(matrixFromGrid(image.grid)))
        volume.SetAndObserveImageData(imageData(np.asarray(image.array, np.float32)))
        if kind not in self._given:  # the field lies in the coordinates above the transform
            volume.SetAndObserveTransformNodeID(self._transform.GetTransformNodeID())
        return volume

    def _colourTable(self, kind: str, name: str) -> slicer.vtkMRMLColorTableNode:
        table = self._changes.add(self._transform.GetScene(), "vtkMRMLColorTableNode", name)
        table.SetTypeToUser()
        table.SetNumberOfColors(COLOURS)
        for number, colour in enumerate(colours(kind).tolist()):
            table.SetColor(number, *colour, 1.0)
        table.SetNamesFromColors()
        return table

    def _addLegend(self, kind: str, volume: slicer.vtkMRMLVolumeNode, table: slicer.vtkMRMLColorTableNode) -> None:
        if not hasattr(slicer, "vtkMRMLColorLegendDisplayNode"):
            return
        legend = self._changes.add(volume.GetScene(), "vtkMRMLColorLegendDisplayNode", volume.GetName())
        legend.SetAndObserveColorNodeID(table.GetID())
        legend.SetAndObservePrimaryDisplayNode(volume.GetDisplayNode())
        legend.SetTitleText(TITLES[kind])
        legend.SetNumberOfLabels(6)
        legend.SetLabelFormat("%.1f")
        legend.SetSize(0.12, 0.5)
        legend.SetVisibility(False)  # until the volume is in the views, which look at it only when it changes
        volume.AddAndObserveDisplayNodeID(legend.GetID())
        self._legends[kind] = legend


def limits(kind: str, array: np.ndarray) -> tuple[float, float]:
    """Return the values that map to the first and the last colour."""
    return JACOBIAN_LIMITS if kind == "jacobian" else (0.0, max(float(array.max()), 1.0))


def colours(kind: str) -> np.ndarray:
    """Return (256, 3) red, green, blue from 0 to 1; for a Jacobian determinant values below 0 get `FOLDED`."""
    places, *channels = np.array(JACOBIAN_COLOURS if kind == "jacobian" else MILLIMETRE_COLOURS).T
    at = np.linspace(0, 1, COLOURS)
    if kind == "jacobian":
        low, high = JACOBIAN_LIMITS
        at = (low + at * (high - low)) / high
    table = np.stack([np.interp(at, places, channel) for channel in channels], axis=-1)
    table[at < 0] = FOLDED
    return table
