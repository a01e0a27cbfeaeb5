"""Put a segmentation by atlases into the scene: the segments, and where the atlases disagree (`loadAtlasResult`)."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.io.label_layers import read_label_layers
from pddnet.io.segment_headers import Segment as FileSegment
from pddnet.io.volumes import read_layers

from ..scene.output_nodes import fillMap, placeBeside
from ..scene.placement import registrationParent
from ..scene.provenance import setProvenance
from ..scene.rollback import unchangedOnError
from ..scene.segmentations import Segment, SegmentLabels, segmentationFromLabels
from .scene_atlases import TERMINOLOGY

GOLDEN = 0.618034  # of the circle of hues, from one segment to the next: neighbours differ
SHOWN = 0.05  # share of the atlases below which a disagreement is not drawn
COLOURS = "vtkMRMLColorTableNodeWarm1"  # one of Slicer's own


@dataclass(frozen=True)
class AtlasResult:
    """Segmentation and disagreement (0..1), both as `fixedVolume` lies; report: that of `pddnet segment`."""

    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    disagreement: slicer.vtkMRMLScalarVolumeNode
    report: dict[str, Any]


def loadAtlasResult(
    labels: Path, disagreement: Path, report: dict[str, Any], fixedVolume: slicer.vtkMRMLScalarVolumeNode
) -> AtlasResult:
    """Add new nodes, both or none, under the result that the volume lies under.

    labels: a .seg.nrrd file; disagreement: a volume; both LPS mm, where `scan_files.ScanFiles` wrote the volume.

    Raises:
        InputError: a file cannot be read.
    """
    scene = fixedVolume.GetScene()
    layers, _warnings = read_label_layers(labels)
    (shares,), _warnings = read_layers(disagreement)
    with unchangedOnError(scene, []):
        segmentation = _new(scene, "vtkMRMLSegmentationNode", _("{name} segmented by atlases"), fixedVolume)
        entries = _segments(layers.segments, np.unique(layers.flat.array).tolist())
        segmentationFromLabels(SegmentLabels((layers.flat,), entries), segmentation, None, fixedVolume)
        _dress(segmentation.GetSegmentation(), layers.segments)
        volume = _new(scene, "vtkMRMLScalarVolumeNode", _("{name} disagreement of atlases"), fixedVolume)
        fillMap(volume, shares, window=1.0, level=0.5)
        _drawOnlyDisagreement(volume.GetDisplayNode())
        parent = registrationParent(fixedVolume)
        for node in (segmentation, volume):
            node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
            setProvenance(node, _origin(report, fixedVolume))
        placeBeside([segmentation, volume], fixedVolume)
    return AtlasResult(fixedVolume, segmentation, volume, report)


def _new(scene: slicer.vtkMRMLScene, kind: str, title: str, fixed: slicer.vtkMRMLNode) -> Any:
    return scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(title.format(name=fixed.GetName())))


def _origin(report: Mapping[str, Any], fixed: slicer.vtkMRMLNode) -> dict[str, Any]:
    """Return what is kept with both nodes; each atlas has a verdict of its own, which only the report has."""
    used = [atlas["name"] for atlas in report["atlases"] if atlas["used"]]
    return {
        "version": report["versions"]["pddnet"],
        "preset": report["preset"],
        "weights": dict(report["weights"]),
        "inputs": {"fixedVolume": fixed.GetName(), "method": report["method"], "atlases": used},
    }


def _segments(segments: Mapping[int, FileSegment], present: Collection[int]) -> tuple[Segment, ...]:
    """Describe all segments of one layer; those whose numbers are not present have no voxels."""
    return tuple(
        Segment(_id(number), each.name, _tags(each).get(TERMINOLOGY, ""), 0 if number in present else None, number)
        for number, each in sorted(segments.items())
    )


def _dress(segmentation: slicer.vtkSegmentation, segments: Mapping[int, FileSegment]) -> None:
    """Give the segments the colours and tags of the file; colours of their own where it has none."""
    for number, each in segments.items():
        segment = segmentation.GetSegment(_id(number))
        segment.SetColor(*(each.colour or colorsys.hsv_to_rgb(number * GOLDEN % 1.0, 0.6, 0.9)))
        for tag, value in _tags(each).items():
            segment.SetTag(tag, value)


def _tags(segment: FileSegment) -> dict[str, str]:
    """Read the tags as Slicer writes them: 'name:value|name:value|'."""
    pairs = (entry.partition(":") for entry in segment.tags.split("|"))
    return {name: value for name, colon, value in pairs if colon}


def _id(number: int) -> str:
    return f"Segment_{number}"


def _drawOnlyDisagreement(display: slicer.vtkMRMLScalarVolumeDisplayNode) -> None:
    """Colour a volume of shares where they are more than nothing, so that it can be laid over the scan."""
    display.SetAndObserveColorNodeID(COLOURS)
    display.AutoThresholdOff()
    display.SetThreshold(SHOWN, 1.0)
    display.ApplyThresholdOn()
