"""The organs of two segmentations that are the same: as label maps to be measured, and their table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pddnet.core.grid import Grid
from pddnet.core.image import Image

from ..scene.segmentations import SegmentLabels, SharedLabels, sharedLabels

_COLUMNS = tuple(f"{column}_{side}" for column in ("dice", "hd95", "asd") for side in ("before", "after"))


@dataclass(frozen=True)
class OrganPairs:
    """What to measure: `pairs` for the worker's `evaluate`, and whose the labels are."""

    pairs: dict[str, dict[str, Image]] = field(default_factory=dict)
    shared: tuple[SharedLabels, ...] = ()

    @classmethod
    def of(cls, fixed: SegmentLabels, moving: SegmentLabels, grid: Grid) -> OrganPairs:
        """The matched segments of both, on the fixed volume's grid (LPS mm), as the command line measures them."""
        shared = tuple(sharedLabels(fixed, moving))
        pairs = {
            str(n): {"fixed": labels.fixed.resample(grid, labels=True), "moving": labels.moving}
            for n, labels in enumerate(shared)
        }
        return cls(pairs, shared)

    def table(self, evaluation: dict[str, Any]) -> list[dict[str, Any]]:
        """One row per matched segment: name, how it was matched, dice, hd95 and asd (mm) before and after.

        evaluation: the worker's answer, a label section (`pddnet.evaluation.report.label_section`) by the pairs' names.
        """
        rows = []
        for name, section in evaluation.items():
            pairs = self.shared[int(name)].pairs
            for row in section["table"]:
                match = pairs[int(row["label"]) - 1]
                rows.append(
                    {"name": match.fixed.name, "matched": match.how} | {column: row.get(column) for column in _COLUMNS}
                )
        return rows
