"""Load a pair of a batch into the scene: both volumes, and the transform with its report (`loadPair`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.io.text_files import read_json
from pddnet.io.transforms import read_transform
from pddnet.io.volumes import read_volume
from pddnet.run.provenance import origin

from ..scene.nodes import nodesOfClass
from ..scene.output_nodes import placeBeside
from ..scene.placement import placeOverFixed, placeUnder, registrationParent, setRegistrationReferences
from ..scene.provenance import setProvenance
from ..scene.rollback import unchangedOnError
from ..scene.transforms import gridTransformFromField, linearTransformFromMatrix
from ..scene.volumes import updateVolumeFromImage
from .batch_rows import BatchRow
from .job import REPORT
from .outputs import GRID_TRANSFORM, LINEAR_TRANSFORM, TRANSFORM, outputName

FIELD = "DisplacementFieldTransform"  # ITK's name of a deformable result
FILE = "PDDRegistration.File"
"""Node attribute of what was loaded from a batch: the path of its file."""


@dataclass(frozen=True)
class LoadedPair:
    """Pair of a batch in the scene; the moving volume lies under the transform, and that where the fixed volume does:
    a batch reads scans without the results that they lie under."""

    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    movingVolume: slicer.vtkMRMLScalarVolumeNode
    transform: slicer.vtkMRMLTransformNode


def loadPair(row: BatchRow, folder: Path, scene: slicer.vtkMRMLScene) -> LoadedPair:
    """Load a pair that is done, completely or not at all. What an earlier call loaded is used again.

    folder: of the results of the batch.

    Raises:
        InputError: a file cannot be read, or a volume is no longer in the scene.
    """
    job = row.job(folder)
    report, path = read_json(job.path("report")), job.path("transform")
    found = read_transform(path)
    images = {side: _imageOf(row, side, scene) for side in ("fixed", "moving")}
    kind = GRID_TRANSFORM if found.GetName() == FIELD else LINEAR_TRANSFORM
    known = _loaded(scene, kind, str(path))
    with unchangedOnError(scene, [known] if known is not None else []):
        fixed, moving = (_volumeOf(row, side, scene, image) for side, image in images.items())
        transform = known or _newTransform(scene, kind, fixed, moving, str(path))
        _fill(transform, found)
        setRegistrationReferences(transform, fixed, moving)
        transform.SetAttribute(REPORT, json.dumps(report))
        setProvenance(transform, _originOf(report, fixed, moving))
        placeOverFixed(transform)
        placeUnder(moving, transform, registrationParent(moving))
        placeBeside([transform], moving)
    return LoadedPair(fixed, moving, transform)


def _fill(node: slicer.vtkMRMLTransformNode, transform: sitk.Transform) -> None:
    """Store ITK's transform, a displacement field or a linear map, fixed to moving, LPS mm."""
    if transform.GetName() == FIELD:
        image = sitk.DisplacementFieldTransform(transform).GetDisplacementField()
        array = sitk.GetArrayFromImage(image).astype(np.float32)
        gridTransformFromField(DisplacementField(array, Grid.of(image)), node)
        return
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis, unit in enumerate(np.eye(3).tolist()):
        matrix[:3, axis] = transform.TransformPoint(unit) - matrix[:3, 3]
    linearTransformFromMatrix(matrix, node)


def _imageOf(row: BatchRow, side: str, scene: slicer.vtkMRMLScene) -> Image | None:
    """Read the file of a scan; None where its volume is in the scene already."""
    volume = row.fixedVolume if side == "fixed" else row.movingVolume
    if volume is not None and volume.GetScene() is None:
        raise InputError(_("{name} is no longer in the scene; load it again.").format(name=volume.GetName()))
    if volume is not None or _loaded(scene, "vtkMRMLScalarVolumeNode", _place(row, side)) is not None:
        return None
    return read_volume(row.pair.files[side], series=row.pair.series.get(f"{side}_series"))[0]


def _volumeOf(
    row: BatchRow, side: str, scene: slicer.vtkMRMLScene, image: Image | None
) -> slicer.vtkMRMLScalarVolumeNode:
    """Return the volume of a scan, made of its image where there is one."""
    own = row.fixedVolume if side == "fixed" else row.movingVolume
    place = _place(row, side)
    if own is not None or image is None:
        return own or _loaded(scene, "vtkMRMLScalarVolumeNode", place)
    name = scene.GenerateUniqueName(row.name(side))
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    updateVolumeFromImage(volume, image)
    volume.SetAttribute(FILE, place)
    return volume


def _place(row: BatchRow, side: str) -> str:
    """Return the path of a scan, and which series of it."""
    series = row.pair.series.get(f"{side}_series")
    return row.pair.files[side] + (f"#{series}" if series else "")


def _loaded(scene: slicer.vtkMRMLScene, kind: str, path: str) -> Any:
    """Return the node of a class that was loaded from a file; None where there is none."""
    return next((node for node in nodesOfClass(scene, kind) if node.GetAttribute(FILE) == path), None)


def _newTransform(
    scene: slicer.vtkMRMLScene, kind: str, fixed: slicer.vtkMRMLNode, moving: slicer.vtkMRMLNode, path: str
) -> slicer.vtkMRMLTransformNode:
    name = outputName(TRANSFORM, fixed, moving)
    transform = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name))
    transform.SetAttribute(FILE, path)
    return transform


def _originOf(report: dict[str, Any], fixed: slicer.vtkMRMLNode, moving: slicer.vtkMRMLNode) -> dict[str, Any]:
    try:
        return origin(report, {"fixedVolume": fixed.GetName(), "movingVolume": moving.GetName()})
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(_("The report of this pair is another version's; register the pair again.")) from error
