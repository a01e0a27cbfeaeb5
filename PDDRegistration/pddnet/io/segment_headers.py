"""Segments of Slicer's .seg.nrrd files, as the header names them: name, layer, value and look of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..core.image import Image
from .paths import itk_name
from .quiet import quiet

_ENDINGS = (".nrrd", ".nhdr")
_MOST_SEGMENTS = 65535


@dataclass(frozen=True)
class Segment:
    """One segment: its voxels have the value `value` in layer `layer`.

    colour: red, green and blue, 0..1; None where the file has none. tags: with the terminology, as Slicer writes them.
    """

    name: str
    layer: int
    value: int
    colour: tuple[float, ...] | None = None
    tags: str = ""


def read_segments(path: Path) -> list[Segment]:
    """Read the segments that a NRRD header names, in its order; none of another file, or without legible names."""
    if not path.name.lower().endswith(_ENDINGS):
        return []
    reader = sitk.ImageFileReader()
    reader.SetFileName(itk_name(path))
    try:
        with quiet():
            reader.ReadImageInformation()
    except RuntimeError:
        return []  # reading the voxels will tell
    found: list[Segment] = []
    while len(found) < _MOST_SEGMENTS and reader.HasMetaDataKey(f"Segment{len(found)}_Name"):
        number = len(found)

        name = reader.GetMetaData(f"Segment{number}_Name").strip()
        try:
            value = _number(reader, f"Segment{number}_LabelValue")
            layer = _number(reader, f"Segment{number}_Layer")
        except ValueError:
            return []
        if value is None and layer is None:  # before layers were shared, every segment had its own, with the value 1
            layer = number
        look = _colour(reader, f"Segment{number}_Color"), _text(reader, f"Segment{number}_Tags")
        found.append(Segment(name, layer or 0, 1 if value is None else value, *look))
    return found


def segmentation(labels: Image, segments: Mapping[int, Segment]) -> sitk.Image:
    """Return a label map with the header of a .seg.nrrd file, in one layer.

    labels: (D, H, W) whole numbers. segments: by number in the map; those without voxels are written, too.
    """
    image = labels.to_sitk()
    boxes = ndimage.find_objects(labels.array.astype(np.int32, copy=False))
    for place, (number, segment) in enumerate(sorted(segments.items())):
        box = boxes[number - 1] if number <= len(boxes) else None
        entries = {"ID": f"Segment_{number}", "Name": segment.name, "LabelValue": str(number), "Layer": "0"}
        entries["Extent"] = _extent(box)
        if segment.colour is not None:
            entries["Color"] = " ".join(f"{part:g}" for part in segment.colour)
        if segment.tags:
            entries["Tags"] = segment.tags
        for key, content in entries.items():
            image.SetMetaData(f"Segment{place}_{key}", content)
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    image.SetMetaData("Segmentation_ContainedRepresentationNames", "Binary labelmap|")
    image.SetMetaData("Segmentation_ReferenceImageExtentOffset", "0 0 0")
    return image


def _extent(box: tuple[slice, ...] | None) -> str:
    """Write the first and the last voxel along i, j, k; of an empty segment the last one lies before the first."""
    if box is None:
        return "0 -1 0 -1 0 -1"
    return " ".join(f"{along.start} {along.stop - 1}" for along in box[::-1])


def _colour(reader: sitk.ImageFileReader, key: str) -> tuple[float, ...] | None:
    try:
        parts = tuple(float(part) for part in _text(reader, key).split())
    except ValueError:
        return None
    return parts if len(parts) == 3 and all(0 <= part <= 1 for part in parts) else None


def _text(reader: sitk.ImageFileReader, key: str) -> str:
    return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""


def _number(reader: sitk.ImageFileReader, key: str) -> int | None:
    return int(reader.GetMetaData(key)) if reader.HasMetaDataKey(key) else None
