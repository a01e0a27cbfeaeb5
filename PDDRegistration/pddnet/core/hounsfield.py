"""Hounsfield units (HU) that several rooms agree on. By definition water has 0 HU and air -1000 HU."""

from __future__ import annotations

AIR_HU = -1000.0
"""Air, by definition of the unit."""

PADDING_HU = -1024.0
"""The lowest value of a 12-bit scan. Scanners write it where they measured nothing; so do we outside a volume."""

HIGHEST_HU = 2000.0
"""Dense cortical bone and teeth. Values above it are metal; they are clipped before voxels are averaged."""

FEATURE_RANGE_HU = (AIR_HU, 1000.0)
"""What features can tell apart: from air to dense bone."""

SOFT_TISSUE_HU = (-200.0, 300.0)
"""From fat to vessels with contrast agent. Without this window bones and lungs outweigh the organs."""

BODY_THRESHOLD_HU = -350.0
"""Skin, fat and muscle lie above it, air and lung below."""

NOISY_AIR_HU = -900.0
"""Measured air stays below it despite the noise."""

CT_BELOW_HU = -150.0
"""A scan with lower values is in Hounsfield units: the intensities of other modalities stay above it."""
