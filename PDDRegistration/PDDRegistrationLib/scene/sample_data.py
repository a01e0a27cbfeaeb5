"""Load the bundled sample pair, two virtual patients with their organs and landmarks, without a network."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import slicer
import vtk

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


FILE_TYPE = "PDDRegistrationSample"
EXTENSION = ".pddsample"
KEYS = ("fixed", "fixedSegmentation", "fixedPoints", "moving", "movingSegmentation", "movingPoints")
"""The nodes of the pair, in the order in which they are loaded."""
NAMES = {"": "{volume}", "Segmentation": "{volume} organs", "Points": "{volume} landmarks"}


def loadSamplePair(folder: Path) -> dict[str, slicer.vtkMRMLNode]:
    """Load the pair into the application's scene, and show the fixed volume in the slice views.

    Args:
        folder: `Resources/SampleData` of the module.

    Returns:
        the nodes by `KEYS`: fixed, moving (volumes), fixedSegmentation, movingSegmentation, fixedPoints, movingPoints.
    """
    return {key: loadSampleNode(folder, key) for key in KEYS}


def loadSampleNode(folder: Path, key: str) -> slicer.vtkMRMLNode:
    """Load one node of the pair, with a name that no other node has.

    It keeps no file: what a user changes in it must not be saved over the module's own.
    """
    side = "fixed" if key.startswith("fixed") else "moving"
    kind = key.removeprefix(side)
    volume = _freeName(f"PDD{side.capitalize()}", NAMES[kind])
    node = {"": _volume, "Segmentation": _segmentation, "Points": _points}[kind](folder, side, volume)
    node.SetName(NAMES[kind].format(volume=volume))
    storage = node.GetStorageNode()
    if storage is not None:
        slicer.mrmlScene.RemoveNode(storage)
        node.SetAndObserveStorageNodeID(None)
    return node


def _freeName(volume: str, name: str) -> str:
    """Return the first of volume, volume_1, volume_2, ... whose node `name` is not in the scene.

    The nodes of a second pair so get the same number, as each looks for its own name.
    """
    numbered = (f"{volume}_{number}" if number else volume for number in itertools.count())
    return next(each for each in numbered if slicer.mrmlScene.GetFirstNodeByName(name.format(volume=each)) is None)


def _volume(folder: Path, side: str, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    node = slicer.util.loadVolume(str(folder / f"{side}.nii.gz"), {"name": name, "show": side == "fixed"})
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(400, 40)
    return node


def _segmentation(folder: Path, side: str, volume: str) -> slicer.vtkMRMLSegmentationNode:
    """Load the organs, which belong to the volume of that name if it is there."""
    names = {int(value): name for value, name in json.loads((folder / "labels.json").read_text("utf-8")).items()}
    node = slicer.util.loadSegmentation(str(folder / f"{side}_labels.nii.gz"), {"name": volume})
    drawnOn = slicer.mrmlScene.GetFirstNodeByName(volume)
    if drawnOn is not None and drawnOn.IsA("vtkMRMLScalarVolumeNode"):
        node.SetReferenceImageGeometryParameterFromVolumeNode(drawnOn)
    segmentation = node.GetSegmentation()
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        label = names.get(segment.GetLabelValue(), segment.GetName())
        segment.SetName(label.replace("_", " "))
        segment.SetColor(next((colour for start, colour in COLOURS.items() if label.startswith(start)), BONE))
    return node


def _points(folder: Path, side: str, volume: str) -> slicer.vtkMRMLMarkupsFiducialNode:
    """Load landmarks: LPS mm in the file, RAS in the scene; hidden, because they would cover the views."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    with (folder / f"{side}_landmarks.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            x, y, z = (float(row[axis]) for axis in "xyz")
            node.AddControlPoint(vtk.vtkVector3d(-x, -y, z), row["name"].replace("_", " "))
    node.CreateDefaultDisplayNodes()
    node.SetDisplayVisibility(False)
    return node


def registerSamplePair(folder: Path, thumbnail: Path) -> None:
    """Offer the pair in the Sample Data module, whose button and `SampleData.downloadSamples` load it alike.

    Slicer copies each file into its cache and passes the copy to the reader of the file's type. Ours takes the node
    from the module's own folder instead, by the copy's name: names, colours and windows are not in the files. Sample
    Data has a hook for other ways of loading, too (`customDownloader`), but only its button calls that.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="PDDRegistration",
        sampleName="PDDRegistrationPair",
        uris=[(folder / "labels.json").as_uri()] * len(KEYS),
        fileNames=[f"{key}{EXTENSION}" for key in KEYS],
        nodeNames=list(KEYS),
        loadFileTypes=[FILE_TYPE] * len(KEYS),
        thumbnailFileName=str(thumbnail),
    )
