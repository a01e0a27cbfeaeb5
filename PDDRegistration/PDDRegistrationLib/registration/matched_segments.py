"""`MatchedLabelMaps`: matched segments of two segmentations as pairs of label maps, and the table of their metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pddnet.core.grid import Grid
from pddnet.core.image import Image

from ..scene.segment_matching import SharedLabels, sharedLabels
from ..scene.segmentations import SegmentLabels


@dataclass(frozen=True)
class MatchedLabelMaps:
    """Pairs of label maps to measure: `pairs` for the worker, `shared` with the segments that the labels stand for."""

    pairs: dict[str, dict[str, Image]] = field(default_factory=dict)
    shared: tuple[SharedLabels, ...] = ()

    @classmethod
    def of(cls, fixed: SegmentLabels, moving: SegmentLabels, grid: Grid) -> MatchedLabelMaps:
        """The matched segments of both, on the fixed volume's grid (LPS mm), as the command line measures them."""
        shared = tuple(sharedLabels(fixed, moving))
        pairs = {
            str(n): {"fixed": labels.fixed.resample(grid, labels=True), "moving": labels.moving}
            for n, labels in enumerate(shared)
        }
        return cls(pairs, shared)

    def table(self, evaluation: dict[str, Any]) -> list[dict[str, Any]]:
        """One row per matched segment: name, how it was matched, and every metric before and after (distances in mm).

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
