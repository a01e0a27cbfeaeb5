"""Convert geometry of the scene, RAS matrices, image data and parent transforms of MRML, to LPS grids of pddnet."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from pddnet.core.grid import ORTHOGONAL, Grid
from pddnet.core.hounsfield import PADDING_HU
from pddnet.core.image import Image
from pddnet.core.intensity import shows_air
from pddnet.errors import InputError

from .nodes import isSame, parentChain

RAS_LPS = np.array([-1.0, -1.0, 1.0])
"""Times a vector in RAS it is the vector in LPS, and the other way round."""

PROBES = 21  # per axis, points at which the extent of a bent volume is sampled
STRETCH = 0.25  # relative change of the spacing by bending up to which the volume's own spacing is kept
SMALLEST_SPACING = 1e-4  # mm
LARGEST_GROWTH = 20  # voxels after resampling, times those before


def arrayFromMatrix(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """Turn VTK's matrix into (4, 4) floats."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrixFromArray(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """Turn (4, 4) numbers into VTK's matrix."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix


def linearMatrix(transform: vtk.vtkLinearTransform) -> np.ndarray:
    """Return the (4, 4) matrix of a linear transform, RAS."""
    transform.Update()
    return arrayFromMatrix(transform.GetMatrix())


def linearTransform(array: np.ndarray) -> vtk.vtkTransform:
    """Make the linear transform of a (4, 4) matrix, RAS."""
    transform = vtk.vtkTransform()
    transform.SetMatrix(matrixFromArray(array))
    return transform


def gridFromMatrix(ijkToRas: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    """Make the LPS grid of a volume (D, H, W) from its (4, 4) matrix of voxel (i, j, k) to RAS mm.

    Raises:
        InputError: a spacing is zero, or the axes are not at right angles.
    """
    axes = ijkToRas[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    direction = RAS_LPS[:, None] * axes / np.where(spacing > 0, spacing, 1)
    return Grid(shape, spacing, RAS_LPS * ijkToRas[:3, 3], direction)


def matrixFromGrid(grid: Grid) -> np.ndarray:
    """Return the (4, 4) matrix of voxel (i, j, k) to RAS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = RAS_LPS[:, None] * grid.axes
    matrix[:3, 3] = RAS_LPS * grid.origin
    return matrix


def ijkToRasOf(volume: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Return the (4, 4) matrix of voxel (i, j, k) to the volume's own RAS mm, without its parents."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return arrayFromMatrix(matrix)


def movedPoints(transform: vtk.vtkAbstractTransform, points: np.ndarray) -> np.ndarray:
    """Transform RAS points (..., 3) in mm."""
    given, moved = vtk.vtkPoints(), vtk.vtkPoints()
    moved.SetDataTypeToDouble()
    flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
    given.SetData(numpy_support.numpy_to_vtk(flat, deep=True))
    transform.TransformPoints(given, moved)
    return numpy_support.vtk_to_numpy(moved.GetData()).reshape(np.shape(points)).copy()


def voxelArray(data: vtk.vtkImageData) -> np.ndarray:
    """View the scalars of image data as (D, H, W) or (D, H, W, components): its own memory, read-only."""
    columns, rows, slices = data.GetDimensions()
    array = numpy_support.vtk_to_numpy(data.GetPointData().GetScalars())
    array = array.reshape(slices, rows, columns, *array.shape[1:])
    array.flags.writeable = False
    return array


def imageData(array: np.ndarray, like: np.dtype | None = None) -> vtk.vtkImageData:
    """Copy values (D, H, W) or (D, H, W, components) into new image data, without geometry.

    like: the scalar type of the result; whole numbers are rounded and limited to what the type holds.
    """
    kind = np.dtype(np.uint8 if array.dtype == bool else array.dtype) if like is None else np.dtype(like)
    data = vtk.vtkImageData()
    data.SetDimensions(*array.shape[2::-1])
    data.AllocateScalars(numpy_support.get_vtk_array_type(kind), array.shape[3] if array.ndim == 4 else 1)
    values = numpy_support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(array.shape)
    if kind.kind not in "iu" or np.can_cast(array.dtype, kind):
        values[...] = array
        return data
    limits = np.iinfo(kind)
    for plane, stored in zip(array, values, strict=True):  # without a copy of the whole
        stored[...] = np.clip(np.rint(plane), limits.min, limits.max)
    return data


def transformToWorld(
    node: slicer.vtkMRMLTransformableNode, ignoring: slicer.vtkMRMLTransformNode | None = None
) -> vtk.vtkAbstractTransform:
    """Return the transform of the node's own coordinates to the world, RAS mm: a vtkTransform if linear.

    ignoring: a transform in the node's chain; the world is then what lies directly under it, as if it and
    everything above it were gone.
    """
    chain = list(parentChain(node))
    top = next((number for number, parent in enumerate(chain) if isSame(parent, ignoring)), len(chain))
    return transformBetween(node.GetParentTransformNode(), chain[top] if top < len(chain) else None)


def transformBetween(
    source: slicer.vtkMRMLTransformNode | None, target: slicer.vtkMRMLTransformNode | None
) -> vtk.vtkAbstractTransform:
    """Return the transform from `source` to `target`, RAS mm (None: the world): a vtkTransform if linear."""
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, general)
    return _concatenated(general)


def independentCopy(transform: vtk.vtkAbstractTransform) -> vtk.vtkAbstractTransform:
    """Copy a transform, so that it does not follow the nodes that it was made from; a vtkTransform if linear."""
    if transform.IsA("vtkLinearTransform"):
        return linearTransform(linearMatrix(transform))
    copy = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.DeepCopyTransform(copy, transform)
    return copy


def flattened(transform: vtk.vtkAbstractTransform) -> list[vtk.vtkAbstractTransform]:
    """List the simple transforms that make up a composite one, the first to be applied first."""
    parts = vtk.vtkCollection()
    slicer.vtkMRMLTransformNode.FlattenGeneralTransform(parts, transform)
    return [parts.GetItemAsObject(number) for number in range(parts.GetNumberOfItems())]


def _concatenated(*transforms: vtk.vtkAbstractTransform) -> vtk.vtkAbstractTransform:
    """Concatenate transforms: a vtkTransform where all are linear, which VTK applies many times faster."""
    general = vtk.vtkGeneralTransform()
    general.PostMultiply()
    for transform in transforms:
        general.Concatenate(transform)
    parts = flattened(general)
    if not all(part.IsA("vtkLinearTransform") for part in parts):
        return general
    matrix = np.eye(4)
    for part in parts:
        matrix = linearMatrix(part) @ matrix
    return linearTransform(matrix)


def worldImage(
    data: vtk.vtkImageData,
    ijkToRas: np.ndarray,
    toWorld: vtk.vtkAbstractTransform,
    *,
    labels: bool = False,
    outside: float | None = None,
) -> Image:
    """Transform scalar image data to the world, LPS mm.

    Args:
        data: its voxels are used as they are, its extent may begin anywhere, its own geometry is ignored.
        ijkToRas: (4, 4) matrix of voxel (i, j, k) of the extent to the node's own RAS.
        toWorld: the node's parents, see `transformToWorld`.
        labels: whether the data is a label map: resampled, if at all, to the nearest voxel, with 0 outside.
        outside: value around a volume that is resampled; None: its lowest value, in CT -1024 if that is lower.

    Linear parents that keep right angles are folded into the grid: the array is then the data's own memory, read-only.
    Under others it is resampled onto a grid that covers it (see `_coveringGrid`).

    Raises:
        InputError: the geometry is degenerate or far too large.
    """
    start = np.eye(4)
    start[:3, 3] = data.GetExtent()[::2]
    ijk_to_ras = ijkToRas @ start
    array = voxelArray(data)
    if isinstance(toWorld, vtk.vtkLinearTransform):
        matrix = linearMatrix(toWorld) @ ijk_to_ras
        if _hasRightAngles(matrix):
            return Image(array, gridFromMatrix(matrix, array.shape))
    if outside is None:
        outside = 0.0 if labels else _padding(array)
    return _resampled(data, array, ijk_to_ras, toWorld, labels, outside)


def _hasRightAngles(matrix: np.ndarray) -> bool:
    axes = matrix[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.all():
        return True  # degenerate: `Grid` raises the error
    return np.allclose((axes.T @ axes) / np.outer(lengths, lengths), np.eye(3), atol=ORTHOGONAL)


def _resampled(
    data: vtk.vtkImageData,
    array: np.ndarray,
    ijk_to_ras: np.ndarray,
    to_world: vtk.vtkAbstractTransform,
    labels: bool,
    outside: float,
) -> Image:
    grid = _coveringGrid(ijk_to_ras, array.shape, to_world)
    voxels = vtk.vtkImageData()
    voxels.SetDimensions(*array.shape[::-1])
    voxels.GetPointData().SetScalars(data.GetPointData().GetScalars())
    steps = linearTransform(matrixFromGrid(grid)), to_world.GetInverse(), linearTransform(np.linalg.inv(ijk_to_ras))
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(voxels)
    reslice.SetResliceTransform(_concatenated(*steps))  # voxel of the grid -> world -> node -> voxel of the data
    reslice.SetOutputExtent(*(bound for size in grid.size.tolist() for bound in (0, size - 1)))
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetBackgroundLevel(outside)
    if labels:
        reslice.SetInterpolationModeToNearestNeighbor()
    else:
        reslice.SetInterpolationModeToLinear()
    reslice.Update()
    return Image(voxelArray(reslice.GetOutput()), grid)


def _padding(array: np.ndarray) -> float:
    """Return the value of voxels outside the view, such that pddnet's `view_mask` finds it."""
    lowest = float(array.min())
    return min(lowest, PADDING_HU) if shows_air(array) else lowest


def _coveringGrid(ijk_to_ras: np.ndarray, shape: tuple[int, ...], to_world: vtk.vtkAbstractTransform) -> Grid:
    """Make a grid at right angles over a bent or sheared volume, from voxel edge to voxel edge.

    Its first axis runs along the volume's, its second in the plane of the first two: a tilted stack keeps its planes.
    The spacing is the volume's, scaled if a parent scales.
    """
    size = np.array(shape[::-1])
    lattice = [np.linspace(-0.5, count - 0.5, PROBES) for count in size]
    index = np.stack(np.meshgrid(*lattice, indexing="ij"), axis=-1).reshape(-1, 3)
    points = RAS_LPS * movedPoints(to_world, index @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3])
    trend = np.linalg.lstsq(np.c_[index, np.ones(len(index))], points, rcond=None)[0][:3].T
    direction, triangle = np.linalg.qr(trend)
    signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
    direction, steps = direction * signs, np.diag(triangle) * signs
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    spacing = np.where(np.abs(steps - spacing) < STRETCH * spacing, spacing, steps)
    along = points @ direction
    low, high = along.min(axis=0), along.max(axis=0)
    count = np.maximum(np.ceil((high - low) / np.maximum(spacing, SMALLEST_SPACING) - 1e-3), 1)
    if not np.isfinite(count).all() or count.prod() > LARGEST_GROWTH * size.prod():
        raise InputError(_("its parent transform folds or stretches it out of all proportion; correct the transform"))
    origin = direction @ ((low + high) / 2 - (count - 1) / 2 * spacing)
    depth, height, width = (int(n) for n in count[::-1])
    return Grid((depth, height, width), spacing, origin, direction)
