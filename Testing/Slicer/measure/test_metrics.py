"""The list of metrics: the same as pddnet's, and with the names that scenes and files store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.evaluation.metrics import label_table

if TYPE_CHECKING:
    from host.host import Host


@pytest.fixture(autouse=True)
def host(running_host: Host) -> Host:
    return running_host


def test_every_metric_that_pddnet_computes_of_segments_is_shown() -> None:
    from PDDRegistrationLib.measure.metrics import SEGMENT_METRICS, SIDES

    grid = Grid((3, 4, 5), np.ones(3), np.zeros(3), np.eye(3))
    labels = Image(np.pad(np.ones((1, 2, 3), np.uint8), 1), grid)
    computed = {name for name in label_table(labels, labels, labels)[0] if name != "label"}
    assert computed == {metric.field(side) for metric in SEGMENT_METRICS for side in SIDES}


def test_columns_have_the_names_that_scenes_store() -> None:
    from PDDRegistrationLib.measure.columns import POINT_COLUMNS, SEGMENT_COLUMNS, SUMMARY_COLUMNS

    assert [column.name for column in SEGMENT_COLUMNS] == [
        "Segment", "Dice before", "Dice after", "HD95 before", "HD95 after", "ASD before", "ASD after", "Matched by",
    ]  # fmt: skip
    assert [column.name for column in POINT_COLUMNS] == ["Point", "TRE before", "TRE after"]
    assert [column.name for column in SUMMARY_COLUMNS] == ["Measure", "Before", "After", "Unit", "Reference", "Source"]


def test_columns_have_titles_units_and_digits() -> None:
    from PDDRegistrationLib.measure.columns import POINT_COLUMNS, SEGMENT_COLUMNS

    shown = [(column.title, column.unit, column.digits) for column in (*SEGMENT_COLUMNS[1:5], *POINT_COLUMNS[1:])]
    assert shown == [
        ("Dice before", "", 4),
        ("Dice after", "", 4),
        ("HD95 before", "mm", 3),
        ("HD95 after", "mm", 3),
        ("TRE before", "mm", 3),
        ("TRE after", "mm", 3),
    ]
