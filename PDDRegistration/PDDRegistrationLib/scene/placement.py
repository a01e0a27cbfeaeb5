"""Place results of a registration in the scene: which volumes a transform registers, and which nodes lie under it."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from .geometry import independentCopy, transformToWorld
from .nodes import isSame, isUnder, nodesOfClass, parentChain

RESULT = "PDDRegistration.Result"
"""Node attribute of a transform that this module computed."""
WORLD_COPY = "PDDRegistration.WorldCopy"
"""Node attribute of a transform that replaces a node's former parents, see `placeUnder`."""


def setRegistrationReferences(
    transformNode: slicer.vtkMRMLTransformNode, fixedNode: slicer.vtkMRMLNode, movingNode: slicer.vtkMRMLNode
) -> None:
    """Store in the transform which two volumes it registers, and that this module computed it."""
    modifying = transformNode.StartModify()
    transformNode.SetNodeReferenceID(transformNode.GetFixedNodeReferenceRole(), fixedNode.GetID())
    transformNode.SetNodeReferenceID(transformNode.GetMovingNodeReferenceRole(), movingNode.GetID())
    transformNode.SetAttribute(RESULT, "true")
    transformNode.EndModify(modifying)


def registeredVolumes(
    transform: slicer.vtkMRMLTransformNode | None,
) -> tuple[slicer.vtkMRMLScalarVolumeNode | None, slicer.vtkMRMLScalarVolumeNode | None]:
    """Return the fixed and the moving volume that a transform says it registers (None where it does not)."""
    if transform is None:
        return None, None
    roles = transform.GetFixedNodeReferenceRole(), transform.GetMovingNodeReferenceRole()
    nodes = [transform.GetNodeReference(role) for role in roles]
    fixed, moving = (node if node is not None and node.IsA("vtkMRMLScalarVolumeNode") else None for node in nodes)
    return fixed, moving


def registrationParent(
    node: slicer.vtkMRMLTransformableNode, movingNode: slicer.vtkMRMLNode | None = None
) -> slicer.vtkMRMLTransformNode | None:
    """Return the result of this module that the node already lies under, directly or not; None if there is none.

    movingNode: the moving volume of that result: the node itself by default, the moving volume for its segmentation.
    Transforms that other programs computed are not searched for: they count as ordinary parents, which keep their
    effect.
    """
    moving = movingNode or node
    for parent in parentChain(node):
        registered = parent.GetNodeReference(parent.GetMovingNodeReferenceRole())
        if parent.GetAttribute(RESULT) and isSame(registered, moving):
            return parent
    return None


def resultOver(
    node: slicer.vtkMRMLTransformableNode,
    transform: slicer.vtkMRMLTransformNode,
    movingNode: slicer.vtkMRMLNode | None = None,
) -> slicer.vtkMRMLTransformNode | None:
    """Return the transform to leave out to find a moving node where it was before its registration, which `transform`
    is a result of: that one if the node lies under it, else another result, which replaced it.

    movingNode: as for `registrationParent`.
    """
    return transform if isUnder(node, transform) else registrationParent(node, movingNode)


def placeUnder(
    node: slicer.vtkMRMLTransformableNode,
    transformNode: slicer.vtkMRMLTransformNode,
    ignoring: slicer.vtkMRMLTransformNode | None = None,
) -> None:
    """Put a moving-space node (volume, segmentation, model, markups) under the transform, so that it is displayed in
    fixed space.

    The transform maps world to world, so a node that has parents must be transformed to the world first. The parents
    may hold other nodes too, which must not move: a copy of the parents in one transform, "<node> to world", is put
    between the node and `transformNode`. The copy does not follow later changes of the parents.

    An earlier result for the same moving volume is replaced, not added to. Nothing happens if the node is already under
    `transformNode`.

    ignoring: the transform in the node's chain of parents that the registration left out when it read the moving
        volume, see `imageFromVolume`; the earlier result by default.
    """
    if isUnder(node, transformNode):
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


def placeOverFixed(transformNode: slicer.vtkMRMLTransformNode) -> None:
    """Lay a result that was found where its fixed volume lies without an earlier result over where that is displayed.

    It goes under that earlier result. Where this one rests on the moving volume in its turn, as of a pair that was
    registered both ways, all that it displays elsewhere goes back together, as both cannot be shown at once.
    """
    fixed, moving = registeredVolumes(transformNode)
    earlier = registrationParent(fixed) if fixed is not None else None
    if earlier is not None and _restsOn(earlier, transformNode, moving):
        for node in nodesOfClass(earlier.GetScene(), "vtkMRMLTransformableNode"):
            if isSame(node.GetParentTransformNode(), earlier):
                node.SetAndObserveTransformNodeID(None)
        earlier = None
    transformNode.SetAndObserveTransformNodeID(earlier.GetID() if earlier is not None else None)


def _restsOn(
    result: slicer.vtkMRMLTransformNode, transform: slicer.vtkMRMLTransformNode, volume: slicer.vtkMRMLNode | None
) -> bool:
    """Return whether a result lies under the transform, or displays something over the volume, directly or not."""
    chain = [result, *parentChain(result)]
    return any(isSame(each, transform) or isSame(registeredVolumes(each)[0], volume) for each in chain)


def _isOwnCopy(transformNode: slicer.vtkMRMLTransformNode, node: slicer.vtkMRMLTransformableNode) -> bool:
    """Return whether the transform was made by `placeUnder`, and nothing but this node lies under it."""
    if not transformNode.GetAttribute(WORLD_COPY):
        return False
    others = [other for other in nodesOfClass(node.GetScene(), "vtkMRMLTransformableNode") if not isSame(other, node)]
    return not any(isSame(other.GetParentTransformNode(), transformNode) for other in others)


def _worldCopy(
    node: slicer.vtkMRMLTransformableNode, ignoring: slicer.vtkMRMLTransformNode | None
) -> slicer.vtkMRMLTransformNode:
    """Make a transform node that does what the node's parents do, independent of them."""
    toWorld = transformToWorld(node, ignoring)
    className = "vtkMRMLLinearTransformNode" if toWorld.IsA("vtkLinearTransform") else "vtkMRMLTransformNode"
    name = _("{name} to world").format(name=node.GetName())
    copy = node.GetScene().AddNewNodeByClass(className, name)
    copy.SetAttribute(WORLD_COPY, "true")
    copy.SetAndObserveTransformToParent(independentCopy(toWorld))
    return copy
