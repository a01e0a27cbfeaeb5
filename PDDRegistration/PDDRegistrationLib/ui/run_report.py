"""Report a failed run, for whoever can help: settings, geometry, log; no voxels, no patient names."""

from __future__ import annotations

import datetime
import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.evaluation.report import grid_section, plain, versions

from ..base.files import writeWhole
from ..worker.failure import Failure

_PERSONAL = ("DICOM.Patient", "DICOM.Study")
_SHORT = 3  # letters; a shorter name is hidden only where it stands alone: a volume may be called "a"
_SETTINGS = ("do", "preset", "adjust", "device", "align", "jacobian", "inverse")


def runReport(
    request: dict[str, Any],
    failure: Failure,
    log: Iterable[str] = (),
    hello: dict[str, Any] | None = None,
    hide: Iterable[str] = (),
) -> dict[str, Any]:
    """Describe a failed run as strict JSON.

    Args:
        request: as it was submitted. Only its settings and the geometry of its images (LPS mm) are reported.
        log, hello: `Worker.log` and `Worker.hello`.
        hide: texts that must not appear, such as names of nodes, segments and files. The folders of the user and of
            temporary files are hidden anyway.
    """
    folders = {os.path.realpath(tempfile.gettempdir()): "<temporary>", tempfile.gettempdir(): "<temporary>"}
    hidden = {name: "<name>" for name in hide if name} | folders | {os.path.expanduser("~"): "<home>"}
    return {
        "report": "a registration that failed",
        "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "failure": {
            "kind": failure.kind,
            "message": _without(hidden, failure.message),
            "details": _without(hidden, failure.details).splitlines(),
        },
        "settings": {name: plain(request[name]) for name in _SETTINGS if name in request},
        "inputs": {name: _nodeText(value) for name, value in request.items() if name not in _SETTINGS},
        "versions": {"application": _applicationVersion(), **versions()},
        "process": {key: value for key, value in (hello or {}).items() if key in ("protocol", "version", "python")},
        "log": [_without(hidden, line) for line in log],
    }


def privateNames(nodes: Iterable[slicer.vtkMRMLNode]) -> list[str]:
    """Collect the names that a report must not contain: of these nodes, their segments, files, patients and studies."""
    names: list[str] = []
    for node in nodes:
        names += [node.GetName() or "", *_fileNames(node), *_hierarchyNames(node)]
        if node.IsA("vtkMRMLSegmentationNode"):
            segmentation = node.GetSegmentation()
            names += [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    return [name for name in names if name]


def saveRunReport(path: str | Path, report: dict[str, Any]) -> None:
    """Write a report, completely or not at all.

    Raises:
        InputError: the file cannot be written there.
    """
    failure = _("{path}: the report cannot be written ({reason}); choose another folder")
    writeWhole(path, (json.dumps(report, indent=2, allow_nan=False) + "\n").encode("utf-8"), failure)


def _fileNames(node: slicer.vtkMRMLNode) -> list[str]:
    storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
    if storage is None or not storage.GetFileName():
        return []
    path = Path(storage.GetFileName())
    return [str(path), str(path.parent), path.name, path.name.partition(".")[0]]


def _hierarchyNames(node: slicer.vtkMRMLNode) -> list[str]:
    """Collect names and DICOM attributes of the node's place in the subject hierarchy: study and patient."""
    scene = node.GetScene()  # searched by class: the usual accessor would add a hierarchy where there is none
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") if scene is not None else None
    if hierarchy is None:
        return []
    names, item = [], hierarchy.GetItemByDataNode(node)
    while item and item != hierarchy.GetSceneItemID():
        names.append(hierarchy.GetItemName(item))
        attributes = hierarchy.GetItemAttributeNames(item)
        names += [hierarchy.GetItemAttribute(item, name) for name in attributes if name.startswith(_PERSONAL)]
        item = hierarchy.GetItemParent(item)
    return names


def _nodeText(value: Any) -> Any:
    """Describe a value by type and geometry; of a dictionary the values only, because its keys are the user's names."""
    if isinstance(value, dict):
        return [_nodeText(part) for part in value.values()]
    if isinstance(value, Image | DisplacementField):
        return {"type": type(value).__name__, "voxels": str(value.array.dtype), "grid": grid_section(value.grid)}
    if isinstance(value, Grid):
        return {"type": "Grid", "grid": grid_section(value)}
    if isinstance(value, np.ndarray):
        return {"type": "array", "shape": list(value.shape)}
    return type(value).__name__


def _without(hidden: dict[str, str], text: str) -> str:
    """Remove private texts, in upper and lower case; the longest first, as one may contain another.

    Windows paths are also removed as a repr shows them, with doubled backslashes.
    """
    known = {name.lower(): word for name, word in hidden.items() if name}
    known |= {name.replace("\\", "\\\\"): word for name, word in known.items()}
    if not known:
        return text
    names = (re.escape(name) if len(name) >= _SHORT else rf"\b{re.escape(name)}\b" for name in _longestFirst(known))
    return re.sub("|".join(names), lambda match: known.get(match.group().lower(), "<name>"), text, flags=re.IGNORECASE)


def _longestFirst(names: Iterable[str]) -> list[str]:
    return sorted(names, key=len, reverse=True)


def _applicationVersion() -> str:
    return str(getattr(getattr(slicer, "app", None), "applicationVersion", "unknown"))
