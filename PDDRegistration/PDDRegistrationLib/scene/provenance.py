"""Keep with every output how it came about, as what the scene saves: the attributes `ATTRIBUTES`, and its transform."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import slicer

from .nodes import isSame, nodesOfClass

MADE_WITH = "PDDRegistration.MadeWith"
"""Reference role of an output: the transform that the same run found. Stored in scenes, so it must stay."""
ATTRIBUTES = {
    "version": "PDDRegistration.Version",
    "preset": "PDDRegistration.Preset",
    "weights": "PDDRegistration.Weights",
    "status": "PDDRegistration.Verdict",
    "risk": "PDDRegistration.Risk",
    "reasons": "PDDRegistration.Reasons",
    "inputs": "PDDRegistration.Inputs",
}
"""Node attributes by the keys of `pddnet.run.provenance.origin`: texts as they are, all else as JSON."""


def setProvenance(node: slicer.vtkMRMLNode, origin: Mapping[str, Any]) -> None:
    """Store how an output came about, in place of what an earlier run stored; of keys that it lacks, nothing."""
    for key, attribute in ATTRIBUTES.items():
        value = origin.get(key)
        node.SetAttribute(attribute, value if value is None or isinstance(value, str) else json.dumps(value))


def isOutput(node: slicer.vtkMRMLNode) -> bool:
    """Return whether a registration of this module made the node's content."""
    return node.GetAttribute(ATTRIBUTES["version"]) is not None


def setMadeWith(node: slicer.vtkMRMLNode, transform: slicer.vtkMRMLTransformNode) -> None:
    """Store which transform the run found that filled an output."""
    node.SetNodeReferenceID(MADE_WITH, transform.GetID())


def forgetMadeWith(transform: slicer.vtkMRMLTransformNode, kept: Iterable[slicer.vtkMRMLNode]) -> None:
    """Take the reference to a transform that was found anew from outputs of earlier runs, all nodes but `kept`."""
    kept = list(kept)
    for node in nodesOfClass(transform.GetScene(), "vtkMRMLTransformableNode"):
        if isMadeWith(node, transform) and not any(isSame(node, each) for each in kept):
            node.SetNodeReferenceID(MADE_WITH, None)


def isMadeWith(node: slicer.vtkMRMLNode | None, transform: slicer.vtkMRMLTransformNode | None) -> bool:
    """Return whether the run that filled an output found this transform; False where no run has filled it yet."""
    return node is not None and transform is not None and isSame(node.GetNodeReference(MADE_WITH), transform)


def copyProvenance(source: slicer.vtkMRMLNode, target: slicer.vtkMRMLNode) -> None:
    """Store with a node that was made by a transform how that transform came about; nothing where it does not know."""
    for attribute in ATTRIBUTES.values():
        target.SetAttribute(attribute, source.GetAttribute(attribute))
