"""Label maps whose segments may overlap, and the matching of two by the names of their segments. torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..core.grid import Grid
from ..core.image import Image
from ..errors import InputError
from .segment_headers import Segment, read_segments
from .volumes import LARGEST_LABEL, fit_labels, read_layers

_MOST_NAMED = 6  # segments in a sentence


@dataclass(frozen=True)
class LabelLayers:
    """Label maps on one grid, several where segments overlap; every label stands in one of them only."""

    layers: tuple[Image, ...]
    names: dict[int, str]  # of the labels; empty where the file names none
    segments: dict[int, Segment] = field(default_factory=dict)  # as the file has them, by the same numbers

    @property
    def flat(self) -> Image:
        """Return all labels in one map; where segments overlap, the one of the last layer is kept."""
        array = self.layers[0].array
        for layer in self.layers[1:]:
            array = np.where(layer.array > 0, layer.array, array)
        return Image(array, self.layers[0].grid)


def read_label_layers(path: str | Path, grid: Grid | None = None) -> tuple[LabelLayers, list[str]]:
    """Read a label map as `volumes.read_labels` does, but each layer of a .seg.nrrd by itself, with its names.

    Raises:
        InputError: the file cannot be read, or its values are not whole numbers.
    """
    images, warnings = read_layers(path)
    segments = read_segments(Path(path))
    numbers = _numbers(segments)
    layers = []
    for index, image in enumerate(images):
        fitted, more = fit_labels(image, grid or image.grid, str(path))
        change = {each.value: number for number, each in numbers.items() if each.layer == index}
        layers.append(renumbered(fitted, change) if len(images) > 1 else fitted)
        warnings += more
    empty = f"{path}: the label map is empty"
    if any(layer.array.any() for layer in layers):
        warnings = [text for text in warnings if text != empty]  # of a layer
    warnings = list(dict.fromkeys(warnings))
    return LabelLayers(tuple(layers), {number: each.name for number, each in numbers.items()}, numbers), warnings


def match_names(
    fixed: LabelLayers, moving: LabelLayers, paths: tuple[str, str]
) -> tuple[LabelLayers, LabelLayers, list[str]]:
    """Give segments of one name one number, where both files name theirs; return both, with warnings.

    The fixed numbers stay. Moving segments without a partner get numbers that no fixed segment has.

    Args:
        paths: of the fixed and the moving map, as the user knows them.

    Raises:
        InputError: a name stands for two segments of one file.
    """
    if not fixed.names or not moving.names:
        return fixed, moving, []
    for path, side in zip(paths, (fixed, moving), strict=True):
        for name, count in Counter(map(_key, side.names.values())).items():
            if count > 1:
                raise InputError(f"{path}: {count} segments have the name '{name}'; rename them, to tell them apart")
    partners = {_key(name): number for number, name in fixed.names.items()}
    taken = {*fixed.names, *moving.names}
    change: dict[int, int] = {}
    for number, name in moving.names.items():
        if _key(name) in partners:
            change[number] = partners[_key(name)]
        else:
            change[number] = free_number(taken, paths[1])
            taken.add(change[number])
    shared = [f"{partners[_key(name)]} {name}" for name in moving.names.values() if _key(name) in partners]
    if not shared:
        return fixed, _renumbered_layers(moving, change), [
            f"{paths[0]} and {paths[1]}: the label maps have no segment name in common"
        ]  # fmt: skip
    alike = all(number == new for number, new in change.items() if _key(moving.names[number]) in partners)
    if alike and len(shared) == len(change):
        return fixed, moving, []
    more = f" and {len(shared) - _MOST_NAMED} more" if len(shared) > _MOST_NAMED else ""
    text = f"{paths[1]}: its segments were matched by name, and numbered as in {paths[0]}: "
    return fixed, _renumbered_layers(moving, change), [text + ", ".join(shared[:_MOST_NAMED]) + more]


def renumbered(labels: Image, change: dict[int, int]) -> Image:
    """Replace labels by others, by old number; numbers that are not named become background."""
    table = np.zeros(int(max([0, *change, int(labels.array.max(initial=0))])) + 1, np.uint16)
    for old, new in change.items():
        table[old] = new
    return Image(table[labels.array], labels.grid)


def free_number(taken: Collection[int], path: str | Path) -> int:
    """Return a label number that is not taken: the one after the largest, as long as labels hold it, else the least.

    Raises:
        InputError: all are taken; path: of the map that needs one more.
    """
    after = max(taken, default=0) + 1
    numbers: Sequence[int] = [after] if after <= LARGEST_LABEL else range(1, LARGEST_LABEL + 1)
    for number in numbers:
        if number not in taken:
            return number
    raise InputError(f"{path}: all {LARGEST_LABEL} label numbers are taken; leave out segments that you do not need")


def _renumbered_layers(labels: LabelLayers, change: dict[int, int]) -> LabelLayers:
    names = {change[number]: name for number, name in labels.names.items()}
    segments = {change[number]: segment for number, segment in labels.segments.items()}
    layers = tuple(renumbered(layer, change) for layer in labels.layers)
    return replace(labels, layers=layers, names=names, segments=segments)


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _numbers(segments: list[Segment]) -> dict[int, Segment]:
    """Give every segment a number: its value, unless another layer has the same; then its place in the header."""
    values = [each.value for each in segments]
    if len(set(values)) == len(values):
        return dict(zip(values, segments, strict=True))
    return dict(enumerate(segments, 1))
