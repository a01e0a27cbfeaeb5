"""Runs that share a memo compute what belongs to the fixed scan once, and find the same as without it, bit by bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from helpers import samples
from pddnet.core.image import Image
from pddnet.core.memo import Memo
from pddnet.core.presets import PRESETS, Stage
from pddnet.core.result import Registration
from pddnet.matching import feature_types
from pddnet.pipeline import register
from pddnet.tensor.scan import Scan

QUICK = dataclasses.replace(
    PRESETS["default"],
    stages=(Stage(24.0, 24.0, 7, 8.0, 0.005, iterations=10),),
    refinement=None,
    one_patient=None,
    network_spacings_mm=(4.0,),
)
ALIGNED = dataclasses.replace(QUICK, stages=())
pytestmark = pytest.mark.slow


@pytest.fixture
def scans() -> tuple[Image, Image, Image]:
    """A fixed and two moving scans, each with another grid."""
    fixed, moving = samples.bent_pair()
    return fixed, moving, samples.small_pair()[1]


@pytest.fixture
def segmented(monkeypatch: pytest.MonkeyPatch) -> list[Scan]:
    """The scans that the network was asked of."""
    asked: list[Scan] = []
    real = feature_types.with_semantic_codes
    monkeypatch.setattr(
        feature_types, "with_semantic_codes", lambda scan, *rest: (asked.append(scan), real(scan, *rest))[1]
    )
    return asked


def _everything(result: Registration) -> tuple[object, ...]:
    maps = result.field.array, result.uncertainty.array, result.expected_error.array
    return *(array.tobytes() for array in maps), result.verdict, result.structures


def test_the_network_is_asked_once_of_the_fixed_scan_and_nothing_changes(
    scans: tuple[Image, Image, Image], segmented: list[Scan]
) -> None:
    fixed, *movings = scans
    alone = [_everything(register(fixed, moving, QUICK, device="cpu")) for moving in movings]
    assert len(segmented) == 4
    segmented.clear()
    kept = Memo()
    together = [_everything(register(fixed, moving, QUICK, device="cpu", kept=kept)) for moving in movings]
    assert len(segmented) == 3
    assert together == alone
    assert alone[0] != alone[1]


def test_another_fixed_scan_mask_or_preset_is_prepared_anew(
    scans: tuple[Image, Image, Image], segmented: list[Scan]
) -> None:
    fixed, moving, other = scans
    kept = Memo()
    mask = Image(np.ones(fixed.grid.shape, np.uint8), fixed.grid)
    register(fixed, moving, ALIGNED, device="cpu", kept=kept)
    register(other, moving, ALIGNED, device="cpu", kept=kept)
    assert len(segmented) == 4
    register(fixed, moving, ALIGNED, fixed_mask=mask, device="cpu", kept=kept)
    assert len(segmented) == 6
    register(fixed, moving, dataclasses.replace(ALIGNED, semantic=1.0), fixed_mask=mask, device="cpu", kept=kept)
    assert len(segmented) == 8
