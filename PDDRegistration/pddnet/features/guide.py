"""Given label maps as features: a code per label, compared like any other channel. Only when guiding was asked for."""

from __future__ import annotations

import numpy as np

from ..core.image import Image

LENGTH = 16
STRENGTH = 0.7  # beside the twelve channels of MIND in 0..1


def code_book(*label_maps: Image | None) -> np.ndarray | None:
    """(labels + 1, LENGTH) codes for the labels that all maps hold; others, and the background, are zero.

    Up to LENGTH labels get a channel each, more share the channels in seeded random signs of the same length.
    None unless every map is given.
    """
    if any(labels is None for labels in label_maps):
        return None
    common = set.intersection(*({int(v) for v in np.unique(labels.array)} for labels in label_maps)) - {0}
    if not common:
        return None
    codes = np.zeros((max(common) + 1, LENGTH), np.float32)
    if len(common) <= LENGTH:
        rows = np.eye(LENGTH)[: len(common)]
    else:
        rows = np.random.default_rng(0).choice([-1.0, 1.0], (len(common), LENGTH)) / np.sqrt(LENGTH)
    codes[sorted(common)] = STRENGTH * np.sqrt(LENGTH) * rows
    return codes
