"""Pair the matched segments of two segmentations as label maps, and tabulate their metrics (`MatchedLabelMaps`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pddnet.core.grid import Grid
from pddnet.core.image import Image

from ..scene.segment_matching import SharedLabels, sharedLabels
from ..scene.segmentations import SegmentLabels


@dataclass(frozen=True)
class MatchedLabelMaps:
    """Label maps of the matched segments: `pairs` go to the worker, `shared` maps labels back to segments."""

    pairs: dict[str, dict[str, Image]] = field(default_factory=dict)
    shared: tuple[SharedLabels, ...] = ()

    @classmethod
    def of(cls, fixed: SegmentLabels, moving: SegmentLabels, grid: Grid) -> MatchedLabelMaps:
        """Match the segments of both, with the fixed ones on the fixed volume's grid (LPS mm), as the command line
        measures them."""
        shared = tuple(sharedLabels(fixed, moving))
        pairs = {
            str(n): {"fixed": labels.fixed.resample(grid, labels=True), "moving": labels.moving}
            for n, labels in enumerate(shared)
        }
        return cls(pairs, shared)

    def table(self, evaluation: dict[str, Any]) -> list[dict[str, Any]]:
        """List one row per matched segment: name, how it was matched, every metric before and after (distances in mm).

        evaluation: the worker's answer, a label section (`pddnet.evaluation.report.label_section`) by the pairs' names.
        """
        rows = []
        for name, section in evaluation.items():
            pairs = self.shared[int(name)].pairs
            for row in section["table"]:
                match = pairs[int(row["label"]) - 1]
                metrics = {field: value for field, value in row.items() if field.endswith(("_before", "_after"))}
                rows.append({"name": match.fixed.name, "matched": match.how} | metrics)
        return rows

    def motion(self, tables: dict[str, Any]) -> list[dict[str, Any]]:
        """List how the transform moves every matched segment of the fixed scan: a row with the segment's name each.

        tables: the worker's answer, a table (`pddnet.evaluation.motion.motion_table`) by the pairs' names.
        """
        rows = []
        for name, table in tables.items():
            pairs = self.shared[int(name)].pairs
            rows += [row | {"name": pairs[int(row["name"]) - 1].fixed.name} for row in table]
        return rows
