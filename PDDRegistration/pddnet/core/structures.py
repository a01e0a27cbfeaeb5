"""Define what is known of structures: named in one scan (`StructureMap`), compared and moved (`StructureFit`)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .image import Image

OK, DOUBTFUL, ASTRAY, NOT_COMPARED = "ok", "doubtful", "astray", "not compared"
VERDICTS = (ASTRAY, DOUBTFUL, OK, NOT_COMPARED)
"""Verdicts on one structure, the worst first."""

Vector = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class StructureMap:
    """Structures that a network names in one scan.

    Attributes:
        numbers: (D, H, W) uint8 on the scan's lattice, the structure of the highest probability; 0: none.
        certainty: (D, H, W) float16, its probability, 0..1.
        sure_ml: what is named, every voxel by its probability, in ml, as the network saw the scan last.
    """

    numbers: Image
    certainty: np.ndarray
    sure_ml: float = 0.0


@dataclass(frozen=True)
class Motion:
    """How a transform moves one structure of the fixed scan to where the moving scan shows it.

    Attributes:
        centre_lps_mm: its centroid in the fixed scan.
        shift_ras_mm: of its centroid, towards the patient's right, front and head.
        rotation_degrees: of the rigid map that fits the displacements best, 0..180; None of a structure as thin as a
            line, which may turn about itself unseen.
        fixed_ml: its volume in the fixed scan.
        moving_ml: the volume that the transform takes it to.
        mean_mm, p95_mm: mean and 95th percentile of the length of the displacement over it.
    """

    centre_lps_mm: Vector
    shift_ras_mm: Vector
    rotation_degrees: float | None
    fixed_ml: float
    moving_ml: float
    mean_mm: float
    p95_mm: float


@dataclass(frozen=True)
class StructureFit:
    """How well one structure of the moving scan, warped, lies on its counterpart in the fixed scan.

    Overlap and distances compare the segmentations of the network, within what both scans show; None where the
    structure is not compared.

    Attributes:
        name: for people, such as 'left kidney' or 'vertebra L1'.
        verdict: 'ok', 'doubtful', 'astray' or 'not compared'.
        reason: why it is not ok, a few words.
        centre_lps_mm: its middle in the fixed scan, or in the warped moving scan where the fixed one lacks it; None
            where it lies outside of the fixed body.
        fixed_ml, moving_ml: its volume in either scan, as far as that scan shows it.
        dice: overlap, 0..1.
        shift_lps_mm: from its centroid in the fixed scan to that in the warped moving scan.
        surface_mm: mean distance of the surfaces, both ways.
        certainty: mean probability of its voxels in the scan where the network is less sure, 0..1.
        expected_error_mm: mean of the expected error over it in the fixed scan; None where that lacks it, or unknown.
        motion: how the transform moves what both scans show of it; None where it is not compared.
    """

    name: str
    verdict: str
    reason: str
    centre_lps_mm: Vector | None
    fixed_ml: float
    moving_ml: float
    dice: float | None
    shift_lps_mm: Vector | None
    surface_mm: float | None
    certainty: float
    expected_error_mm: float | None = None
    motion: Motion | None = None

    @property
    def shift_mm(self) -> float | None:
        """Return the length of the shift, mm."""
        return None if self.shift_lps_mm is None else math.hypot(*self.shift_lps_mm)


def worst_first(fits: Iterable[StructureFit]) -> tuple[StructureFit, ...]:
    """Sort by verdict, the worst first, then by the length of the shift."""
    return tuple(sorted(fits, key=lambda fit: (VERDICTS.index(fit.verdict), -(fit.shift_mm or 0.0), fit.name)))
