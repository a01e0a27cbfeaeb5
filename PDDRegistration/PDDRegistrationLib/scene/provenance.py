"""Keep with every output how it came about, as node attributes that the scene saves: the table `ATTRIBUTES`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import slicer

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


def copyProvenance(source: slicer.vtkMRMLNode, target: slicer.vtkMRMLNode) -> None:
    """Store with a node that was made by a transform how that transform came about; nothing where it does not know."""
    for attribute in ATTRIBUTES.values():
        target.SetAttribute(attribute, source.GetAttribute(attribute))
