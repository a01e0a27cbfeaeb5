"""Define the values in Hounsfield units (HU) that several packages share. By definition water has 0 HU, air -1000."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

AIR_HU = -1000.0
"""Value of air, by definition of the unit."""

PADDING_HU = -1024.0
"""Lowest value of a 12-bit scan. Scanners write it where they measured nothing; pddnet writes it outside a volume."""

HIGHEST_HU = 2000.0
"""Value of dense cortical bone and teeth. Higher values are metal; they are clipped before voxels are averaged."""

FEATURE_RANGE_HU = (AIR_HU, 1000.0)
"""Range in which features distinguish values, from air to dense bone; other values are clipped to it."""

SOFT_TISSUE_HU = (-200.0, 300.0)
"""Range from fat to vessels with contrast agent. Without this window bones and lungs would dominate the organs."""

BODY_THRESHOLD_HU = -350.0
"""Threshold of the body: skin, fat and muscle lie above it, air and lung below."""

SURROUNDING_AIR_HU = -950.0
"""Most voxels of a few mm in the air around the patient lie below it, those of a lung, even a diseased one, above."""

NOISY_AIR_HU = -900.0
"""Upper limit of air: measured air stays below it despite the noise."""


def outside_value(values: npt.NDArray[np.generic]) -> float:
    """Return what to write outside an image of these values: PADDING_HU, or their lowest where that is higher (MR).

    NaN does not count.
    """
    return max(PADDING_HU, float(np.fmin.reduce(values, axis=None)))
