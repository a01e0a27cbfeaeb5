"""The metrics of segments and of landmarks, each declared once: table columns, CSV lines and summary loop over these.

`pddnet.evaluation.metrics` computes them. A further metric of segments is an entry there and one here.
"""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

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


DICE = Metric("dice", "Dice", _("Dice"), "", 4, 3, _("Overlap, 0 to 1: twice the shared volume over both"))
HD95 = Metric("hd95", "HD95", "HD95", "mm", 3, 1, _("Larger 95th percentile of the distances"))
ASD = Metric("asd", "ASD", "ASD", "mm", 3, 2, _("Mean distance of the surfaces, both ways"))
TRE = Metric("tre", "TRE", "TRE", "mm", 3, 2, _("Distance from the moving point"))

SEGMENT_METRICS = (DICE, HD95, ASD)
POINT_METRICS = (TRE,)
