"""Extract the surfaces of labels, in LPS mm, with VTK (`Surface`).

They are found and smoothed in voxel indices, which VTK takes for its own coordinates, and moved to LPS by `Grid` alone:
so no rule of VTK on directions is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..core.affine import Affine
from ..core.grid import turned
from ..core.image import Image
from ..errors import InputError

SMOOTHINGS, PASS_BAND = 15, 0.1  # of the windowed sinc, which keeps volumes: the steps of the voxels go, shapes stay
RIM_VOXELS = 1.0  # from the volume's border: there a scan may have cut a structure, and what ends there is no shape
FEWEST_VERTICES = 24  # of a surface that has a shape


@dataclass(frozen=True, eq=False)
class Surface:
    """Surface of one label.

    Attributes:
        points: (N, 3) vertices, LPS mm.
        normals: (N, 3), of length 1, out of the structure.
        cut: (N,) bool, vertices at the border of the volume, beyond which the structure may go on.
    """

    points: np.ndarray
    normals: np.ndarray
    cut: np.ndarray

    @property
    def is_large(self) -> bool:
        """Tell whether there are enough vertices to match it by."""
        return int((~self.cut).sum()) >= FEWEST_VERTICES

    def thinned(self, spacing_mm: float) -> Surface:
        """Keep one vertex, the one nearest to the middle, of every cube of `spacing_mm`."""
        cells = np.floor(self.points / spacing_mm)
        from_middle = np.abs(self.points / spacing_mm - cells - 0.5).max(axis=1)
        order = np.argsort(from_middle, kind="stable")
        _, first = np.unique(cells[order], axis=0, return_index=True)
        return self.part(np.sort(order[first]))

    def part(self, chosen: np.ndarray) -> Surface:
        """Keep some vertices, given by their numbers or a mask."""
        return Surface(self.points[chosen], self.normals[chosen], self.cut[chosen])


def label_surfaces(labels: Image, wanted: set[int]) -> dict[int, Surface]:
    """Extract the surfaces of some labels; left out is what has none or too small a one, see `Surface.is_large`.

    Raises:
        InputError: VTK is not installed.
    """
    vtk = _Vtk()
    boxes = ndimage.find_objects(labels.array.astype(np.int64, copy=False))
    found = {}
    for label in sorted(wanted):
        box = boxes[label - 1] if label <= len(boxes) else None
        if box is None:
            continue
        surface = _surface(vtk, labels, label, box)
        if surface is not None and surface.is_large:
            found[label] = surface
    return found


class _Vtk:
    """The parts of VTK that are used, loaded late: everything else of pddnet runs without it."""

    def __init__(self) -> None:
        try:
            from vtkmodules import vtkCommonDataModel, vtkFiltersCore, vtkFiltersGeneral
            from vtkmodules.util import numpy_support
        except ImportError:
            raise InputError("surfaces need VTK, which is not installed; install it (pip install vtk)") from None
        self.core, self.model = vtkFiltersCore, vtkCommonDataModel
        self.general, self.numpy = vtkFiltersGeneral, numpy_support

    def mesh(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Triangulate the border of a mask (D, H, W): vertices (N, 3) as indices (i, j, k), triangles (M, 3)."""
        image = self.model.vtkImageData()
        image.SetDimensions(*mask.shape[::-1])
        scalars = self.numpy.numpy_to_vtk(np.ascontiguousarray(mask, np.uint8).ravel(), deep=True)
        image.GetPointData().SetScalars(scalars)
        edges = self.general.vtkDiscreteFlyingEdges3D()
        edges.SetInputData(image)
        edges.SetValue(0, 1)
        edges.ComputeNormalsOff()
        smooth = self.core.vtkWindowedSincPolyDataFilter()
        smooth.SetInputConnection(edges.GetOutputPort())
        smooth.SetNumberOfIterations(SMOOTHINGS)
        smooth.SetPassBand(PASS_BAND)
        smooth.BoundarySmoothingOff()
        smooth.FeatureEdgeSmoothingOff()
        smooth.NonManifoldSmoothingOn()
        smooth.NormalizeCoordinatesOn()
        smooth.Update()
        mesh = smooth.GetOutput()
        if not mesh.GetNumberOfPolys():
            return np.empty((0, 3)), np.empty((0, 3), int)
        points = self.numpy.vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
        polygons = self.numpy.vtk_to_numpy(mesh.GetPolys().GetConnectivityArray())
        return points, polygons.reshape(-1, 3).astype(int)


def _surface(vtk: _Vtk, labels: Image, label: int, box: tuple[slice, ...]) -> Surface | None:
    """Extract the surface of a label from its bounding box (slices of D, H, W) and one voxel more."""
    wider = tuple(
        slice(max(part.start - 1, 0), min(part.stop + 1, n)) for part, n in zip(box, labels.array.shape, strict=True)
    )
    index, triangles = vtk.mesh(labels.array[wider] == label)
    if not len(triangles):
        return None
    index = index + [part.start for part in wider[::-1]]
    cut = ((index < RIM_VOXELS) | (index > labels.grid.size - 1 - RIM_VOXELS)).any(axis=1)
    points = labels.grid.index_to_point(index)
    return Surface(points, _normals(points, triangles, mirrored=np.linalg.det(labels.grid.direction) < 0), cut)


def _normals(points: np.ndarray, triangles: np.ndarray, *, mirrored: bool) -> np.ndarray:
    """Average the normals of the triangles around each vertex, by their areas: (N, 3).

    mirrored: whether the grid's axes are left-handed, so that VTK's triangles run the other way round.
    """
    a, b, c = (points[triangles[:, n]] for n in range(3))
    area = np.cross(b - a, c - a) * (-1 if mirrored else 1)
    normals = np.zeros_like(points)
    for n in range(3):
        np.add.at(normals, triangles[:, n], area)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def pulled_back(surface: Surface, affine: Affine) -> Surface:
    """Map a surface of the moving patient; normals by the inverse transpose."""
    normals = turned(surface.normals, affine.inverse.matrix.T)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return Surface(affine.points(surface.points), normals, surface.cut)
