"""The metrics of segments and of landmarks: table columns, CSV lines and summary loop over these.

Those of segments are declared and computed in `pddnet.evaluation.metrics`; a further one is an entry there.
"""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from pddnet.evaluation import metrics

SIDES = ("before", "after")
"""Without and with the transform."""


@dataclass(frozen=True)
class Metric:
    """A number that is measured before and after.

    key: of the worker's fields '<key>_before' and '<key>_after', and of `references.REFERENCES`.
    name: of stored columns and CSV lines; title: as the user reads it. digits: in tables; meanDigits: of means.
    """

    key: str
    name: str
    title: str
    unit: str
    digits: int
    meanDigits: int
    description: str

    def column(self, side: str) -> str:
        """Name of the stored column, such as 'Dice before'."""
        return f"{self.name} {side}"

    def field(self, side: str) -> str:
        """Name of the worker's field, such as 'dice_before'."""
        return f"{self.key}_{side}"


def _ofSegments(metric: metrics.Metric) -> Metric:
    return Metric(
        key=metric.key,
        name=metric.caption,
        title=_(metric.caption),
        unit=metric.unit,
        digits=metric.table_digits,
        meanDigits=metric.digits,
        description=_(metric.description),
    )


SEGMENT_METRICS = tuple(_ofSegments(metric) for metric in metrics.LABEL_METRICS)
DICE = next(metric for metric in SEGMENT_METRICS if metric.key == "dice")  # what the chart shows
TRE = Metric("tre", "TRE", "TRE", "mm", 3, 2, _("Distance from the moving point"))
POINT_METRICS = (TRE,)
