"""Dice of outlined organs: by hand, on oblique grids, where something is unknown or out of view."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.splits import splits
from benchmarks.validation_labels import ORGANS, OUTLINES, UNKNOWN, organ_dice, outlines
from benchmarks.validation_pairs import data_folder
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.features.label_table import NUMBER

LIVER, SPLEEN = NUMBER["liver"], NUMBER["spleen"]
TURN = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, -1.0]])  # left-handed, oblique
GRID = Grid((6, 8, 10), np.array([2.0, 3.0, 4.0]), np.array([10.0, -20.0, 30.0]), TURN)


def _moved(voxels: int) -> DisplacementField:
    """Everywhere so many voxels along i."""
    grid = Grid((3, 3, 3), np.full(3, 60.0), GRID.centre - 60.0, np.eye(3))
    return DisplacementField(np.broadcast_to(voxels * GRID.axes[:, 0], (3, 3, 3, 3)).astype(np.float32), grid)


def _labels(*boxes: tuple[int, slice]) -> Image:
    array = np.zeros(GRID.shape, np.uint8)
    for label, along in boxes:
        array[2:4, 2:6, along] = label
    return Image(array, GRID)


def test_dice_by_hand() -> None:
    fixed, moving = _labels((LIVER, slice(1, 5))), _labels((LIVER, slice(3, 7)))
    assert organ_dice(fixed, moving, _moved(0)) == {"liver": pytest.approx(2 * 2 / 8)}
    assert organ_dice(fixed, moving, _moved(2)) == {"liver": 1.0}
    assert organ_dice(fixed, moving, _moved(1)) == {"liver": pytest.approx(2 * 3 / 8)}


def test_what_is_unknown_in_either_scan_does_not_count() -> None:
    fixed = _labels((LIVER, slice(1, 5)))
    moving = _labels((LIVER, slice(3, 7)), (UNKNOWN, slice(0, 2)))
    assert organ_dice(fixed, moving, _moved(0)) == {"liver": pytest.approx(2 * 2 / 7)}


def test_what_the_moving_scan_does_not_show_does_not_count() -> None:
    fixed, moving = _labels((LIVER, slice(6, 10))), _labels((LIVER, slice(8, 10)))
    assert organ_dice(fixed, moving, _moved(2)) == {
        "liver": 1.0
    }  # two of the fixed liver's four slices are out of view
    lost = organ_dice(fixed, moving, _moved(4))
    assert lost == {"liver": 0.0}  # all of it


def test_only_organs_that_both_hold_count() -> None:
    fixed, moving = _labels((LIVER, slice(1, 5))), _labels((SPLEEN, slice(1, 5)))
    assert organ_dice(fixed, moving, _moved(0)) == {}


def test_every_outlined_scan_has_a_place_in_the_splits() -> None:
    scans = splits("ct")
    drawn = {path.parent.name for path in OUTLINES.glob("*/labels.nii.gz")}
    assert drawn - {*scans["tune"]} == {"actc_3105759107", "cptac_C3L-00189", "lungx_CT004"}
    assert drawn <= {*scans["tune"], *scans["held_back"]}


@pytest.mark.slow
@pytest.mark.skipif(data_folder() is None, reason="the real scans are not here")
def test_the_outlines_lie_where_the_landmarks_say() -> None:
    from benchmarks.validation_pairs import real

    subject, labels = real("cort_liver"), outlines("cort_liver")
    assert {"liver", "spleen", "kidney", "aorta"} <= {n for n in ORGANS if (labels.array == NUMBER[n]).any()}
    for landmark, organ in {"spleen_centre": "spleen", "L3_body": "vertebra_L3", "T11_body": "vertebra_T11"}.items():
        i, j, k = np.rint(labels.grid.point_to_index(subject.landmarks[landmark])).astype(int)
        assert labels.array[k, j, i] == NUMBER[organ]
