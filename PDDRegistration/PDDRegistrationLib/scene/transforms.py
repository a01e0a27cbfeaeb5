"""Convert transform nodes to and from displacement fields and ITK's transforms. MRML is in RAS and pddnet in LPS, mm.

A registration's transform maps points of the fixed scan to points of the moving one. That is a transform node's "from
parent" direction: the children of the node are displayed in fixed space.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _

from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError

from .geometry import (
    RAS_LPS,
    arrayFromMatrix,
    flattened,
    gridFromMatrix,
    imageData,
    linearMatrix,
    linearTransform,
    matrixFromArray,
    movedPoints,
    transformBetween,
    voxelArray,
)

SAMPLED_EVERY = 4.0  # mm, where a transform has no equivalent in ITK
SAMPLED_AROUND = 40.0  # mm around the fixed grid
SAME_PLACE = 0.5  # mm; the error of VTK's cubic interpolation is smaller


def gridTransformFromField(field: DisplacementField, transformNode: slicer.vtkMRMLTransformNode) -> None:
    """Store a displacement field in the node as a grid transform: from parent, fixed to moving, float32.

    It is interpolated linearly between its nodes. Outside the grid VTK continues the border's displacement, where ITK
    has none. The node's own parent is removed, as the field maps world to world.
    """
    data = imageData(field.array * RAS_LPS.astype(np.float32), np.dtype(np.float32))
    data.SetSpacing(field.grid.spacing.tolist())
    data.SetOrigin((RAS_LPS * field.grid.origin).tolist())
    direction = np.eye(4)
    direction[:3, :3] = RAS_LPS[:, None] * field.grid.direction
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(data)
    transform.SetGridDirectionMatrix(matrixFromArray(direction))
    transform.SetInterpolationModeToLinear()
    modifying = transformNode.StartModify()
    transformNode.SetAndObserveTransformNodeID(None)
    transformNode.SetAndObserveTransformFromParent(transform)
    transformNode.EndModify(modifying)


def linearTransformFromMatrix(matrix: np.ndarray, transformNode: slicer.vtkMRMLTransformNode) -> None:
    """Store a (4, 4) matrix, LPS mm, in the node as a linear transform: from parent, fixed to moving.

    The node's own parent is removed, as the matrix maps world to world.
    """
    turn = np.diag([*RAS_LPS, 1.0])
    modifying = transformNode.StartModify()
    transformNode.SetAndObserveTransformNodeID(None)
    transformNode.SetAndObserveTransformFromParent(linearTransform(turn @ matrix @ turn))
    transformNode.EndModify(modifying)


def displacementsOf(transformNode: slicer.vtkMRMLTransformNode) -> DisplacementField:
    """Return the displacements of a grid transform, or of a linear one over the fixed volume that it registers.

    The node's parents are left out: LPS mm, from parent, float32.

    Raises:
        InputError: it is neither, or does not say what it registers.
    """
    linear = transformNode.GetTransformFromParent()
    fixed = transformNode.GetNodeReference(transformNode.GetFixedNodeReferenceRole())
    if fixed is None or linear is None or not linear.IsA("vtkLinearTransform"):
        return fieldFromGridTransform(transformNode)
    bounds = [0.0] * 6
    fixed.GetRASBounds(bounds)
    corners = RAS_LPS * np.reshape(bounds, (3, 2)).T
    size = np.abs(corners[1] - corners[0])
    cells = np.maximum(np.ceil(size / SAMPLED_EVERY).astype(int), 1)
    origin = corners.mean(axis=0) - (cells - 1) / 2 * SAMPLED_EVERY
    grid = Grid(tuple(cells[::-1]), np.full(3, SAMPLED_EVERY), origin, np.eye(3))
    points = grid.points()
    moved = RAS_LPS * movedPoints(linear, RAS_LPS * points)
    return DisplacementField((moved - points).astype(np.float32), grid)


def fieldFromGridTransform(transformNode: slicer.vtkMRMLTransformNode) -> DisplacementField:
    """Read the displacement field of a grid transform node, without its parents: LPS mm, from parent, float32.

    Raises:
        InputError: the node holds no grid transform, or a grid that is stored in the other direction.
    """
    transform = transformNode.GetTransformFromParentAs("vtkOrientedGridTransform", False)
    if transform is None or transform.GetInverseFlag() or transform.GetDisplacementGrid() is None:
        raise InputError(
            _("{name}: this is no grid transform stored from parent; convert it in the Transforms module").format(
                name=transformNode.GetName()
            )
        )
    array, grid = _gridDisplacements(transform)
    return DisplacementField(array.astype(np.float32), grid)


def itkTransformFromNode(transformNode: slicer.vtkMRMLTransformNode, grid: Grid | None = None) -> sitk.Transform:
    """Convert the node and its parents to ITK's transform, fixed to moving, LPS mm: from the world to its children.

    Linear transforms become one AffineTransform. Grids and B-splines that are stored from parent are passed on as they
    are, in a CompositeTransform if there are several; between a grid's nodes ITK is linear, where VTK may be cubic.
    Whatever needs an inverse, has no ITK class, or does not reach over the whole of `grid` (ITK moves nothing outside,
    VTK continues), is sampled every 4 mm over `grid`, the fixed image's, and 40 mm around it.

    Raises:
        InputError: the transform would have to be sampled, and no grid was given.
    """
    from_world = transformBetween(None, transformNode)
    if from_world.IsA("vtkLinearTransform"):
        return _affine(linearMatrix(from_world))
    parts = [_itkPart(part) for part in flattened(from_world)]
    if None not in parts:
        transform = parts[0] if len(parts) == 1 else sitk.CompositeTransform(parts[::-1])  # ITK applies the last first
        if grid is None or _agrees(transform, from_world, grid):
            return transform
    if grid is None:
        raise InputError(
            _("{name}: the transform must be sampled over the fixed volume; choose the fixed volume first").format(
                name=transformNode.GetName()
            )
        )
    coarse = grid.isotropic(max(SAMPLED_EVERY, float(grid.spacing.min())), margin=SAMPLED_AROUND)
    points = coarse.points()
    moved = RAS_LPS * movedPoints(from_world, RAS_LPS * points)
    return DisplacementField((moved - points).astype(np.float32), coarse).to_sitk()


def _affine(ras: np.ndarray) -> sitk.AffineTransform:
    """Convert a (4, 4) matrix in RAS to ITK's transform in LPS."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((RAS_LPS[:, None] * ras[:3, :3] * RAS_LPS).ravel().tolist())
    transform.SetTranslation((RAS_LPS * ras[:3, 3]).tolist())
    return transform


def _itkPart(part: vtk.vtkAbstractTransform) -> sitk.Transform | None:
    """Convert one simple transform to ITK's; None if ITK has no such class."""
    part.Update()
    if part.IsA("vtkLinearTransform"):
        return _affine(linearMatrix(part))
    if part.IsA("vtkOrientedGridTransform") and not part.GetInverseFlag():
        array, grid = _gridDisplacements(part)
        return DisplacementField(array, grid).to_sitk()
    if part.IsA("vtkOrientedBSplineTransform") and not part.GetInverseFlag() and not _hasBulk(part):
        return _bspline(part)
    return None


def _agrees(transform: sitk.Transform, judge: vtk.vtkAbstractTransform, grid: Grid) -> bool:
    """Return whether ITK and VTK agree on the corner voxels of the grid."""
    points = grid.index_to_point(grid.point_to_index(grid.corners()).clip(0, grid.size - 1))
    moved = np.array([transform.TransformPoint(point) for point in points.tolist()])
    return np.abs(moved - RAS_LPS * movedPoints(judge, RAS_LPS * points)).max() < SAME_PLACE


def _hasBulk(part: slicer.vtkOrientedBSplineTransform) -> bool:
    bulk = part.GetBulkTransformMatrix()
    return bulk is not None and not np.array_equal(arrayFromMatrix(bulk), np.eye(4))


def _gridDisplacements(transform: slicer.vtkOrientedGridTransform) -> tuple[np.ndarray, Grid]:
    """Return the displacements (D, H, W, 3) in LPS mm, and their grid."""
    transform.Update()
    data = transform.GetDisplacementGrid()
    vectors = voxelArray(data) * transform.GetDisplacementScale() + transform.GetDisplacementShift()
    return vectors * RAS_LPS, _latticeOf(data, transform.GetGridDirectionMatrix())


def _latticeOf(data: vtk.vtkImageData, direction: vtk.vtkMatrix4x4 | None) -> Grid:
    """Return the grid of displacements or coefficients; the direction turns it about its origin."""
    turn = np.eye(4) if direction is None else arrayFromMatrix(direction)
    matrix = np.eye(4)
    matrix[:3, :3] = turn[:3, :3] * data.GetSpacing()
    matrix[:3, 3] = data.GetOrigin() + matrix[:3, :3] @ np.array(data.GetExtent()[::2])
    return gridFromMatrix(matrix, data.GetDimensions()[::-1])


def _bspline(transform: slicer.vtkOrientedBSplineTransform) -> sitk.BSplineTransform:
    data = transform.GetCoefficientData()
    coefficients = voxelArray(data) * transform.GetDisplacementScale() * RAS_LPS
    grid = _latticeOf(data, transform.GetGridDirectionMatrix())
    return sitk.BSplineTransform(
        [Image(np.ascontiguousarray(coefficients[..., c], dtype=np.float64), grid).to_sitk() for c in range(3)], 3
    )
