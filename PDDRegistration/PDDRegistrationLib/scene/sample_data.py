"""Load the bundled sample pair, two virtual patients with their organs and landmarks, without a network."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import slicer
import vtk

SIDES = ("fixed", "moving")
# beginning of a label's name: colour 0..1
COLOURS = {
    "liver": (0.87, 0.51, 0.40), "spleen": (0.62, 0.42, 0.66), "right_kidney": (0.73, 0.40, 0.20),
    "left_kidney": (0.80, 0.48, 0.25), "gallbladder": (0.55, 0.68, 0.30), "stomach": (0.85, 0.52, 0.52),
    "pancreas": (0.98, 0.71, 0.51), "aorta": (0.88, 0.20, 0.18), "inferior_vena_cava": (0.15, 0.45, 0.85),
    "portal": (0.20, 0.60, 0.80), "oesophagus": (0.82, 0.64, 0.52), "bladder": (0.87, 0.78, 0.32),
    "heart": (0.80, 0.30, 0.30), "lungs": (0.62, 0.72, 0.80), "colon": (0.78, 0.68, 0.50),
    "small_bowel": (0.80, 0.62, 0.55), "right_psoas": (0.72, 0.40, 0.36), "left_psoas": (0.72, 0.40, 0.36),
}  # fmt: skip
BONE = (0.95, 0.90, 0.75)


def samplePairNames() -> tuple[str, str]:
    """Return the names of the two volumes in the scene."""
    return "PDDFixed", "PDDMoving"


def loadSamplePair(folder: Path) -> dict[str, slicer.vtkMRMLNode]:
    """Load the pair into the application's scene.

    Args:
        folder: `Resources/SampleData` of the module.

    Returns:
        the nodes by name: fixed, moving (volumes), fixedSegmentation, movingSegmentation, fixedPoints, movingPoints.
    """
    names = {int(value): name for value, name in json.loads((folder / "labels.json").read_text("utf-8")).items()}
    nodes: dict[str, slicer.vtkMRMLNode] = {}
    for side, name in zip(SIDES, samplePairNames(), strict=True):
        nodes[side] = slicer.util.loadVolume(str(folder / f"{side}.nii.gz"), {"name": name, "show": False})
        nodes[side].GetDisplayNode().AutoWindowLevelOff()
        nodes[side].GetDisplayNode().SetWindowLevel(400, 40)
        nodes[f"{side}Segmentation"] = _segmentation(folder / f"{side}_labels.nii.gz", f"{name} organs", names)
        nodes[f"{side}Points"] = _points(folder / f"{side}_landmarks.csv", f"{name} landmarks")
    return nodes


def _segmentation(path: Path, name: str, names: dict[int, str]) -> slicer.vtkMRMLSegmentationNode:
    node = slicer.util.loadSegmentation(str(path), {"name": name})
    segmentation = node.GetSegmentation()
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        label = names.get(segment.GetLabelValue(), segment.GetName())
        segment.SetName(label.replace("_", " "))
        segment.SetColor(next((colour for start, colour in COLOURS.items() if label.startswith(start)), BONE))
    return node


def _points(path: Path, name: str) -> slicer.vtkMRMLMarkupsFiducialNode:
    """Load landmarks: LPS mm in the file, RAS in the scene; hidden, because they would cover the views."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            x, y, z = (float(row[axis]) for axis in "xyz")
            node.AddControlPoint(vtk.vtkVector3d(-x, -y, z), row["name"].replace("_", " "))
    node.CreateDefaultDisplayNodes()
    node.SetDisplayVisibility(False)
    return node


def registerSamplePair(folder: Path, thumbnail: Path, load: Callable[[object], object]) -> None:
    """Offer the pair in the Sample Data module; load: called with the source when it is clicked."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="PDDRegistration",
        sampleName="PDDRegistrationPair",
        uris=(folder / "fixed.nii.gz").as_uri(),
        fileNames="PDDFixed.nii.gz",
        nodeNames="PDDFixed",
        thumbnailFileName=str(thumbnail),
        customDownloader=load,
    )
