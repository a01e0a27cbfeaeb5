"""Match the segments of two segmentations, and convert the matched ones to label maps with common values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pddnet.core.image import Image

from .segmentations import Segment, SegmentLabels

_CODES = (1, 2, 3, 5, 6)  # of a terminology string: category, type, modifier, region, region's modifier


@dataclass(frozen=True)
class SegmentMatch:
    """Fixed segment and the moving one that is the same organ; how: 'name' or 'terminology'."""

    fixed: Segment
    moving: Segment
    how: str


@dataclass(frozen=True)
class SegmentMatches:
    """Matched pairs of two segmentations, in the fixed one's order, and the unmatched segments of both."""

    pairs: tuple[SegmentMatch, ...]
    unmatchedFixed: tuple[Segment, ...]
    unmatchedMoving: tuple[Segment, ...]


@dataclass(frozen=True, eq=False)
class SharedLabels:
    """Label maps in which matched segments have the same value: `pairs[n]` is label n + 1 in both, 0 the rest.

    fixed and moving lie on grids of their own, LPS mm.
    """

    fixed: Image
    moving: Image
    pairs: tuple[SegmentMatch, ...]


def matchSegments(fixedSegments: Iterable[Segment], movingSegments: Iterable[Segment]) -> SegmentMatches:
    """Find the segments of two segmentations that are the same organ; each is used once.

    Segments are matched first by name, ignoring case and outer spaces, then by the codes of the terminology (category,
    type, modifier, region), where exactly one unmatched segment on each side has them. Slicer's default for new
    segments ("Tissue") names no organ and matches nothing.
    """
    fixed, moving = list(fixedSegments), list(movingSegments)
    pairs: dict[int, SegmentMatch] = {}
    for how, key, repeated in (("name", _nameKey, True), ("terminology", terminologyCodes, False)):
        left = {n: segment for n, segment in enumerate(fixed) if n not in pairs}
        used = {match.moving.id for match in pairs.values()}
        free = [segment for segment in moving if segment.id not in used]
        counts = [Counter(map(key, side)) for side in (left.values(), free)]
        for number, segment in left.items():
            wanted = key(segment)
            if not wanted or (not repeated and any(count[wanted] != 1 for count in counts)):
                continue
            found = next((candidate for candidate in free if key(candidate) == wanted), None)
            if found is not None:
                free.remove(found)
                pairs[number] = SegmentMatch(segment, found, how)
    used = {match.moving.id for match in pairs.values()}
    return SegmentMatches(
        tuple(pairs[number] for number in sorted(pairs)),
        tuple(segment for number, segment in enumerate(fixed) if number not in pairs),
        tuple(segment for segment in moving if segment.id not in used),
    )


def sharedLabels(
    fixed: SegmentLabels, moving: SegmentLabels, matches: SegmentMatches | None = None
) -> list[SharedLabels]:
    """Convert matched segments to label maps with common values, for `pddnet.evaluation.metrics.label_table`.

    The list has one item for every two layers that share a match, usually one in all: segments that overlap lie in
    different layers, so all of them are measured, and none hides another. To measure as the command line does, resample
    `fixed` to the fixed volume's grid, and `moving` to it without and with the transform. Pairs of which one segment
    has no voxels at all are left out.
    """
    groups: dict[tuple[int, int], list[SegmentMatch]] = {}
    for pair in (matches or matchSegments(fixed.segments, moving.segments)).pairs:
        if pair.fixed.layer is not None and pair.moving.layer is not None:
            groups.setdefault((pair.fixed.layer, pair.moving.layer), []).append(pair)
    return [
        SharedLabels(
            _relabelled(fixed.images[fixed_layer], [pair.fixed.value for pair in pairs]),
            _relabelled(moving.images[moving_layer], [pair.moving.value for pair in pairs]),
            tuple(pairs),
        )
        for (fixed_layer, moving_layer), pairs in groups.items()
    ]


def terminologyCodes(segment: Segment) -> tuple[tuple[str, str], ...] | None:
    """Return (coding scheme, code) of category, type, modifier, region, region's modifier; None if unspecific."""
    parts = segment.terminology.split("~") + [""] * 7
    codes = tuple(((parts[n] + "^^").split("^")[0], (parts[n] + "^^").split("^")[1]) for n in _CODES)
    category, kind = codes[:2]
    return None if not kind[1] or kind == category else codes


def _nameKey(segment: Segment) -> str:
    return segment.name.strip().casefold()


def _relabelled(image: Image, values: list[int]) -> Image:
    """Relabel a label map: `values[n]` becomes n + 1, all else 0."""
    table = np.zeros(max([int(image.array.max()), *values]) + 1, np.uint8 if len(values) < 256 else np.uint16)
    table[values] = np.arange(1, len(values) + 1)
    array = np.empty(image.array.shape, table.dtype)
    for plane, relabelled in zip(image.array, array, strict=True):  # numpy converts all indices to 64 bits
        np.take(table, plane, out=relabelled, mode="clip")
    return Image(array, image.grid)
