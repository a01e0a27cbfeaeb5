"""Define the metrics of segments and of landmarks; loops over them make table columns, CSV lines and summary.

The metrics of segments are those of `pddnet.evaluation.metrics.LABEL_METRICS`; a new one needs no change here.
"""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from pddnet.evaluation.metrics import LABEL_METRICS

SIDES = ("before", "after")
"""Without and with the transform."""


@dataclass(frozen=True)
class Metric:
    """Metric that is measured before and after registration.

    key: stem of the worker's fields '<key>_before' and '<key>_after', and key in `references.REFERENCES`.
    name: in columns and CSV lines, which scenes store. digits: in tables; meanDigits: of means, in the summary.
    """

    key: str
    name: str
    unit: str
    digits: int
    meanDigits: int
    description: str

    def column(self, side: str) -> str:
        """Name the stored column, such as 'Dice before'."""
        return f"{self.name} {side}"

    def field(self, side: str) -> str:
        """Name the worker's field, such as 'dice_before'."""
        return f"{self.key}_{side}"


SEGMENT_METRICS = tuple(
    Metric(metric.key, metric.caption, metric.unit, metric.table_digits, metric.digits, metric.description)
    for metric in LABEL_METRICS
)
DICE = next(metric for metric in SEGMENT_METRICS if metric.key == "dice")
TRE = Metric("tre", "TRE", "mm", 3, 2, _("Distance from the moving point"))
POINT_METRICS = (TRE,)
