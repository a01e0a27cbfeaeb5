"""Hold the numbers of one measurement (`MeasureFindings`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..scene.points import PointPairs
from ..scene.segment_matching import SegmentMatches


@dataclass(frozen=True)
class MeasureFindings:
    """Findings: the sections of the worker's answer to `evaluate`, and how segments and points were matched."""

    organs: list[dict[str, Any]]  # a row per segment, see `matched_segments.MatchedLabelMaps.table`
    segments: SegmentMatches | None
    points: PointPairs | None
    tre: dict[str, Any] | None  # mm
    jacobian: dict[str, Any] | None
    inverseError: dict[str, Any] | None  # mm
    similarity: dict[str, Any] | None
    motion: list[dict[str, Any]]  # a row per segment, see `matched_segments.MatchedLabelMaps.motion`
