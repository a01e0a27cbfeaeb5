"""Volume and transform nodes to and from pddnet. MRML is in RAS and pddnet in LPS, both in mm; they meet only here.

A registration's transform maps points of the fixed scan to points of the moving one. That is a transform node's "from
parent" direction: what lies under the node is shown where the fixed scan has it.
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
    isSame,
    linearMatrix,
    linearTransform,
    matrixFromArray,
    matrixFromGrid,
    movedPoints,
    parentChain,
    transformBetween,
    transformToWorld,
    voxelArray,
    worldImage,
)

RESULT = "PDDRegistration.Result"
"""Node attribute of a transform that this module computed."""
WORLD_COPY = "PDDRegistration.WorldCopy"
"""Node attribute of a transform that stands in for a node's former parents, see `placeUnder`."""
SAMPLED_EVERY = 4.0  # mm, where a transform cannot be handed on as it is
SAMPLED_AROUND = 40.0  # mm around the fixed grid
SAME_PLACE = 0.5  # mm; VTK's cubic interpolation is less off


def imageFromVolume(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, ignoring: slicer.vtkMRMLTransformNode | None = None
) -> Image:
    """The volume in the world: an `Image` in LPS mm with its parent transforms applied; the node stays as it is.

    Args:
        volumeNode: any scalar or label map volume, its axes left-handed, oblique or unequal.
        ignoring: a transform in its chain of parents that is left out, with all above it. Before a volume is
            registered again that is `registrationParent(volumeNode)`: it would else be taken where the last result
            put it.

    Without a parent, or under rotations, translations and scales along its axes, the array (D, H, W) is the node's own
    memory, read-only: use it before the node changes. Under a shear or a non-linear parent the volume is resampled
    (label maps to the nearest voxel) onto a grid of its spacing that covers it; outside it there is the volume's
    lowest value, in CT -1024 if that is lower.

    Raises:
        InputError: no voxels, colours or vectors in them, or a geometry that is no grid.
    """
    data = _scalars(volumeNode)
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    labels = bool(volumeNode.IsA("vtkMRMLLabelMapVolumeNode"))
    try:
        return worldImage(data, arrayFromMatrix(matrix), transformToWorld(volumeNode, ignoring), labels=labels)
    except InputError as error:
        raise InputError(f"{volumeNode.GetName()}: {error}") from error


def volumeFromImage(
    image: Image, scene: slicer.vtkMRMLScene, name: str, like: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLScalarVolumeNode:
    """A new volume of the scene from an `Image` (LPS mm); its class, scalar type and display are those of `like`."""
    voxels = imageData(image.array, _scalarType(like))
    volume = scene.AddNewNodeByClass(like.GetClassName(), name)
    _fill(volume, voxels, image.grid, like)
    return volume


def updateVolumeFromImage(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, image: Image, like: slicer.vtkMRMLScalarVolumeNode | None = None
) -> None:
    """Give an existing volume the voxels and the geometry (LPS mm) of an `Image`, and no parent transform.

    like: whose scalar type, window, level and colours it gets; without, the image's type and the display it had.
    """
    voxels = imageData(image.array, _scalarType(like) if like is not None else None)
    _fill(volumeNode, voxels, image.grid, like)


def gridTransformFromField(field: DisplacementField, transformNode: slicer.vtkMRMLTransformNode) -> None:
    """Make the node a grid transform: from parent, fixed to moving, as float32.

    Between its nodes it is linear. Outside the grid VTK goes on with the border's displacement, where ITK has none.
    The node's own parent is removed, as the field maps world to world.
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


def fieldFromGridTransform(transformNode: slicer.vtkMRMLTransformNode) -> DisplacementField:
    """The displacements of a grid transform node (its own, without parents), LPS mm, from parent, as float32.

    Raises:
        InputError: the node holds something else, or a grid that is stored in the other direction.
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


def setRegistrationReferences(
    transformNode: slicer.vtkMRMLTransformNode, fixedNode: slicer.vtkMRMLNode, movingNode: slicer.vtkMRMLNode
) -> None:
    """Note in the transform which two volumes it registers, and that this module computed it."""
    modifying = transformNode.StartModify()
    transformNode.SetNodeReferenceID(transformNode.GetFixedNodeReferenceRole(), fixedNode.GetID())
    transformNode.SetNodeReferenceID(transformNode.GetMovingNodeReferenceRole(), movingNode.GetID())
    transformNode.SetAttribute(RESULT, "true")
    transformNode.EndModify(modifying)


def itkTransformFromNode(transformNode: slicer.vtkMRMLTransformNode, grid: Grid | None = None) -> sitk.Transform:
    """The node and its parents as ITK's transform, fixed to moving, LPS mm: from the world to what lies under the node.

    Linear transforms become one AffineTransform. Grids and B-splines that are stored from parent are handed on as they
    are, in a CompositeTransform if there are several; between a grid's nodes ITK is linear, where VTK may be cubic.
    Whatever needs an inverse, has no ITK class, or does not reach over the whole of `grid` (ITK moves nothing outside,
    VTK goes on), is sampled every 4 mm over `grid`, the fixed image's, and 40 mm around it.

    Raises:
        InputError: it would have to be sampled, and no grid was given.
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


def registrationParent(
    node: slicer.vtkMRMLTransformableNode, movingNode: slicer.vtkMRMLNode | None = None
) -> slicer.vtkMRMLTransformNode | None:
    """The result of this module that the node already lies under, directly or not; None if there is none.

    movingNode: what that result registered: the node itself by default, the moving volume for its segmentation.
    Transforms that others computed are not looked for: they are parents like any other, and their position is kept.
    """
    moving = movingNode or node
    for parent in parentChain(node):
        registered = parent.GetNodeReference(parent.GetMovingNodeReferenceRole())
        if parent.GetAttribute(RESULT) and isSame(registered, moving):
            return parent
    return None


def placeUnder(
    node: slicer.vtkMRMLTransformableNode,
    transformNode: slicer.vtkMRMLTransformNode,
    ignoring: slicer.vtkMRMLTransformNode | None = None,
) -> None:
    """Show a node of the moving scan (volume, segmentation, model, markups) where the fixed scan has it.

    The transform maps world to world, so a node that has parents must be brought into the world first. They may hold
    other nodes too, which must not move: a copy of them in one transform, "<node> to world", is put between the node
    and `transformNode`. The copy does not follow later changes of the parents.

    A former result for the same moving volume is replaced, not added to. Nothing happens if the node is already under
    `transformNode`.

    ignoring: the transform of the node's chain that the registration left out when it read the moving volume, see
        `imageFromVolume`; the former result by default.
    """
    if any(isSame(parent, transformNode) for parent in parentChain(node)):
        return
    moving = transformNode.GetNodeReference(transformNode.GetMovingNodeReferenceRole())
    former = ignoring or registrationParent(node, moving)
    parent = node.GetParentTransformNode()
    if parent is None or isSame(parent, former):
        node.SetAndObserveTransformNodeID(transformNode.GetID())
    elif _isOwnCopy(parent, node) and isSame(parent.GetParentTransformNode(), former):
        parent.SetAndObserveTransformNodeID(transformNode.GetID())
    else:
        duplicate = _worldCopy(node, former)
        duplicate.SetAndObserveTransformNodeID(transformNode.GetID())
        node.SetAndObserveTransformNodeID(duplicate.GetID())


def _scalars(volume: slicer.vtkMRMLScalarVolumeNode) -> vtk.vtkImageData:
    data = volume.GetImageData()
    name = volume.GetName()
    if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
        raise InputError(_("{name}: the volume has no voxels; load or choose another one").format(name=name))
    count = data.GetNumberOfScalarComponents()
    if count != 1:
        raise InputError(
            _(
                "{name}: the volume has {count} values per voxel (vectors or colour); give a volume with one, "
                "such as the Vector to Scalar Volume module makes"
            ).format(name=name, count=count)
        )
    return data


def _scalarType(volume: slicer.vtkMRMLScalarVolumeNode) -> np.dtype:
    return voxelArray(_scalars(volume)).dtype


def _fill(
    volume: slicer.vtkMRMLScalarVolumeNode,
    voxels: vtk.vtkImageData,
    grid: Grid,
    like: slicer.vtkMRMLScalarVolumeNode | None,
) -> None:
    modifying = volume.StartModify()
    volume.SetAndObserveTransformNodeID(None)
    volume.SetIJKToRASMatrix(matrixFromArray(matrixFromGrid(grid)))
    if volume.GetDisplayNode() is None:
        volume.CreateDefaultDisplayNodes()
    if like is not None:
        _showLike(volume, like)  # before the voxels: an automatic window would be worked out from all of them
    volume.SetAndObserveImageData(voxels)
    volume.EndModify(modifying)


def _showLike(volume: slicer.vtkMRMLScalarVolumeNode, like: slicer.vtkMRMLScalarVolumeNode) -> None:
    volume.SetVoxelValueQuantity(like.GetVoxelValueQuantity())
    volume.SetVoxelValueUnits(like.GetVoxelValueUnits())
    display, model = volume.GetDisplayNode(), like.GetDisplayNode()
    if display is None or model is None:
        return
    display.CopyContent(model)
    if model.IsA("vtkMRMLScalarVolumeDisplayNode"):
        display.AutoWindowLevelOff()  # it would choose others, for what the warped volume shows
        display.SetWindowLevel(model.GetWindow(), model.GetLevel())


def _affine(ras: np.ndarray) -> sitk.AffineTransform:
    """From a (4, 4) matrix in RAS."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((RAS_LPS[:, None] * ras[:3, :3] * RAS_LPS).ravel().tolist())
    transform.SetTranslation((RAS_LPS * ras[:3, 3]).tolist())
    return transform


def _itkPart(part: vtk.vtkAbstractTransform) -> sitk.Transform | None:
    """ITK's transform with the same displacements; None if there is none."""
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
    """Whether ITK takes the outermost voxels of the grid where VTK does."""
    points = grid.index_to_point(grid.point_to_index(grid.corners()).clip(0, grid.size - 1))
    moved = np.array([transform.TransformPoint(point) for point in points.tolist()])
    return np.abs(moved - RAS_LPS * movedPoints(judge, RAS_LPS * points)).max() < SAME_PLACE


def _hasBulk(part: slicer.vtkOrientedBSplineTransform) -> bool:
    bulk = part.GetBulkTransformMatrix()
    return bulk is not None and not np.array_equal(arrayFromMatrix(bulk), np.eye(4))


def _gridDisplacements(transform: slicer.vtkOrientedGridTransform) -> tuple[np.ndarray, Grid]:
    """(D, H, W, 3) in LPS mm, and where."""
    transform.Update()
    data = transform.GetDisplacementGrid()
    vectors = voxelArray(data) * transform.GetDisplacementScale() + transform.GetDisplacementShift()
    return vectors * RAS_LPS, _latticeOf(data, transform.GetGridDirectionMatrix())


def _latticeOf(data: vtk.vtkImageData, direction: vtk.vtkMatrix4x4 | None) -> Grid:
    """The grid of displacements or coefficients; the direction turns it about its origin."""
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


def _isOwnCopy(transform_node: slicer.vtkMRMLTransformNode, node: slicer.vtkMRMLTransformableNode) -> bool:
    """Whether the transform was made by `placeUnder`, and nothing but this node lies under it."""
    if not transform_node.GetAttribute(WORLD_COPY):
        return False
    scene = node.GetScene()
    kind = "vtkMRMLTransformableNode"
    others = (scene.GetNthNodeByClass(number, kind) for number in range(scene.GetNumberOfNodesByClass(kind)))
    return not any(isSame(o.GetParentTransformNode(), transform_node) and not isSame(o, node) for o in others)


def _worldCopy(
    node: slicer.vtkMRMLTransformableNode, ignoring: slicer.vtkMRMLTransformNode | None
) -> slicer.vtkMRMLTransformNode:
    """A new transform node that does what the node's parents do, independent of them."""
    to_world = transformToWorld(node, ignoring)
    linear = to_world.IsA("vtkLinearTransform")
    duplicate = linearTransform(linearMatrix(to_world)) if linear else vtk.vtkGeneralTransform()
    if not linear:
        slicer.vtkMRMLTransformNode.DeepCopyTransform(duplicate, to_world)
    copy = node.GetScene().AddNewNodeByClass(
        "vtkMRMLLinearTransformNode" if linear else "vtkMRMLTransformNode",
        _("{name} to world").format(name=node.GetName()),
    )
    copy.SetAttribute(WORLD_COPY, "true")
    copy.SetAndObserveTransformToParent(duplicate)
    return copy
