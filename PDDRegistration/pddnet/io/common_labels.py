"""Give the segments of several label maps common numbers, by their names (`CommonLabels`). torch-free."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..core.grid import Grid
from ..core.image import Image
from ..errors import InputError
from .label_layers import free_number, read_label_layers, renumbered
from .label_names import find_names
from .segment_headers import Segment


class CommonLabels:
    """Segments of all label maps that were read so far, by number.

    A segment whose name is known gets its number; another one keeps its own, unless that is taken. Label maps that
    name nothing keep their numbers.
    """

    def __init__(self, folder: Path) -> None:
        """folder: its labels.json names the labels of maps that have no names, unless one lies beside the map."""
        self._folder = folder
        self.segments: dict[int, Segment] = {}

    def name(self, number: int) -> str:
        """Return the name of a label, or its number where nothing names it."""
        return self.segments[number].name if number in self.segments else f"label {number}"

    def read(self, path: Path, grid: Grid) -> tuple[Image, list[str]]:
        """Read a label map on a grid with the common numbers, and return it with warnings.

        Of segments that overlap, the last one counts.

        Raises:
            InputError: the file cannot be read, is no label map, or has two segments of one name.
        """
        labels, warnings = read_label_layers(path, grid)
        segments, flat = labels.segments, labels.flat
        if not segments:
            names = find_names(path.parent, self._folder)
            if not names:
                return flat, warnings
            numbers = sorted({*names, *np.unique(flat.array).tolist()} - {0})
            segments = {number: Segment(names.get(number, f"label {number}"), 0, number) for number in numbers}
        return renumbered(flat, self._adopt(segments, path)), warnings

    def _adopt(self, segments: dict[int, Segment], path: Path) -> dict[int, int]:
        """Find the common number of each segment, by its own."""
        known = {_key(segment.name): number for number, segment in self.segments.items()}
        change: dict[int, int] = {}
        for number, segment in segments.items():
            key = _key(segment.name)
            common = known.get(key) or self._free(number, path)
            if common in change.values():
                raise InputError(f"{path}: two segments have the name '{segment.name}'; rename one of them")
            change[number] = known[key] = common
            seen = self.segments.setdefault(common, segment)
            if seen.colour is None:
                self.segments[common] = dataclasses.replace(seen, colour=segment.colour, tags=seen.tags or segment.tags)
        return change

    def _free(self, number: int, path: Path) -> int:
        return number if number not in self.segments else free_number(self.segments, path)


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
