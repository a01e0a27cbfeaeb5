"""A metric of structures is declared once, in `LABEL_METRICS`, and appears in reports, tables and `pddnet compare`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pddnet import ablation
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.evaluation import report
from pddnet.evaluation.metrics import LABEL_METRICS, MaskPair, Metric, label_table

GRID = Grid((12, 14, 16), (1.0, 2.0, 3.0), (0, 0, 0), np.eye(3))


def _box(first: int, last: int) -> np.ndarray:
    """A box of 4 x 5 voxels in j and k, from `first` to before `last` along i."""
    mask = np.zeros(GRID.shape, bool)
    mask[3:8, 4:8, first:last] = True
    return mask


def _labels(mask: np.ndarray) -> Image:
    return Image(mask.astype(np.uint8), GRID)


@pytest.fixture
def volume_error() -> Iterator[Metric]:
    """A made-up metric: by how much the warped structure is larger, per cent."""

    def measure(pair: MaskPair) -> float | None:
        return 100 * (pair.warped.sum() / pair.fixed.sum() - 1) if pair.fixed.any() else None

    metric = Metric("volume_error", "Volume error", "%", 1, "How much larger", measure, higher_is_better=False)
    LABEL_METRICS.append(metric)
    yield metric
    LABEL_METRICS.remove(metric)


def test_a_new_metric_appears_in_the_report_and_its_table(volume_error: Metric) -> None:
    table = label_table(_labels(_box(4, 8)), _labels(_box(4, 10)), _labels(_box(4, 9)))
    section = report.label_section(table)
    assert (table[0]["volume_error_before"], table[0]["volume_error_after"]) == pytest.approx((50, 25))
    assert section["mean"]["volume_error_after"] == pytest.approx(25)
    title, head, row, mean = report.format_labels(section).splitlines()
    assert title == "Dice 0..1, HD95 and ASD in mm, Volume error in %; before: identity"
    assert head.endswith("ASD before  after  Volume error before  after")
    assert row.split()[0] == "1" and row.split()[-2:] == ["50.0", "25.0"]
    assert mean.split()[0] == "mean" and mean.split()[-2:] == ["50.0", "25.0"]


def test_a_new_metric_appears_in_compare(volume_error: Metric) -> None:
    cases = [ablation.Case(str(last), _labels(_box(4, last)), _labels(_box(4, last)), {}) for last in (8, 10)]
    rows = ablation.compare([(cases[0], cases[1])], {"before": None}, lambda *_: None, pytest.fail).rows
    assert rows["before"][0]["volume_error"] == pytest.approx(50)
    head, _, line = ablation.table(rows).splitlines()
    place = [cell.strip() for cell in head.split("|")].index("Volume error %")
    assert line.split("|")[place].strip() == "50.0 ± 0.0"


def test_the_table_of_a_report() -> None:
    """Two voxels of 1 mm too long: Dice 2 * 4 / (4 + 6); after, nothing is left."""
    section = report.label_section(label_table(*(_labels(_box(4, last)) for last in (8, 10, 8))), guided=True)
    lines = report.format_labels(section).splitlines()
    assert lines[0] == (
        "Dice 0..1, HD95 and ASD in mm; before: identity; GUIDED by these labels, so this is no evaluation"
    )
    assert lines[1].split() == ["label", "Dice", "before", "after", "HD95", "before", "after", "ASD", "before", "after"]
    assert lines[2].split()[:5] == ["1", "0.800", "1.000", "2.0", "0.0"]


def test_the_means_count_labels_that_are_known_before_and_after() -> None:
    rows = [
        {"label": 1, "dice_before": 0.2, "dice_after": 0.6, "hd95_before": 9.0, "hd95_after": None},
        {"label": 2, "dice_before": 0.4, "dice_after": 0.8, "hd95_before": 5.0, "hd95_after": 3.0},
    ]
    means = report.label_section(rows)["mean"]
    assert means == pytest.approx(
        {"dice_before": 0.3, "dice_after": 0.7, "hd95_before": 5.0, "hd95_after": 3.0}
        | {"asd_before": None, "asd_after": None}
    )


@pytest.mark.parametrize("metric", LABEL_METRICS, ids=lambda metric: metric.key)
def test_every_metric_says_which_way_is_better(metric: Metric) -> None:
    """A box one voxel off is better than one that is three off."""
    near, far = (metric.measure(MaskPair(_box(4, 8), _box(4 + off, 8 + off), GRID.spacing)) for off in (1, 3))
    assert (near > far) == metric.higher_is_better


@pytest.mark.parametrize("metric", LABEL_METRICS, ids=lambda metric: metric.key)
def test_a_lost_structure_has_no_overlap_and_no_distance(metric: Metric) -> None:
    lost = MaskPair(_box(4, 8), np.zeros(GRID.shape, bool), GRID.spacing)
    assert metric.measure(lost) == (0 if metric.higher_is_better else None)
    assert not lost.is_empty
    assert MaskPair(lost.warped, lost.warped, GRID.spacing).is_empty


def test_what_the_tables_of_other_programs_show() -> None:
    """The columns of Slicer's tables and of its CSV files, which scenes and scripts rely on."""
    assert [(each.key, each.caption, each.unit, each.table_digits) for each in LABEL_METRICS] == [
        ("dice", "Dice", "", 4),
        ("hd95", "HD95", "mm", 3),
        ("asd", "ASD", "mm", 3),
    ]
    assert all(each.description for each in LABEL_METRICS)
