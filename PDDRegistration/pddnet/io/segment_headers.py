"""Segments of Slicer's .seg.nrrd files, as the header names them: name, layer and value of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from .paths import itk_name
from .quiet import quiet

_ENDINGS = (".nrrd", ".nhdr")
_MOST_SEGMENTS = 65535


@dataclass(frozen=True)
class Segment:
    """One segment: its voxels have the value `value` in layer `layer`."""

    name: str
    layer: int
    value: int


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
        found.append(Segment(name, layer or 0, 1 if value is None else value))
    return found


def _number(reader: sitk.ImageFileReader, key: str) -> int | None:
    return int(reader.GetMetaData(key)) if reader.HasMetaDataKey(key) else None
