"""Apply a transform or its inverse to a volume, segmentation, model or markups: as parent, with undo, or hardened."""

from __future__ import annotations

from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from .geometry import independentCopy, transformBetween
from .nodes import isSame, isUnder, nodesOfClass, parentChain
from .placement import RESULT, placeUnder, registrationParent
from .provenance import copyProvenance
from .segmentations import BINARY, CONTOURS, SURFACE, labelsFromSegmentation, segmentationFromLabels
from .volumes import imageFromVolume, updateVolumeFromImage

INVERSE_OF = "PDDRegistration.InverseOf"
"""Node reference of an inverse to the transform that it was made from."""


def inverseOf(transform: slicer.vtkMRMLTransformNode) -> slicer.vtkMRMLTransformNode:
    """Return the transform node "<name> inverse", whose children are displayed in moving space.

    The node is made at the first call; each later call updates it from the transform (and its parents).
    """
    scene = transform.GetScene()
    inverse = _knownInverse(transform)
    if inverse is None:
        name = scene.GenerateUniqueName(_("{name} inverse").format(name=transform.GetName()))
        inverse = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    modifying = inverse.StartModify()
    inverse.SetAndObserveTransformNodeID(None)
    inverse.SetAndObserveTransformToParent(independentCopy(transformBetween(None, transform)))
    inverse.SetNodeReferenceID(INVERSE_OF, transform.GetID())
    fixed, moving = (transform.GetNodeReferenceID(role) for role in _roles(transform))
    for role, reference in zip(_roles(inverse), (moving, fixed), strict=True):
        inverse.SetNodeReferenceID(role, reference)
    inverse.SetAttribute(RESULT, "true")
    copyProvenance(transform, inverse)
    inverse.EndModify(modifying)
    return inverse


def hardenedCopy(
    node: slicer.vtkMRMLTransformableNode, transform: slicer.vtkMRMLTransformNode, inverse: bool = False
) -> slicer.vtkMRMLTransformableNode:
    """Add a copy "<name> registered" with the transform hardened, in the world; the node itself stays unchanged.

    Volumes and label maps are resampled to voxels of their own spacing that cover all of the transformed node. Of a
    structure set with surfaces the copy has these alone: contours that are bent lie in no plane, and nothing can be
    made of them.

    Raises:
        InputError: the node cannot be transformed in this way, or is empty.
    """
    scene = node.GetScene()
    before = nodesOfClass(scene)
    try:
        target = _target(node, transform, inverse)
        copy = _copyOf(node)
        copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        moving = target.GetNodeReference(target.GetMovingNodeReferenceRole())
        placeUnder(copy, target, registrationParent(node, moving))
        _harden(copy, node)
        copyProvenance(transform, copy)
    except Exception:
        _removeSince(scene, before)
        raise
    _removeSince(scene, before, "vtkMRMLTransformNode")
    return copy


@dataclass(frozen=True)
class _Move:
    """Change of a node's parent transform, which can be undone."""

    node: slicer.vtkMRMLTransformableNode
    former: slicer.vtkMRMLTransformNode | None
    parent: slicer.vtkMRMLTransformNode | None

    def undo(self) -> None:
        """Restore the former parent; do nothing where the node is gone, or was moved elsewhere meanwhile."""
        if self.node.GetScene() is None or not isSame(self.node.GetParentTransformNode(), self.parent):
            return
        if self.former is None or self.former.GetScene() is None:
            self.node.SetAndObserveTransformNodeID(None)
        else:
            self.node.SetAndObserveTransformNodeID(self.former.GetID())


@dataclass(frozen=True)
class _Step:
    """One call of `apply`: the parents that were exchanged, the node's own last, and the transforms that were made."""

    node: slicer.vtkMRMLTransformableNode
    moves: tuple[_Move, ...]
    made: tuple[slicer.vtkMRMLTransformNode, ...]


class Applied:
    """Put nodes under transforms, and remember their former parents; change nothing else."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def apply(
        self, node: slicer.vtkMRMLTransformableNode, transform: slicer.vtkMRMLTransformNode, inverse: bool = False
    ) -> None:
        """Display a moving-space node in fixed space; `inverse`: display a fixed-space node in moving space.

        This works as in `placement.placeUnder`: other parents keep their effect, an earlier result is replaced.

        Raises:
            InputError: the node lies there already, or the transform lies under it.
        """
        scene = node.GetScene()
        before = nodesOfClass(scene, "vtkMRMLTransformNode")
        target = _target(node, transform, inverse)
        if isUnder(node, target):  # the inverse was there before, then
            text = _("{node} lies under {transform} already; choose another node or direction.")
            raise InputError(text.format(node=node.GetName(), transform=target.GetName()))
        chain = [node, *parentChain(node)]
        parents = [member.GetParentTransformNode() for member in chain]
        placeUnder(node, target)
        moves = [
            _Move(member, former, member.GetParentTransformNode())
            for member, former in zip(chain, parents, strict=True)
            if not isSame(member.GetParentTransformNode(), former)
        ]
        self._steps.append(_Step(node, tuple(moves), tuple(_nodesSince(scene, before, "vtkMRMLTransformNode"))))

    @property
    def canUndo(self) -> bool:
        """Return whether there is a node whose parents can be restored."""
        self._steps = [step for step in self._steps if step.node.GetScene() is not None]
        return bool(self._steps)

    def undo(self) -> str:
        """Restore the parents that the node of the last `apply` had; return its name, '' if there is none.

        A node that is gone is skipped; one that was put elsewhere meanwhile stays there. A former parent that is gone
        counts as none.
        """
        if not self.canUndo:
            return ""
        step = self._steps.pop()
        for move in step.moves:
            move.undo()
        for made in reversed(step.made):
            if made.GetScene() is not None and not _isUsed(made):
                made.GetScene().RemoveNode(made)
        return step.node.GetName()


def _target(
    node: slicer.vtkMRMLTransformableNode, transform: slicer.vtkMRMLTransformNode, inverse: bool
) -> slicer.vtkMRMLTransformNode:
    if any(isSame(node, member) for member in (transform, *parentChain(transform))):
        text = _("{node} cannot be put under {transform}, which lies under it; choose another node.")
        raise InputError(text.format(node=node.GetName(), transform=transform.GetName()))
    return inverseOf(transform) if inverse else transform


def _roles(transform: slicer.vtkMRMLTransformNode) -> tuple[str, str]:
    return transform.GetFixedNodeReferenceRole(), transform.GetMovingNodeReferenceRole()


def _nodesSince(scene: slicer.vtkMRMLScene, before: list[slicer.vtkMRMLNode], kind: str) -> list[slicer.vtkMRMLNode]:
    """List the nodes of a class that have been added since."""
    return [node for node in nodesOfClass(scene, kind) if not any(node is known for known in before)]


def _removeSince(scene: slicer.vtkMRMLScene, before: list[slicer.vtkMRMLNode], kind: str = "vtkMRMLNode") -> None:
    for node in reversed(_nodesSince(scene, before, kind)):
        scene.RemoveNode(node)


def _knownInverse(transform: slicer.vtkMRMLTransformNode) -> slicer.vtkMRMLTransformNode | None:
    candidates = nodesOfClass(transform.GetScene(), "vtkMRMLTransformNode")
    return next((node for node in candidates if isSame(node.GetNodeReference(INVERSE_OF), transform)), None)


def _isUsed(transform: slicer.vtkMRMLTransformNode) -> bool:
    others = nodesOfClass(transform.GetScene(), "vtkMRMLTransformableNode")
    return any(isSame(other.GetParentTransformNode(), transform) for other in others)


def _copyOf(node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLTransformableNode:
    """Add a node of the same class and content to the scene, without parents, with a display node like the node's."""
    scene = node.GetScene()
    name = scene.GenerateUniqueName(_("{name} registered").format(name=node.GetName()))
    copy = scene.AddNewNodeByClass(node.GetClassName(), name)
    copy.CopyContent(node, not node.IsA("vtkMRMLVolumeNode"))  # a volume gets voxels of its own when it is hardened
    if node.IsA("vtkMRMLDisplayableNode") and node.GetDisplayNode() is not None:
        if copy.GetDisplayNode() is None:
            copy.CreateDefaultDisplayNodes()
        if copy.GetDisplayNode() is not None:
            copy.GetDisplayNode().CopyContent(node.GetDisplayNode())
    return copy


def _harden(copy: slicer.vtkMRMLTransformableNode, node: slicer.vtkMRMLTransformableNode) -> None:
    """Harden the copy's transform; volumes and label maps are resampled here, which crops nothing and pads with air."""
    if copy.IsA("vtkMRMLScalarVolumeNode"):
        updateVolumeFromImage(copy, imageFromVolume(copy), node)
    elif copy.IsA("vtkMRMLSegmentationNode") and copy.GetSegmentation().ContainsRepresentation(BINARY):
        segmentationFromLabels(labelsFromSegmentation(copy), copy, node)
    else:
        if copy.IsA("vtkMRMLSegmentationNode"):
            _dropContours(copy.GetSegmentation())
        copy.HardenTransform()


def _dropContours(segmentation: slicer.vtkSegmentation) -> None:
    """Make surfaces the source where they were made from contours."""
    if segmentation.GetSourceRepresentationName() == CONTOURS and segmentation.ContainsRepresentation(SURFACE):
        segmentation.SetSourceRepresentationName(SURFACE)
        segmentation.RemoveRepresentation(CONTOURS)
